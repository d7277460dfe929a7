"""Compares one event with what the store has of it, where the plain comparison found a difference.

Two things make a stored event differ from what its lines give when they are decoded again,
although nobody has altered it:

* Its records came apart (more than `loader.idle` seconds between them), so the service stored a
  part first and merged the rest. Then its state and the order of its rows may be others, and
  it may have more columns and rows than one of its parts.
* Another event had its id, so it was stored under another one in the same second.
* Another log had given it before, with the names that auditd's ENRICHED format adds: an event
  that a spool gave first has none of those.

All else is a difference.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import select

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.decode.states import PARTIAL
from auditsvc.evidence.compare import key_of, number
from auditsvc.store import origins, schema
from auditsvc.store.write.enriched import Names
from auditsvc.store.write.stored_event import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Table

    from auditsvc.decode.batch import Batch, Row
    from auditsvc.store.database import Database
    from auditsvc.store.write.stored_event import Reader

Rows = dict[str, list["Row"]]
"""An event's rows by table."""

_CALL: Final = schema.syscall.name
_EVENT: Final = schema.event.name
_CONTEXT: Final = schema.syscall.columns.keys().index("context")
_TYPE: Final = schema.event.columns.keys().index("type")
_FIELDS: Final = schema.event.columns.keys().index("fields")
_LOOSE: Final = ("state",)
_SEQ: Final = {"path": 1, "sockaddr": 1, "record": 2}
"""The column that is the place of a row among others of its event."""


class Judged(NamedTuple):
    """The result for one event."""

    stored: int
    """Id under which the store has it; 0 if it has not."""
    what: str
    """What is another, "" if nothing is."""
    apart: bool = False
    """Whether its records came apart, so that not all of it could be compared."""


class StoredEvents(NamedTuple):
    """What is needed to compare events of a store."""

    database: Database
    connection: Connection
    secret: bytes
    """The store's."""
    made: Mapping[str, Mapping[object, Row]]
    """Rows by table and id that the events refer to and the store may not have yet."""

    def read(self, table: Table, key: str, values: Iterable[int]) -> Sequence[Row]:
        """Read rows, as `Database.fetch`, and of `made` those that are not stored."""
        wanted = list(values)
        found = list(self.database.fetch(self.connection, table, key, wanted))
        if key == "id" and (made := self.made.get(table.name)):
            absent = {*wanted} - {row[0] for row in found}
            found += [made[each] for each in absent if each in made]
        return found


def rows_of(batch: Batch, events: Iterable[int]) -> dict[int, Rows]:
    """Give the rows of some events of a batch, each once if its lines stand twice."""
    found: dict[int, Rows] = {event: defaultdict(list) for event in events}
    for table in schema.FACTS:
        rows = batch.facts.get(table.name, [])
        for row in dict.fromkeys(row for row in rows if number(row[0]) in found):
            found[number(row[0])][table.name].append(row)
    return found


def stored_rows(
    database: Database, connection: Connection, events: Iterable[int]
) -> dict[int, Rows]:
    """Give the rows of some events that are stored; without those of which there are none."""
    wanted = list(events)
    found: dict[int, Rows] = {}
    for table in schema.FACTS:
        for row in database.fetch(connection, table, key_of(table), wanted):
            found.setdefault(number(row[0]), defaultdict(list))[table.name].append(row)
    return found


def judge(store: StoredEvents, event: int, given: Rows, stored: Mapping[int, Rows]) -> Judged:
    """Compare an event with what is stored."""
    database, connection = store.database, store.connection
    if event in stored:
        judged = _compare_as_given(store, event, given, stored[event])
        if not judged.what:
            return judged._replace(stored=event)
    else:
        judged = Judged(0, "is not in the store")
    for other in _elsewhere(connection, event, given):
        rows = stored_rows(database, connection, [other]).get(other, {})
        moved = _compare_as_given(store, other, given, rows)
        if not moved.what:
            return moved._replace(stored=other)
    return judged._replace(stored=event if event in stored else 0)


def _elsewhere(connection: Connection, event: int, given: Rows) -> list[int]:
    """Give events of the same second with the same serial and milliseconds."""
    second = event >> SERIAL_BITS
    found = []
    for table in (schema.syscall, schema.event):
        for row in given.get(table.name, []):
            content = dict(zip((column.name for column in table.columns), row, strict=True))
            statement = select(table.c.id).where(
                table.c.id.between(second << SERIAL_BITS, ((second + 1) << SERIAL_BITS) - 1),
                table.c.serial == content["serial"],
                table.c.ms == content["ms"],
                table.c.id != event,
            )
            found += list(connection.scalars(statement))
    return found


