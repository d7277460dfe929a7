"""Name tables for machines without the `audit` module.

`syscalls`, `record_types` and `errnos` are written by tools/generate-tables;
`newer` is kept by hand. Only `auditsvc.tables.names` reads them.
"""
