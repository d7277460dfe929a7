"""SQL of the signs of processes (`auditsvc.store.write.signs`), for both databases."""

from __future__ import annotations

import json
from string import ascii_lowercase
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.record.types import ANOM_ABEND
from auditsvc.store.process_lives import MOST_PID

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection, Row

DAY_MS: Final = 86_400_000

Process = tuple[int, int]
"""A host's id and a pid."""
Place = tuple[int, int]
"""`at` and `low` of a sign."""
Span = tuple[int | None, int | None, int]
"""What one SEEN sign is for: parent, session and day (since 1970)."""
Key = tuple[int, int, int, int]
"""Host, pid, `at` and `low` of a sign; or host, pid, and two times."""

_SIGN: Final = "z.at, z.low, z.kind, z.ppid, z.ses, z.exe"
PPID: Final = f"CASE WHEN c.ppid BETWEEN 0 AND {MOST_PID} THEN c.ppid END"
"""The parent that a context `c` names; NULL if it is no pid."""
CONTEXTS: Final = (
    f"SELECT c.id, c.host, c.arch, {PPID}, c.pid, c.ses, c.exe"  # noqa: S608 - of this module's text
    " FROM {listed} JOIN context c ON c.id = j.value"
)
CALLS_OF: Final = (
    "SELECT s.id, s.ms, s.exit, c.host, c.pid FROM {listed} JOIN syscall s ON s.id = j.value"
    " JOIN context c ON c.id = s.context"
)
ABENDS_OF: Final = (
    "SELECT e.id, e.ms, e.host, e.pid FROM {listed} JOIN event e ON e.id = j.value"  # noqa: S608 - as above
    f" WHERE e.type = {ANOM_ABEND}"
)
STORED_AT: Final = (
    f"SELECT z.host, z.pid, {_SIGN} FROM {{listed}} JOIN process_sign z"  # noqa: S608 - as above
    " ON z.host = j.a AND z.pid = j.b AND z.at = j.c AND z.low = j.d"
)
# c: the time of the first change; d: from when on signs are needed if no two lives began later.
WINDOW: Final = (
    f"SELECT z.host, z.pid, z.begins, {_SIGN} FROM {{listed}} JOIN process_sign z"  # noqa: S608 - as above
    " ON z.host = j.a AND z.pid = j.b AND z.at >= coalesce((SELECT b.at FROM process_sign b"
    " WHERE b.host = j.a AND b.pid = j.b AND b.at < j.c AND b.at >= j.d AND b.begins IS NOT NULL"
    " ORDER BY b.at DESC LIMIT 1 OFFSET 1), j.d)"
)
FIRST: Final = (
    "SELECT s.id, s.ms, c.exe FROM context c JOIN syscall s"  # noqa: S608 - as above
    " ON s.context = c.id AND s.id BETWEEN ? AND ?"
    " WHERE c.host = ? AND c.pid = ?"
    f" AND {PPID} IS NOT DISTINCT FROM ? AND c.ses IS NOT DISTINCT FROM ?"
    f" ORDER BY s.id >> {SERIAL_BITS}, s.ms, s.id LIMIT 1"
)
DELETE: Final = "DELETE FROM process_sign WHERE host = ? AND pid = ? AND at = ? AND low = ?"
UPDATE: Final = (
    "UPDATE process_sign SET begins = ? WHERE host = ? AND pid = ? AND at = ? AND low = ?"
)
LOCK_HOSTS: Final = "SELECT id FROM host WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
"""PostgreSQL: of one host one writer at a time."""


def is_sqlite(connection: Connection) -> bool:
    """Whether it is a connection to SQLite."""
    return connection.dialect.name == "sqlite"


def form(connection: Connection, statement: str) -> str:
    """Write a statement as its driver takes it."""
    if is_sqlite(connection):
        return statement
    return statement.replace("%", "%%").replace("?", "%s")


def listed(connection: Connection, statement: str, ids: Collection[int]) -> Sequence[Row]:  # type: ignore[type-arg]
    """Run a query over a list of ids, `value` each."""
    wanted = list(ids)
    if not wanted:
        return []
    if is_sqlite(connection):
        text = statement.format(listed="json_each(?) AS j")
        return connection.exec_driver_sql(text, (json.dumps(wanted),)).all()
    text = statement.format(listed="unnest(%s::bigint[]) AS j (value)")
    return connection.exec_driver_sql(text, (wanted,)).all()


def keyed(connection: Connection, statement: str, keys: Collection[Sequence[int]]) -> Sequence[Row]:  # type: ignore[type-arg]
    """Run a query over a list of some numbers, `j.a`, `j.b` and so on each."""
    if not keys:
        return []
    width = len(next(iter(keys)))
    if is_sqlite(connection):
        columns = ", ".join(
            f"json_extract(value, '$[{n}]') AS {name}"
            for n, name in enumerate(ascii_lowercase[:width])
        )
        text = statement.format(listed=f"(SELECT {columns} FROM json_each(?)) j")  # noqa: S608 - as above
        return connection.exec_driver_sql(text, (json.dumps(list(keys)),)).all()
    arrays = ", ".join(["%s::bigint[]"] * width)
    text = statement.format(listed=f"unnest({arrays}) AS j ({', '.join(ascii_lowercase[:width])})")
    columns_of = tuple(list(column) for column in zip(*keys, strict=True))
    return connection.exec_driver_sql(text, columns_of).all()
