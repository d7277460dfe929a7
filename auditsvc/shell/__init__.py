"""The SQL prompt: statements and commands in, rows out; what is completed, and the history."""
