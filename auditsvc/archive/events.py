"""Whole events of archive and store as one, in the form in which a store's are read.

    with events_of(settings, "SELECT event_id FROM syscalls WHERE ...") as events:
        for event in events: ...

A query gives the ids; the events of some hundred ids at a time are then read from the views.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from auditsvc.archive.ask import run_archive_query
from auditsvc.decode.states import COMPLETE, NO_EXIT, PARTIAL
from auditsvc.store.read.events import FILE_COLUMNS, RECORDED, Call, Event, Row
from auditsvc.store.read.limits import NO_LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auditsvc.config import Settings
    from auditsvc.store.read.limits import Limits

_FIRST: Final = 20
_AT_ONCE: Final = 500
_SIGN: Final = 1 << 63
_STATES: Final = {"complete": COMPLETE, "no_exit": NO_EXIT}
_ORDER: Final = {
    "paths": "event_id, item",
    "sockaddrs": "event_id",
    "records": "event_id, type, seq",
}
_OF: Final = {
    "paths": {"item", *FILE_COLUMNS},
    "sockaddrs": {"family", "address", "port", "path"},
    "records": {"seq", "type", "fields"},
}


@contextmanager
def events_of(
    settings: Settings, sql: str, limits: Limits = NO_LIMITS
) -> Iterator[Iterator[Event]]:
    """Give the events whose ids a query of SQLite's kind gives, in its order."""
    with run_archive_query(settings, sql, limits) as result:
        yield _events(settings, (int(str(row[0])) for row in result), limits)


def _events(settings: Settings, ids: Iterable[int], limits: Limits) -> Iterator[Event]:
    ids, size = iter(ids), _FIRST
    while part := list(islice(ids, size)):
        found = whole_events(settings, part, limits)
        yield from (found[each] for each in part if each in found)
        size = _AT_ONCE


def whole_events(
    settings: Settings, ids: Sequence[int], limits: Limits = NO_LIMITS
) -> dict[int, Event]:
    """Read the events with these ids; one that is not there is left out."""
    found: dict[int, Event] = {}
    for row in _rows(settings, "syscalls", ids, limits):
        event = found.setdefault(row["event_id"], Event(row["event_id"]))
        event.call = _call(row)
    for row in _rows(settings, "events", ids, limits):
        event = found.setdefault(row["event_id"], Event(row["event_id"]))
        event.event = {name: row[name] for name in RECORDED["events"]}
        event.event["fields"] = _json(row["fields"])
    for view, order in _ORDER.items():
        for row in _rows(settings, view, ids, limits, order):
            if (of := found.get(row.pop("event_id"))) is not None:
                if view == "records":
                    row["fields"] = _json(row["fields"])
                getattr(of, view).append(
                    Row({name: row[name] for name in row if name in _OF[view]})
                )
    return found


def _rows(
    settings: Settings, view: str, ids: Sequence[int], limits: Limits, order: str = "event_id"
) -> list[dict[str, Any]]:
    low, high, listed = min(ids), max(ids), ", ".join(map(str, ids))
    sql = (
        f"SELECT * FROM {view} WHERE event_id >= {low} AND event_id <= {high}"  # noqa: S608 - ours
        f" AND event_id IN ({listed}) ORDER BY {order}"
    )
    with run_archive_query(settings, sql, limits) as result:
        return [dict(zip(result.columns, row, strict=True)) for row in result]


def _call(row: dict[str, Any]) -> Call:
    context = Row({name: row[name] for name in RECORDED["syscalls"] if name != "event_id"})
    context["event_id"] = row["event_id"]
    a0, a1, a2, a3 = (_signed(row[f"a{n}"]) for n in range(4))
    return Call(
        row["event_id"],
        int(row["time"][-3:]),
        row["serial"],
        row["nr"],
        a0,
        a1,
        a2,
        a3,
        row["success"],
        row["exit"],
        _STATES.get(row["state"], PARTIAL),
        row["items"],
        row["syscall"],
        _json(row["argv"]),
        context,
    )


def _signed(text: str) -> int:
    number = int(text, 16)
    return number - 2 * _SIGN if number >= _SIGN else number


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
