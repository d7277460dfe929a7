"""Moves the rows of a PostgreSQL store of before schema 0013 into its partitions.

    earlier_syscall, earlier_path, ... -> syscall, path, ...

The migration renamed the tables of before and made new ones; from then on a program of before
cannot write any more, and its records wait in the spool. The rows are copied in the order of
their ids, some 100,000 events in a transaction, which also moves the mark, the highest id that is
copied. So a killed migration goes on where it was. Until the end the views show the tables of
before, whole, and no program opens the store but to go on; the transaction that makes the views
anew drops them (`finish`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select, update

from auditsvc.store import partitions
from auditsvc.store.database import column_list
from auditsvc.store.partitions import DAY, HIGHEST, day_of
from auditsvc.store.schema import ARGUMENTS, FACTS, event, store_info, syscall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from auditsvc.store.database import Database

_MARK: Final = "moving"
_EARLIER: Final = "earlier_"
_ROWS: Final = 100_000
"""Calls, and other events, of a transaction."""


def is_under_way(connection: Connection) -> bool:
    """Whether rows are, or were, in the tables of before."""
    return _mark(connection) is not None


def steps(database: Database) -> Iterator[tuple[int, int]]:
    """Copy all rows; gives after each transaction how many events are copied, and of how many."""
    with database.begin(alone=True) as connection:
        database.unhurried(connection)
        mark = _mark(connection)
        if mark is None:
            return
        moved, total = (
            sum(
                connection.exec_driver_sql(
                    f"SELECT count(*) FROM {_EARLIER}{table.name} WHERE id <= %s",  # noqa: S608 - ours
                    (end,),
                ).scalar_one()
                for table in (syscall, event)
            )
            for end in (mark, HIGHEST)
        )
    yield moved, total
    while True:
        with database.begin(alone=True) as connection:
            database.unhurried(connection)
            added = _move_some(connection)
        if added is None:
            return
        moved += added
        yield moved, total


def finish(connection: Connection) -> None:
    """Drop the tables of before, when everything is copied and no view needs them."""
    if is_under_way(connection):
        for table in FACTS:
            connection.exec_driver_sql(f"DROP TABLE {_EARLIER}{table.name}")
        connection.execute(delete(store_info).where(store_info.c.name == _MARK))


def _mark(connection: Connection) -> int | None:
    found = connection.scalar(select(store_info.c.value).where(store_info.c.name == _MARK))
    return None if found is None else int(found)


def _move_some(connection: Connection) -> int | None:
    """Copy the next events, of one day, and move the mark; None if there are none."""
    mark = _mark(connection)
    if mark is None or mark == HIGHEST:
        return None
    first = _least(connection, mark + 1, 0)
    if first is None:
        return None
    day = day_of(first)
    parts = partitions.ensure(connection, [day], int(time.time()) // DAY)
    part = partitions.part_of(parts, day)
    assert part is not None
    behind = _least(connection, first, _ROWS)
    last = part.high if behind is None else min(behind - 1, part.high)
    added = 0
    for table in FACTS:
        key = table.columns.keys()[0]
        names = column_list(table)
        values = ", ".join(_value(column.name) for column in table.columns)
        copied = connection.exec_driver_sql(
            f"INSERT INTO {part.name(table.name)} ({names})"  # noqa: S608 - names of the schema
            f" SELECT {values} FROM {_EARLIER}{table.name}"
            f" WHERE {key} BETWEEN %s AND %s ORDER BY {key}",
            (first, last),
        ).rowcount
        added += copied if table in (syscall, event) else 0
    connection.execute(update(store_info).where(store_info.c.name == _MARK).values(value=str(last)))
    return added


def _least(connection: Connection, low: int, offset: int) -> int | None:
    """Give the least id from `low` on of the tables' rows, after so many of each."""
    found = [
        connection.exec_driver_sql(
            f"SELECT id FROM {_EARLIER}{table.name} WHERE id >= %s ORDER BY id LIMIT 1 OFFSET %s",  # noqa: S608 - ours
            (low, offset),
        ).scalar()
        for table in (syscall, event)
    ]
    return min((each for each in found if each is not None), default=None)


def _value(name: str) -> str:
    return f"ltrim(int8send({name}), '\\x00'::bytea)" if name in ARGUMENTS else f'"{name}"'
