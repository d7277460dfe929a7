"""The rows of one host among those of several in a store.

    others = hosts_but(connection, {"web1"})            # ids of all other hosts
    rows = rows_but(schema.path, others)                # SQL: FROM ... WHERE ..., the table as x
    ids = events_of(connection, others, "BETWEEN 5 AND 9")

What refers to no host, or to one that has no row, is no other host's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from auditsvc.evidence.compare import key_of
from auditsvc.store import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import Connection, Table

WITH_HOST: Final = (schema.syscall.name, schema.event.name)
"""Tables whose rows say of which host they are; others have an event's."""
_CALLER: Final = "LEFT JOIN context c ON c.id = {0}.context"


def hosts_but(connection: Connection, names: Collection[str]) -> frozenset[int]:
    """Give the ids of all hosts but those of these names."""
    found = connection.execute(select(schema.host.c.id, schema.host.c.name))
    return frozenset(int(each.id) for each in found if each.name not in names)


def rows_but(table: Table, others: Collection[int]) -> str:
    """Give FROM and WHERE of the rows of a table of facts, as x, that no other host has."""
    if not others:
        return f"FROM {table.name} x WHERE 1 = 1"
    if table is schema.event:
        joined, host = "", "x.host"
    elif table is schema.syscall:
        joined, host = _CALLER.format("x"), "c.host"
    else:
        joined = (
            f"LEFT JOIN syscall s ON s.id = x.{key_of(table)} {_CALLER.format('s')}"
            f" LEFT JOIN event e ON e.id = x.{key_of(table)}"
        )
        host = "coalesce(c.host, e.host)"
    return (
        f"FROM {table.name} x {joined} WHERE ({host} IS NULL OR {host} NOT IN ({_listed(others)}))"
    )


def events_of(connection: Connection, hosts: Collection[int], which: str) -> Iterator[int]:
    """Give the events of some hosts; `which`: a condition of SQL that follows an id."""
    if not hosts:
        return
    listed = _listed(hosts)
    calls = f"SELECT s.id FROM syscall s {_CALLER.format('s')} WHERE c.host IN ({listed})"  # noqa: S608 - numbers
    others = f"SELECT s.id FROM event s WHERE s.host IN ({listed})"  # noqa: S608 - numbers
    for statement in (calls, others):
        found = connection.exec_driver_sql(
            f"{statement} AND s.id {which}", execution_options={"yield_per": 10_000}
        ).scalars()
        yield from map(int, found)


def _listed(ids: Collection[int]) -> str:
    return ", ".join(map(str, sorted(ids)))
