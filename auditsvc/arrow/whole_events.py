"""Whole events, read from the views by SQL, in the form in which a store's are read.

    found = whole_events(ask, [(id, host, store), ...], ("event_id", "host", "store"))

`ask` runs SQLite's SQL over views like those of a store, where only views are: an archive, or
the fleet. A key has the values of the columns by which an event is known there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol

from auditsvc.arrow.reach import Reach
from auditsvc.decode.states import COMPLETE, NO_EXIT, PARTIAL
from auditsvc.store.read.events import FILE_COLUMNS, RECORDED, Call, Event, Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from auditsvc.store.read.result import Result

Key = tuple[Any, ...]
"""The values of the columns by which an event is known, its id first."""

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


class Ask(Protocol):
    """Asks one question of the views."""

    def __call__(self, sql: str, within: Reach) -> AbstractContextManager[Result]:
        """Give the rows; nothing outside of `within` is asked for."""


def whole_events(
    ask: Ask, keys: Sequence[Key], columns: Sequence[str] = ("event_id",)
) -> dict[Key, Event]:
    """Read the events with these keys; one that is not there is left out."""
    found: dict[Key, Event] = {}
    rows = _Rows(ask, keys, columns)
    for key, row in rows.of("syscalls"):
        found.setdefault(key, Event(row["event_id"])).call = _call(row)
    for key, row in rows.of("events"):
        event = found.setdefault(key, Event(row["event_id"]))
        event.event = {name: row[name] for name in RECORDED["events"]}
        event.event["fields"] = _json(row["fields"])
    for view, order in _ORDER.items():
        for key, row in rows.of(view, order):
            if (of := found.get(key)) is not None:
                if view == "records":
                    row["fields"] = _json(row["fields"])
                getattr(of, view).append(
                    Row({name: row[name] for name in row if name in _OF[view]})
                )
    return found


class _Rows:
    """The rows of views that belong to some events."""

    def __init__(self, ask: Ask, keys: Sequence[Key], columns: Sequence[str]) -> None:
        self._ask, self._keys, self._columns = ask, frozenset(keys), columns
        self._ids = sorted({int(key[0]) for key in keys})
        at = columns.index("host") if "host" in columns else None
        self._within = Reach.of_ids(self._ids, (None if at is None else key[at] for key in keys))

    def of(self, view: str, order: str = "event_id") -> list[tuple[Key, dict[str, Any]]]:
        """Give the rows of a view with their keys."""
        low, high, listed = self._ids[0], self._ids[-1], ", ".join(map(str, self._ids))
        sql = (
            f"SELECT * FROM {view} WHERE event_id >= {low} AND event_id <= {high}"  # noqa: S608 - ours
            f" AND event_id IN ({listed}) ORDER BY {order}"
        )
        with self._ask(sql, self._within) as result:
            rows = [dict(zip(result.columns, row, strict=True)) for row in result]
        keyed = ((tuple(row[name] for name in self._columns), row) for row in rows)
        return [(key, row) for key, row in keyed if key in self._keys]


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
