"""Lines that are no records: kept once, each with the day on which it was stored.

A line has no time of its own, so that day is the one by which retention deletes it.
"""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from auditsvc.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from auditsvc.store.database import Database
    from auditsvc.store.write.revision import RawLine

_DAY: Final = 86_400


def keep(database: Database, connection: Connection, source: int, lines: Iterable[RawLine]) -> None:
    """Store lines of a source, unless they are stored already."""
    rows = list(
        dict.fromkeys(
            (_id(source, position, line), source, position, reason, line)
            for position, line, reason in lines
        )
    )
    if rows:
        database.insert_absent(connection, schema.raw, rows)
        today = int(time.time()) // _DAY
        database.insert_absent(connection, schema.raw_day, [(row[0], today) for row in rows])


def take_out(
    database: Database, connection: Connection, source: int, lines: Iterable[RawLine]
) -> None:
    """Delete lines of a source."""
    ids = [_id(source, position, line) for position, line, _ in lines]
    if ids:
        database.delete(connection, schema.raw, "id", ids)
        database.delete(connection, schema.raw_day, "raw", ids)


def _id(source: int, position: int, line: bytes) -> int:
    content = b"%d:%d:%b" % (source, position, line)
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little", signed=True)
