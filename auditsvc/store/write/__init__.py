"""Writing a store: batches, dimension rows, duplicates."""
