"""The views that the archive has: the types of their columns, and which rows are of a day.

A view is archived as it is: a file has its columns, by name. Most rows belong to an event, and so
to its day. Three views tell what lasts longer, or is counted:

* `logins` and `processes`: a row is archived with each day on which it began, changed or ended; of
  the rows with one key the last counts.
* `activity`: the calls of each part are counted, and the counts added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from auditsvc.arrow.columns import field_of
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.partitions import DAY

BASE: Final = ("syscalls", "events")
"""Each event is a row of one of these."""
OF_EVENTS: Final = (
    *(*BASE, "paths", "sockaddrs", "records", "partials", "origins", "story", "all_events"),
    *("files", "connections", "denials", "commands", "changes", "tamper", "coverage", "access"),
)
LASTING: Final = {"logins": ("event_id",), "processes": ("host", "process_id")}
"""Views of what lasts, with their keys."""
COUNTED: Final = "activity"
ARCHIVED: Final = (*OF_EVENTS, *LASTING, COUNTED)
STORE_ONLY: Final = ("names", "ledger", "pruned")
"""Views of the store's state, which have no days."""

SEEN: Final = "seen"
"""Of a row of what lasts: the number of its manifest."""

_ORDER: Final = {
    "paths": "event_id, item, name, nametype, inode",
    "sockaddrs": "event_id, family, address, port, path",
    "records": "event_id, type, seq, fields",
    "logins": "event_id, kind",
    "processes": "began_event_id, process_id",
    "activity": "hour, host, exe, comm, syscall",
    "names": "host, kind, id, since",
    "ledger": "kind, source, cause",
    "pruned": "day",
}
_NUMBERS: Final = {
    "activity": ("errno", "calls"),
    "processes": ("parent_id", "began_event_id", "exit_code", "signal"),
    "logins": ("user_login_event_id", "end_event_id"),
    "connections": ("fd",),
    "denials": ("enforced",),
    "coverage": ("threads", "covered"),
    "access": ("rows",),
    "tamper": ("evidence_event_id",),
    "names": ("id",),
    "ledger": ("count",),
    "pruned": ("events", "lines"),
}


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of events from `low` to `high`, both included."""

    low: int
    high: int

    @property
    def seconds(self) -> tuple[int, int]:
        """The first and the last second."""
        return self.low >> SERIAL_BITS, self.high >> SERIAL_BITS


def ids_of_days(first: int, last: int) -> Ids:
    """Give the ids of the days from `first` to `last`."""
    return Ids((first * DAY) << SERIAL_BITS, (((last + 1) * DAY) << SERIAL_BITS) - 1)


def field(view: str, column: str) -> pa.Field:
    """Give the field of a view's column."""
    if column == SEEN or column in _NUMBERS.get(view, ()):
        return pa.field(column, pa.int64())
    return field_of(column)


def order_of(view: str) -> str:
    """Give the order of a file's rows."""
    return _ORDER.get(view, "event_id")
