"""Events with all their records, as the views show them, read by their ids.

Much of an event is the same in many events: who made a call, with which program, on which
file. These are dimensions, which never change, so each is read once and its row is shared by
all events that have it (`Row`); of the event itself only numbers are read. A test compares
the result with the views.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.decode.states import COMPLETE, NO_EXIT
from auditsvc.store.views import CONTEXT_IDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

_UNSIGNED: Final = (1 << 64) - 1
_STATES: Final = {COMPLETE: "complete", NO_EXIT: "no_exit"}
_MOST: Final = 8192  # rows of each kind that are cached


class Row(dict[str, Any]):
    """A row that many events share; it is never changed, so it is hashed by identity."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class Call(NamedTuple):
    """A system call: the columns of `syscalls` that are not shared, as the store has them."""

    id: int
    ms: int
    serial: int
    nr: int
    a0: int
    a1: int
    a2: int
    a3: int
    success: int | None
    exit: int | None
    state: int
    items: int
    syscall: str | None
    argv: list[str] | None
    context: Row
    """All other columns."""

    def second(self) -> str:
        """Give the column `time` up to the second."""
        return second_text(self.id >> SERIAL_BITS)

    def state_name(self) -> str:
        """Give the column `state`."""
        return _STATES.get(self.state, "partial")

    def row(self) -> dict[str, Any]:
        """Give the row of `syscalls`."""
        return {
            **self.context,
            "event_id": self.id,
            "time": f"{self.second()}.{self.ms:03d}",
            "serial": self.serial,
            "syscall": self.syscall,
            "nr": self.nr,
            "a0": f"{self.a0 & _UNSIGNED:x}",
            "a1": f"{self.a1 & _UNSIGNED:x}",
            "a2": f"{self.a2 & _UNSIGNED:x}",
            "a3": f"{self.a3 & _UNSIGNED:x}",
            "success": self.success,
            "exit": self.exit,
            "state": self.state_name(),
            "items": self.items,
            "argv": self.argv,
        }


_OWN: Final = frozenset(
    (
        *[
            "event_id",
            "time",
            "serial",
            "syscall",
            "nr",
            "a0",
            "a1",
            "a2",
            "a3",
            "success",
            "exit",
            "errno",
            "state",
            "items",
            "argv",
        ],
        *(f"a{n}_{form}" for n in range(4) for form in ("number", "words")),
    )
)
"""Columns of `syscalls` that differ from call to call; all others are of its context."""


