"""Name tables for machines where the `audit` module is not at hand.

`syscalls`, `record_types` and `errnos` are written by tools/generate-tables;
`newer` is kept by hand. Only `auditsvc.tables.names` reads them.
"""