def _compare_as_given(store: StoredEvents, event: int, given: Rows, stored: Rows) -> Judged:
    """Compare with or without names, as the event came from a spool first, or from another log."""
    database, connection = store.database, store.connection
    judged = _compare(database, connection, given, stored)
    if not judged.what or origins.is_own(connection, event):
        return judged

    names = Names(store.read, store.secret)
    one, other = (_without_names(names, store.read, rows) for rows in (given, stored))
    return _compare(database, connection, one, other)


def _without_names(names: Names, read: Reader, rows: Rows) -> Rows:
    """Give an event's rows as they would be without names, with a context's content for its id."""
    plain = rows | {_CALL: [], _EVENT: [], schema.path.name: [], schema.record.name: []}
    for row in rows.get(_CALL, []):
        found = read(schema.context, "id", [number(row[_CONTEXT])])
        content = names.plain_context(found[0])[1:] if found else row[_CONTEXT]
        plain[_CALL].append((*row[:_CONTEXT], content, *row[_CONTEXT + 1 :]))
    for row in rows.get(_EVENT, []):
        fields = names.plain(Piece(schema.record.name, (row[_TYPE], row[_FIELDS]))).content[1]
        plain[_EVENT].append((*row[:_FIELDS], fields, *row[_FIELDS + 1 :]))
    for row in rows.get(schema.path.name, []):
        file = names.plain(Piece(schema.path.name, row[2:]))
        plain[schema.path.name].append((*row[:2], *file.content))
    for row in rows.get(schema.record.name, []):
        fields = names.plain(Piece(schema.record.name, (row[1], row[3]))).content[1]
        plain[schema.record.name].append((*row[:3], fields))
    return plain


def _compare(database: Database, connection: Connection, given: Rows, stored: Rows) -> Judged:
    has_more = _state(given) >= PARTIAL
    if has_more and given.get(_EVENT) and stored.get(_CALL):
        return Judged(0, "", apart=True)  # a part of it that came without its SYSCALL
    is_part = has_more or _state(stored) >= PARTIAL
    for table in (schema.syscall, schema.event):
        names = [column.name for column in table.columns]
        one, other = given.get(table.name, []), stored.get(table.name, [])
        if len(one) != len(other):
            return Judged(0, f"has {len(other)} rows in {table.name} instead of {len(one)}")
        for mine, theirs in zip(one, other, strict=True):
            for name, value, found in zip(names[1:], mine[1:], theirs[1:], strict=True):
                if value == found or (is_part and name in _LOOSE):
                    continue
                if name == "context" and is_part and _fills(database, connection, value, found):
                    continue
                return Judged(0, f"has another {name}", apart=False)
    for table in (schema.exec_, schema.path, schema.sockaddr, schema.record):
        mine_, theirs_ = (Counter(_contents(table.name, each)) for each in (given, stored))
        # More only where its lines say that it is a part: the stored state may have been altered.
        if mine_ != theirs_ and not (has_more and mine_ <= theirs_):
            more, less = (theirs_ - mine_).total(), (mine_ - theirs_).total()
            return Judged(0, f"has {more} other rows in {table.name}, and {less} are missing")
    return Judged(0, "", apart=has_more)


def _contents(table: str, rows: Rows) -> list[Row]:
    """Give rows without their event and their place."""
    place = _SEQ.get(table)
    return [
        tuple(each for n, each in enumerate(row) if n not in (0, place))
        for row in rows.get(table, [])
    ]


def _fills(database: Database, connection: Connection, given: object, found: object) -> bool:
    """Whether a context is another one only in that it has what was NULL."""
    if isinstance(given, tuple) and isinstance(found, tuple):
        return all(one in (None, other) for one, other in zip(given, found, strict=True))
    both = {
        row[0]: row
        for row in database.fetch(connection, schema.context, "id", [number(given), number(found)])
    }
    mine, theirs = both.get(given), both.get(found)
    if theirs is None or mine is None:
        return False
    return all(one in (None, other) for one, other in zip(mine[1:], theirs[1:], strict=True))


def _state(rows: Rows) -> int:
    states = [
        row[list(_STATES[name]).index("state")] for name in _STATES for row in rows.get(name, [])
    ]
    return max((number(each) for each in states), default=0)


_STATES: Final = {
    table.name: [column.name for column in table.columns]
    for table in (schema.syscall, schema.event)
}
