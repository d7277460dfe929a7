"""What an event means to people: its kind, and a sentence on it."""
