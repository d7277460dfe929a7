"""Control by control: is what a rule set wants in force, and has it been seen."""
