"""The wide row of the fleet: one row an event, with all that the views of its store say of it.

Columns, in this order:

* `host` (who shipped it), `store`, `event_id`: the key. `batch`: the number of its batch.
  `version`: 0 as first shipped; of an event that was completed, or whose records were taken out,
  after it was shipped: the number of the batch. Of the rows with one key the highest counts.
* `node`: the column `host` of the store's views where it differs from `host`, else NULL: a store
  may have other hosts' logs, and the records of a host under an earlier name.
* `time`, `serial`, `type`, and the columns of `auditsvc.arrow.events`: those of `syscalls` without
  `a0` to `a3` (they are `aN_number` in hexadecimal), `fields` of `events`, and those of `partials`
  and `origins` (`partial_reason`, `origin_kind`, `origin_source`).
* `kind`, `outcome` of `all_events`; its `comm`, `exe` and `key` stand in the columns of these
  names, where an event has no call.
* `story`: a struct, NULL if there is none; `sentence` is NULL if it is the one that follows from
  the other parts (`auditsvc.archive.rows.shown`).
* A list of structs for each of `LISTS`, with the view's columns but for those in `OF_EVENT`, which
  are the event's own. An empty list is no row.
* A path with an `action` is a row of `files` too: of that view's columns it has `action`, `other`
  and `detail` beside its own, and the others are the event's. The list `files` has only the rows
  that are not so.
* `logins`: rows of that view that begin or end with the event, as they were when it was shipped;
  `event_id` in it is that of the beginning. Of the rows with one (host, store, event_id) the one
  with the highest `batch` counts, and of these the one with an `end_event_id`.

Types are those of `auditsvc.arrow.columns`, but `time` is in microseconds, as Iceberg has them.
What is looked up beside an event (names, processes, units) is what the store said when it was
shipped.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from auditsvc.archive.views import field
from auditsvc.arrow.columns import BESIDE, TIME, field_of

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = 1
"""Of the wide row; a new column makes no new version, another meaning of one does."""
KEY: Final = ("host", "store", "event_id")
SORT: Final = ("host", "event_id")
"""Order of rows in files; the table is partitioned by the day of `time`."""

_TIME: Final = pa.timestamp("us", tz="UTC")
_CALL: Final = (
    *("arch", "syscall", "nr"),
    *(f"a{n}_number" for n in range(4)),
    *(f"a{n}_words" for n in range(4)),
    *("success", "exit", "errno", "state", "items", "ppid", "pid", "auid", "uid", "gid"),
    *("euid", "suid", "fsuid", "egid", "sgid", "fsgid", "tty", "ses", "comm", "exe", "subj"),
    *("key", "cwd", "proctitle", "argv", "process_id", "parent_exe", "parent_argv"),
    *("auid_name", "uid_name", "gid_name", "euid_name", "egid_name", "unit", "container"),
)
BESIDE_NAMES: Final = tuple(name for names in BESIDE.values() for name in names.values())
RECORDED: Final = ("time", "serial", "type", *_CALL, "fields", *BESIDE_NAMES)
"""Columns that `auditsvc.arrow.events` gives as they are."""
OF_ALL: Final = ("kind", "outcome")
"""Columns of `all_events`."""
STORY: Final = (
    *("actor", "as_user", "action", "outcome", "object", "object2", "object_kind", "how"),
    "sentence",
)
OF_EVENT: Final = ("event_id", "host", "time", "pid", "auid", "uid", "ses")
"""Columns of views that are those of the event, and so not in its lists."""
OF_PATH: Final = ("action", "other", "detail")
"""Columns of `files` in a path that is a row of `files` too."""
LISTS: Final[dict[str, tuple[str, ...]]] = {
    "paths": (
        *("item", "name", "path", "nametype", "inode", "dev", "mode", "ouid", "ogid", "rdev"),
        *("obj", *OF_PATH),
    ),
    "sockaddrs": ("family", "address", "port", "path"),
    "records": ("seq", "type", "fields"),
    "files": (
        *("action", "path", "other", "detail", "success", "errno", "euid", "comm", "exe", "key"),
        *("syscall", "name", "nametype", "inode", "dev", "mode", "ouid", "ogid"),
    ),
    "connections": (
        *("action", "family", "address", "port", "path", "outcome", "exit", "errno", "fd"),
        *("euid", "comm", "exe", "key", "syscall"),
    ),
    "denials": (
        *("mechanism", "enforced", "subject", "permission", "object", "label", "class", "comm"),
        *("exe", "syscall"),
    ),
    "commands": ("how", "command", "outcome", "cwd", "terminal", "exe"),
    "changes": ("what", "action", "object", "object2", "outcome", "how", "key"),
    "tamper": (
        *("what", "detail", "restored", "exe", "comm", "evidence", "evidence_event_id"),
        "known_by",
    ),
    "coverage": ("pid", "began", "comm", "exe", "state", "reason", "threads", "covered"),
    "access": (
        *("ended_at", "uid", "auid", "ses", "pid", "name", "command", "options", "sql", "store"),
        *("rows", "ended", "role", "client", "known_by"),
    ),
    "logins": (
        *("event_id", "time", "kind", "auid", "account", "ses", "pid", "terminal", "address"),
        *("ended", "how_ended", "user_login_event_id", "end_event_id"),
    ),
}
"""Lists of structs by view. `coverage`, `access` and `logins` are about other processes."""


@cache
def schema() -> pa.Schema:
    """Give the schema of every batch, and of the table."""
    return pa.schema(
        [
            pa.field("host", pa.string()),
            pa.field("store", pa.string()),
            pa.field("event_id", pa.int64()),
            pa.field("batch", pa.int64()),
            pa.field("version", pa.int64()),
            pa.field("node", pa.string()),
            *(_field("syscalls", name) for name in RECORDED),
            *(_field("all_events", name) for name in OF_ALL),
            pa.field("story", struct_of("story", STORY)),
            *(pa.field(view, pa.list_(struct_of(view, names))) for view, names in LISTS.items()),
        ]
    )


def struct_of(view: str, names: Sequence[str]) -> pa.DataType:
    """Give the struct of some columns of a view."""
    return pa.struct([_field(view, name) for name in names])


def _field(view: str, name: str) -> pa.Field:
    found = field(view, name) if view != "syscalls" else field_of(name)
    return pa.field(name, _TIME if found.type == TIME else found.type)
