"""What an event means: its kind, and one line of text about it."""
