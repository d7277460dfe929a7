"""How long events stay in the store: what goes, when, and when the store will be full."""
