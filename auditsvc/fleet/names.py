"""Names that hosts, committers and readers of the lake share; needs no package.

An object: inbox/SHARD/HOST/STORE/N.parquet, HOST quoted as in a URL, STORE the store's identity
(32 hex digits), N of 12 digits.

A watermark: the property `auditsvc.at.HOST/STORE` of the table, JSON:

    {"n": 7, "events": 448000, "rows": 448123, "made": 1764428400.0, "newest": 1764428399123,
     "told": 448000, "id": "0011223344556677", "ledger": {"stored": 1234567, ...}}

* `n`: the last batch in the table, `id` that of its file. `events`, `rows`: what was committed up
  to it, events by their first rows (and those that were gone when their batch was made). `made`:
  when the host made batch n, seconds since 1970; `newest`: the latest `time` of an event of it and
  those before, milliseconds.
* `told`: the sum of `events` that the batches say they have; equal to `events` if nothing is lost
  and nothing doubled. `ledger`: the host's counts of records by cause, when it made batch n.

Rows of the table that are no events, by `type` (`ROW_TYPES`), with a negative `event_id`:

* FLEET_BATCH, one a batch, event_id -n, time of making; `fields` is JSON:

    {"n": 7, "id": "0011223344556677", "range": [[12, 0], [14, 99]], "events": 64000,
     "missing": 0, "again": 3, "gone": 0, "shipped": 448000,
     "ledger": {"SOURCE": {"stored": 1, ...}}, "head": "...", "addresses": ["192.0.2.1"],
     "made": 1764428400.0, "program": "0.1.0", "schema": 1, "revision": "0019"}

  `events`: as the store counted them when the batch was intended; `missing`: of them, those that
  were gone when it was made; `again`: rows of later states of events; `shipped`: the sum of
  `events` so far. `head`: the newest head of the host's evidence then (`auditsvc.evidence.head`),
  "" for none. `addresses`: the host's own, then (`auditsvc.host.addresses`). `revision`: that of
  the store, whose views said what the rows are; programs before 0019 did not tell it.
* FLEET_GONE: an event that was shipped is no more in its store, as later parts of its log
  showed it to be another one. Here `event_id` is the event's own, and so is `time`'s day.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

INBOX: Final = "inbox"
BATCH: Final = "FLEET_BATCH"
GONE: Final = "FLEET_GONE"
ROW_TYPES: Final = (BATCH, GONE)
"""Types of rows that are no events."""
WATERMARK: Final = "auditsvc.at."
"""What a watermark's property begins with."""
SCHEMA_VERSION: Final = "auditsvc.schema"
"""The table's property with the version of the wide row (`auditsvc.fleet.schema.VERSION`)."""
KEPT_FROM: Final = "auditsvc.kept-from"
"""The table's property with the first day that retention has left."""
SWEPT: Final = "auditsvc.swept"
"""The table's property that is another one after each removal of files in no snapshot."""

_OBJECT: Final = re.compile(rf"{INBOX}/([^/]+)/([^/]+)/([0-9a-f]{{32}})/([0-9]{{12}})\.parquet")


def quoted(host: str) -> str:
    """Give a host's name as one part of an object's name."""
    found = quote(host, safe="")
    return found if found.strip(".") else found.replace(".", "%2E")


def folder_of(shard: str, host: str, store: str) -> str:
    """Give the prefix of a store's batches; it ends with `/`."""
    return f"{INBOX}/{shard}/{quoted(host)}/{store}/"


def object_of(shard: str, host: str, store: str, n: int) -> str:
    """Give the name of a batch."""
    return f"{folder_of(shard, host, store)}{n:012d}.parquet"


def batch_of(name: str) -> tuple[str, str, int] | None:
    """Give host, store and number of a batch, by its name; None if it is no batch's."""
    found = _OBJECT.fullmatch(name)
    if found is None or quoted(unquote(found[2])) != found[2]:
        return None
    return unquote(found[2]), found[3], int(found[4])


def watermark_of(host: str, store: str) -> str:
    """Give the name of a watermark's property."""
    return f"{WATERMARK}{quoted(host)}/{store}"


def source_of(name: str) -> tuple[str, str] | None:
    """Give host and store of a watermark's property; None if it is another's."""
    if not name.startswith(WATERMARK):
        return None
    host, _, store = name.removeprefix(WATERMARK).rpartition("/")
    return unquote(host), store