@dataclass(slots=True)
class Event:
    """One event: a system call or a row of `events`, with its other rows.

    The values are alike on every database: `time` is text (UTC, to the
    millisecond), `success` 1, 0 or None, `argv` a list and `fields` a dict.
    """

    id: int
    call: Call | None = None
    event: dict[str, Any] | None = None
    paths: list[dict[str, Any]] = field(default_factory=list)
    sockaddrs: list[dict[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def syscall(self) -> dict[str, Any] | None:
        """The row of `syscalls`."""
        return None if self.call is None else self.call.row()

    @property
    def host(self) -> str | None:
        """The host's name; None if there is no such event."""
        row = self.event if self.call is None else self.call.context
        return None if row is None else row["host"]


class _Context(NamedTuple):
    columns: Row
    arch: int
    extra: Row | None
    """Its row of `records`."""


class _File(NamedTuple):
    columns: dict[str, Any]
    extra: str | None


class Known:
    """Cache of shared rows; the caller keeps it for the next call."""

    def __init__(self) -> None:
        self.contexts: dict[int, _Context] = {}
        self.names: dict[tuple[int, int], str] = {}
        """Of calls, by arch and number."""
        self.files: dict[int, _File] = {}
        self.paths: dict[tuple[int, int | None], Row] = {}
        self.extras: dict[tuple[str, int | None, int], Row] = {}
        self.addresses: dict[int, tuple[Row, Row]] = {}
        """By id: its columns of `sockaddrs`, and its row of `records` where it comes first."""

    def trim(self) -> None:
        """Empty caches that are too large."""
        kinds: tuple[dict[Any, Any], ...] = (
            *(self.contexts, self.names, self.files, self.paths),
            *(self.extras, self.addresses),
        )
        for each in kinds:
            if len(each) > _MOST:
                each.clear()


def whole_events(
    connection: Connection, ids: Sequence[int], known: Known | None = None
) -> list[Event]:
    """Read the events with these ids, in the order of `ids`."""
    known = known or Known()
    known.trim()
    events = {each: Event(each) for each in ids}
    listed = _list(events)
    _calls(connection, events, listed, known)
    others = [each.id for each in events.values() if each.call is None]
    if others:
        for row in _rows(connection, "events", others):
            events[row["event_id"]].event = row
        if connection.dialect.name == "postgresql":
            _order_fields(connection, events, others)
    _records(connection, events, listed)
    _paths(connection, events, listed, known)
    _sockaddrs(connection, events, listed, known)
    for event in events.values():
        if len(event.records) > 1:
            event.records.sort(key=_by_type)
    return list(events.values())


def _by_type(record: dict[str, Any]) -> tuple[str, int]:
    return record["type"] or "", record["seq"]


_CALLS: Final = """
    SELECT s.id, s.ms, s.serial, s.nr, s.a0, s.a1, s.a2, s.a3, s.success, s.exit, s.state,
        s.items, argv.value, s.context
    FROM syscall s
    LEFT JOIN exec x ON x.event = s.id
    LEFT JOIN text argv ON argv.id = x.argv
    WHERE s.id IN ({})"""
_ARGUMENTS: Final = slice(4, 8)
_CONTEXTS: Final = """
    SELECT c.id, c.arch, extra.value FROM context c LEFT JOIN text extra ON extra.id = c.extra
    WHERE c.id IN ({})"""
_NAMES: Final = "SELECT arch, nr, name FROM syscall_name WHERE nr IN ({})"


def _calls(connection: Connection, events: dict[int, Event], ids: str, known: Known) -> None:
    rows = connection.exec_driver_sql(_CALLS.format(ids)).all()
    contexts, names = known.contexts, known.names
    new = {row[13]: row[0] for row in rows if row[13] not in contexts}
    if new:
        _contexts(connection, new, contexts)
    unnamed = {row[3] for row in rows if (contexts[row[13]].arch, row[3]) not in names}
    if unnamed:
        found = connection.exec_driver_sql(_NAMES.format(_list(unnamed)))
        names.update({(arch, nr): name for arch, nr, name in found})
    for row in rows:
        event = events[row[0]]
        columns, arch, extra = contexts[row[13]]
        argv = None if row[12] is None else json.loads(row[12])
        arguments = row[_ARGUMENTS]
        if isinstance(arguments[0], bytes):  # on PostgreSQL
            arguments = tuple(int.from_bytes(each, "big") for each in arguments)
        shown = (*row[:4], *arguments, *row[8:12])
        event.call = Call._make((*shown, names.get((arch, row[3])), argv, columns))
        if extra is not None:
            event.records.append(extra)


def _contexts(
    connection: Connection, new: Mapping[int, int], contexts: dict[int, _Context]
) -> None:
    """Read new contexts; of each the id of an event is given, for what the view shows."""
    events = {event: of for of, event in new.items()}
    shown = {
        events[row["event_id"]]: Row({n: value for n, value in row.items() if n not in _OWN})
        for row in _rows(connection, "syscalls", events)
    }
    for of, arch, text in connection.exec_driver_sql(_CONTEXTS.format(_list(new))):
        extra = None if text is None else Row(seq=0, type="SYSCALL", fields=_plain_json(text))
        contexts[of] = _Context(shown[of], arch, extra)


_FIELDS: Final = """
    SELECT e.id, fields.value FROM event e JOIN text fields ON fields.id = e.fields
    WHERE e.id IN ({})"""


def _order_fields(connection: Connection, events: dict[int, Event], others: Sequence[int]) -> None:
    """Put the fields of events in the record's order, which PostgreSQL's jsonb does not keep."""
    for of, text in connection.exec_driver_sql(_FIELDS.format(_list(others))):
        row = events[of].event
        if row is not None:
            row["fields"] = _plain_json(text)


_RECORDS: Final = """
    SELECT r.event, r.seq, type.name, fields.value
    FROM record r
    LEFT JOIN record_type type ON type.type = r.type
    LEFT JOIN text fields ON fields.id = r.fields
    WHERE r.event IN ({})"""


def _records(connection: Connection, events: dict[int, Event], ids: str) -> None:
    for event, seq, name, fields in connection.exec_driver_sql(_RECORDS.format(ids)).all():
        row = {"seq": seq, "type": name, "fields": _plain_json(fields)}
        events[event].records.append(row)


_PATHS: Final = """
    SELECT event, seq, item, file FROM path WHERE event IN ({}) ORDER BY event, item, seq"""
_FILES: Final = """
    SELECT f.id, name.value, f.nametype, f.inode, f.dev, f.mode, f.ouid, f.ogid, f.rdev,
        obj.value, extra.value
    FROM file f
    LEFT JOIN text name ON name.id = f.name
    LEFT JOIN text obj ON obj.id = f.obj
    LEFT JOIN text extra ON extra.id = f.extra
    WHERE f.id IN ({})"""
FILE_COLUMNS: Final = ("name", "nametype", "inode", "dev", "mode", "ouid", "ogid", "rdev", "obj")


def _paths(connection: Connection, events: dict[int, Event], ids: str, known: Known) -> None:
    rows = connection.exec_driver_sql(_PATHS.format(ids)).all()
    files, paths, extras = known.files, known.paths, known.extras
    new = {row[3] for row in rows if row[3] not in files}
    if new:
        for of, *values, extra in connection.exec_driver_sql(_FILES.format(_list(new))).all():
            files[of] = _File(dict(zip(FILE_COLUMNS, values, strict=True)), extra)
    for event_id, seq, item, of in rows:
        event = events[event_id]
        file = files[of]
        row = paths.get((of, item))
        if row is None:
            row = paths[of, item] = Row(item=item, **file.columns)
        event.paths.append(row)
        if file.extra is not None:
            key = file.extra, item, seq
            record = extras.get(key)
            if record is None:
                fields = {**json.loads(file.extra), "item": item}
                record = extras[key] = Row(seq=seq, type="PATH", fields=fields)
            event.records.append(record)


_SOCKADDRS: Final = """
    SELECT event, seq, address FROM sockaddr WHERE event IN ({}) ORDER BY event, seq"""
_ADDRESSES: Final = """
    SELECT id, family, address, port, path, saddr FROM address WHERE id IN ({})"""


def _sockaddrs(connection: Connection, events: dict[int, Event], ids: str, known: Known) -> None:
    rows = connection.exec_driver_sql(_SOCKADDRS.format(ids)).all()
    addresses = known.addresses
    new = {row[2] for row in rows if row[2] not in addresses}
    if new:
        names = ("family", "address", "port", "path")
        found = connection.exec_driver_sql(_ADDRESSES.format(_list(new))).all()
        for of, *values, saddr in found:
            record = Row(seq=0, type="SOCKADDR", fields={"saddr": saddr})
            addresses[of] = Row(zip(names, values, strict=True)), record
    for event_id, seq, of in rows:
        event = events[event_id]
        columns, record = addresses[of]
        event.sockaddrs.append(columns)
        event.records.append(Row(record, seq=seq) if seq else record)


@lru_cache(64)
def second_text(second: int) -> str:
    """Give a second since 1970 as the views show it; of no date, the second itself."""
    try:
        return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return f"second {second}"


# Without what the views look up beside: of a process, its parent and names.
RECORDED: Final = {
    "syscalls": (
        *("event_id", "host", "arch", *CONTEXT_IDS),
        *("tty", "ses", "comm", "exe", "subj", "key", "cwd", "proctitle"),
    ),
    "events": (
        *("event_id", "host", "time", "serial", "type", "pid", "uid", "auid", "ses", "fields"),
    ),
}


def _rows(connection: Connection, view: str, ids: Iterable[int]) -> Iterator[dict[str, Any]]:
    # Only numbers are put into the text; as parameters they would take longer than the rows.
    wanted = ", ".join(RECORDED[view]) if view in RECORDED else "*"
    found = connection.exec_driver_sql(
        f"SELECT {wanted} FROM {view} WHERE event_id IN ({_list(ids)})"  # noqa: S608
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


# Values that the databases give in different forms.
_PLAIN: Final = {
    "time": _plain_time,
    "success": _plain_truth,
    "argv": _plain_json,
    "fields": _plain_json,
}
