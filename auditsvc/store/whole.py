"""Whole events, as the views show them, gathered by their ids."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

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


def whole_events(connection: Connection, ids: Sequence[int]) -> list[Event]:
    """Read the events with these ids, in the order of the ids that were given."""
    events = {each: Event(each) for each in ids}
    for row in _rows(connection, "syscalls", events):
        events[row["event_id"]].syscall = row
    for row in _rows(connection, "events", events):
        events[row["event_id"]].event = row
    for view in ("paths", "sockaddrs", "records"):
        for row in _rows(connection, view, events):
            getattr(events[row.pop("event_id")], view).append(row)
    return list(events.values())


def _rows(connection: Connection, view: str, ids: Iterable[int]) -> Iterator[dict[str, Any]]:
    order = _ORDER.get(view, "event_id")
    statement = text(f"SELECT * FROM {view} WHERE event_id IN :ids ORDER BY {order}")  # noqa: S608
    found = connection.execute(
        statement.bindparams(bindparam("ids", expanding=True)), {"ids": list(ids)}
    )
    columns = tuple(found.keys())
    change = [(name, _PLAIN[name]) for name in columns if name in _PLAIN]
    for values in found.all():
        row = dict(zip(columns, values, strict=True))
        for name, plain in change:
            row[name] = plain(row[name])
        yield row


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
