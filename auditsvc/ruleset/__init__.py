"""Lists of rules: their sources, what they match, and the plan from one list to another."""
