"""A log -> a store: read, decode, write, in transactions with their checkpoint."""
