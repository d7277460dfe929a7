"""The fleet: events of many hosts in one Apache Iceberg table, on S3-compatible storage.

    host:      store --feed--> batch --PUT, once--> inbox/SHARD/HOST/STORE/N.parquet
    anywhere:  inbox --committer--> rows and watermark, in one commit of the table

    schema.py   the wide row: its Arrow schema, and how it is coded in Parquet
    names.py    names of batches, of the watermarks, of the rows that are no events

Writing half, each part a module: rows.py (events of the store as wide rows), batch.py (a fixed
range of arrivals), ship.py (intent, PUT, position), inbox.py (S3), lake.py (the catalog and the
table), commit.py (the committer), compact.py and merge.py (small files into large ones), prune.py
and sweep.py (days, snapshots and files that go).

Identity: one row of an event has the key (host, store, event_id); event_id alone says nothing
across hosts. A row that is a later state of an event (`version` > 0) replaces all rows of that
key with a lower one. Rows that are no events have a negative `event_id` (`names.ROW_TYPES`).

Invariants, whatever ends whatever program at whatever moment:

* Batch n of a store is one fixed range of arrivals, saved before its first PUT. Numbers begin
  at 1 and have no gap. An object in the inbox is never overwritten.
* The table has exactly the batches 1 to the watermark of each (host, store), each once.

It needs `pip install auditsvc[fleet]`; nothing of it is imported while [fleet] is not set.
"""
