"""Lists of rules: where they come from, what they cover, how to get from one to another."""
