"""Whole events, as the views show them, gathered by their ids."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.decode.interface import COMPLETE, NO_EXIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

_UNSIGNED: Final = (1 << 64) - 1

# As the records came: the views' own order says nothing.
_ORDER: Final = {"paths": "event_id, item", "records": "event_id, type, seq"}


@dataclass(slots=True)
class Event:
    """One event: a row of `syscalls` or of `events`, and what hangs on it.

    The values are alike on every database: `time` is text (UTC, to the
    millisecond), `success` 1, 0 or None, `argv` a list and `fields` a dict.
    """

    id: int
    syscall: dict[str, Any] | None = None
    event: dict[str, Any] | None = None
    paths: list[dict[str, Any]] = field(default_factory=list)
    sockaddrs: list[dict[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)


Contexts = dict[tuple[int, int], dict[str, Any]]
"""What `syscalls` shows of a context and a call's number: dimensions, which never change."""

_MOST_CONTEXTS: Final = 8192


def whole_events(
    connection: Connection, ids: Sequence[int], contexts: Contexts | None = None
) -> list[Event]:
    """Read the events with these ids, in the order of the ids that were given.

    `contexts` is the caller's to keep for the next time.
    """
    events = {each: Event(each) for each in ids}
    for row in _calls(connection, events, {} if contexts is None else contexts):
        events[row["event_id"]].syscall = row
    for row in _rows(connection, "events", events):
        events[row["event_id"]].event = row
    for view in ("paths", "sockaddrs", "records"):
        for row in _rows(connection, view, events):
            getattr(events[row.pop("event_id")], view).append(row)
    return list(events.values())


# The columns of `syscalls` that are the call's own, and the context that has the others.
_OWN: Final = """
    SELECT s.id, s.ms, s.serial, s.nr, s.a0, s.a1, s.a2, s.a3, s.success, s.exit, s.state,
        s.items, s.context, argv.value
    FROM syscall s
    LEFT JOIN exec x ON x.event = s.id
    LEFT JOIN text argv ON argv.id = x.argv
    WHERE s.id IN ({}) ORDER BY s.id"""
_STATES: Final = {COMPLETE: "complete", NO_EXIT: "no_exit"}


def _calls(
    connection: Connection, ids: Iterable[int], contexts: Contexts
) -> Iterator[dict[str, Any]]:
    """Give rows of `syscalls`, of which most is the same from row to row and known already."""
    rows = connection.exec_driver_sql(_OWN.format(_list(ids))).all()
    if len(contexts) > _MOST_CONTEXTS:
        contexts.clear()
    unknown = {(row[12], row[3]): row[0] for row in rows if (row[12], row[3]) not in contexts}
    if unknown:
        by_id = {event_id: pair for pair, event_id in unknown.items()}
        for row in _rows(connection, "syscalls", by_id):
            contexts[by_id[row["event_id"]]] = row
    for (
        event_id,
        ms,
        serial,
        nr,
        a0,
        a1,
        a2,
        a3,
        success,
        code,
        state,
        items,
        of,
        argv_json,
    ) in rows:
        yield {
            **contexts[of, nr],
            "event_id": event_id,
            "time": f"{_second(event_id >> SERIAL_BITS)}.{ms:03d}",
            "serial": serial,
            "a0": f"{a0 & _UNSIGNED:x}",
            "a1": f"{a1 & _UNSIGNED:x}",
            "a2": f"{a2 & _UNSIGNED:x}",
            "a3": f"{a3 & _UNSIGNED:x}",
            "success": success,
            "exit": code,
            "state": _STATES.get(state, "partial"),
            "items": items,
            "argv": None if argv_json is None else json.loads(argv_json),
        }


@lru_cache(64)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _rows(connection: Connection, view: str, ids: Iterable[int]) -> Iterator[dict[str, Any]]:
    order = _ORDER.get(view, "event_id")
    # Numbers alone are put into the text; as parameters they would take longer than the rows.
    found = connection.exec_driver_sql(
        f"SELECT * FROM {view} WHERE event_id IN ({_list(ids)}) ORDER BY {order}"  # noqa: S608
    )
    columns = tuple(found.keys())
    change = [(name, _PLAIN[name]) for name in columns if name in _PLAIN]
    for values in found.all():
        row = dict(zip(columns, values, strict=True))
        for name, plain in change:
            row[name] = plain(row[name])
        yield row


def _list(ids: Iterable[int]) -> str:
    return ",".join(map(str, ids)) or "NULL"


def _plain_time(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return value


def _plain_truth(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def _plain_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


# What databases show in different ways.
_PLAIN: Final = {
    "time": _plain_time,
    "success": _plain_truth,
    "argv": _plain_json,
    "fields": _plain_json,
}
