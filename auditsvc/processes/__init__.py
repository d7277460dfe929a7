"""The trees of processes that `auditsvc tree` draws."""
