"""The sources of a store: where each is read on, and what is counted of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, bindparam, case, select

from auditsvc.decode import ids
from auditsvc.errors import StoreError
from auditsvc.store import origins, schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import ColumnElement, Connection

    from auditsvc.store.database import Database

_AT_ONCE: Final = 500
"""Sources that are looked up by one statement."""
_LONG: Final = 1 << 20
"""Bytes of a value that are not kept in memory longer than needed."""
MOST: Final = 1 << 61
"""No count and no place is larger; the columns take four times that."""

# A source's ledger has these from the start, so that no loss is shown as zero.
_ALWAYS_SHOWN: Final = (
    "received",
    "stored",
    "end",
    "raw",
    "duplicate",
    "open",
    "kernel_lost",
    "spool_lost",
    "gap",
)


_OWN_LOSS: Final = frozenset(("kernel_lost", "spool_lost"))
"""Told by DAEMON_ERR lines; of a spool alone are they believed."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a source was read: in which file, bytes of it, and the decoder's `pending`."""

    segment: str
    position: int
    pending: bytes = b""


@dataclass(frozen=True, slots=True)
class Source:
    """One input of the store, and where to continue reading it."""

    id: int
    kind: str
    name: str
    segment: str
    position: int
    pending: bytes
    open_records: int


def find(database: Database, kind: str, names: Iterable[str]) -> dict[str, Source]:
    """Find the sources of these names, each with the checkpoint that stands.

    They may be the `before` of changes; `Writer.write` wants one from `Writer.source`.
    """
    table, wanted = schema.source, list(names)
    found = {}
    with database.begin(alone=False) as connection:
        for start in range(0, len(wanted), _AT_ONCE):
            some = table.c.name.in_(wanted[start : start + _AT_ONCE])
            for source in _read(connection, (table.c.kind == kind) & some):
                found[source.name] = source
    return found


def rename(database: Database, kind: str, old: str, new: str, at: tuple[str, int]) -> None:
    """See `Store.rename_source`."""
    table = schema.source
    taken = select(table.c.id).where(table.c.kind == kind, table.c.name == new)
    segment, position = at
    with database.begin(alone=False) as connection:
        if connection.execute(taken).first() is None:
            connection.execute(
                table.update()
                .where(
                    table.c.kind == kind,
                    table.c.name == old,
                    table.c.segment == segment,
                    table.c.position == position,
                )
                .values(name=new)
            )


def get(
    database: Database,
    connection: Connection,
    secret: bytes,
    kind: str,
    name: str,
    *,
    is_counted: bool,
) -> Source:
    """Find or make the source with this name.

    A source that is not counted gives no lines: the ledger does not show it.
    """
    table, attempt = schema.source, 0
    wanted = (table.c.kind == kind) & (table.c.name == name)
    while not (found := _read(connection, wanted)):
        source_id = ids.dimension_id(secret, table.name, (kind, name), attempt)
        new = (source_id, kind, name, "", 0, b"")
        if database.insert_absent(connection, table, [new]) and is_counted:
            zeros = [(source_id, cause, 0) for cause in _ALWAYS_SHOWN]
            database.insert_absent(connection, schema.ledger_entry, zeros)
        attempt += 1
    (source,) = found
    return source


def move(
    database: Database,
    connection: Connection,
    before: Source,
    after: Source,
    counts: Mapping[str, int],
) -> None:
    """Update one checkpoint and what is counted for it; StoreError if it was moved meanwhile."""
    table = schema.source
    at = (
        table.c.id == bindparam("at_id"),
        table.c.segment == bindparam("at_segment"),
        table.c.position == bindparam("at_position"),
    )
    update = table.update().where(*at)
    given = {"at_id": before.id, "at_segment": before.segment, "at_position": before.position}
    values = {"segment": after.segment, "position": after.position, "pending": after.pending}
    moved = connection.execute(update, given | values)
    if len(after.pending) > _LONG:  # the driver keeps a statement with the values that it had last
        connection.execute(update, given | values | {"at_id": 0, "pending": b""})
    if moved.rowcount != 1:
        raise StoreError(
            f"the checkpoint in {database.place} is not where it was left",
            "end the other process that reads the same source, then start again",
        )
    counts = {**counts, "open": after.open_records - before.open_records}
    if before.kind != origins.OWN:  # nobody else knows what our kernel and our spool lost
        counts |= dict.fromkeys(_OWN_LOSS & counts.keys(), 0)
    _count(database, connection, before.id, counts)


def _count(
    database: Database, connection: Connection, source_id: int, counts: Mapping[str, int]
) -> None:
    entry = schema.ledger_entry
    changes = [
        {"s": source_id, "c": cause, "n": max(-MOST, min(count, MOST))}
        for cause, count in counts.items()
        if count
    ]
    if not changes:
        return
    rows = [(change["s"], change["c"], 0) for change in changes]
    database.insert_absent(connection, entry, rows)
    connection.execute(
        entry.update()
        .where(entry.c.source == bindparam("s"), entry.c.cause == bindparam("c"))
        .values(
            count=case(
                (entry.c.count > MOST - bindparam("n", type_=BigInteger), MOST),
                else_=entry.c.count + bindparam("n", type_=BigInteger),
            )
        ),
        changes,
    )


def _read(connection: Connection, where: ColumnElement[bool]) -> list[Source]:
    """Read sources, with the records that they have open."""
    table, entry = schema.source, schema.ledger_entry
    opened = (entry.c.source == table.c.id) & (entry.c.cause == "open")
    found = select(table, entry.c.count).join(entry, opened, isouter=True).where(where)
    return [
        Source(row.id, row.kind, row.name, row.segment, row.position, row.pending, count or 0)
        for row in connection.execute(found).all()
        for count in row[-1:]
    ]
