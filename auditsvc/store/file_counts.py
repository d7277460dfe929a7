"""SQL of the uses of files counted by day: `file_row`, and what is not in it yet.

A use is a row of `path`. Its day is that of its event. At any moment the uses of a file in a time
are the sum of `uses(...)`, and the first of them is the least `first`.

* SQLite: counted are the rows of *closed* runs of the index by files (`auditsvc.store.schema`):
  those up to the number that `store_info` has as COUNTED, which get no more rows. A new run
  comes after them, whatever was deleted. So a transaction that stores events writes nothing for
  these counts, and a run is counted once, in bulk, in the order of the index. What is in no
  closed run is found by the indexes on them.
* PostgreSQL: a transaction adds what it stores to `file_part`, and settling joins that to the rows.

Who deletes rows of `path` takes their uses away before. The first use may then be a later one: the
day is noted in `file_taken`, and of such days a first use is looked up if it is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import delete, select

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.partitions import DAY, HIGHEST
from auditsvc.store.schema import GROUP_BITS, file_part, file_row, file_taken, store_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

COUNTED: Final = "files_counted"
"""The last run of SQLite's index that is counted, in `store_info`."""
LAST: Final = (
    f"coalesce((SELECT CAST(value AS integer) FROM store_info WHERE name = '{COUNTED}'), 0)"  # noqa: S608 - ours
)
"""Its number, as SQL."""
MANY: Final = 200_000
"""Uses that are counted together: each time most files of a day get another count."""
MOST: Final = 500_000
"""Uses that one transaction counts, about: others wait for it."""

_DAY: Final = f"(p.event >> {SERIAL_BITS}) / {DAY}"
_COLUMNS: Final = "day, file, uses, first"
_NONE: Final = "CAST(NULL AS bigint)"
_JOIN: Final = (
    "ON CONFLICT (day, file) DO UPDATE SET uses = file_row.uses + excluded.uses,"
    " first = CASE WHEN excluded.first < file_row.first THEN excluded.first"
    " ELSE file_row.first END"
)
_RUNS: Final = (
    f"INSERT INTO file_row ({_COLUMNS})"  # noqa: S608 - ours
    f" SELECT {_DAY}, p.file, count(*), min(p.event) FROM path p"
    " WHERE p.settled IS NOT NULL AND p.settled > ? AND p.settled <= ?"
    f" GROUP BY {_DAY}, p.file {_JOIN}"
)
_NEVER: Final = (1 << 63) - 1
_JOIN_PARTS: Final = (
    f"INSERT INTO file_row ({_COLUMNS})"  # noqa: S608 - ours
    " SELECT day, file, CAST(sum(uses) AS bigint),"
    f" coalesce(min(first) FILTER (WHERE uses > 0), {_NEVER}) FROM file_part"
    f" GROUP BY day, file HAVING sum(uses) <> 0 ORDER BY day, file {_JOIN}"
)
_PARTS: Final = (
    _JOIN_PARTS,
    "DELETE FROM file_row WHERE uses = 0 AND day IN (SELECT day FROM file_part WHERE uses < 0)",
    "DELETE FROM file_part",
)


class Ids(NamedTuple):
    """A range of events, with both ends."""

    low: int
    high: int


# --- writing: each within a transaction ----------------------------------------------------


def last_counted(connection: Connection) -> int:
    """Give the last run that is counted, on SQLite."""
    return int(connection.exec_driver_sql(f"SELECT {LAST}").scalar_one())


def settle(connection: Connection, *, all_of_it: bool) -> bool:
    """Count what is not counted yet, without other writers; gives whether there is more.

    On SQLite only where it is much, or with `all_of_it`.
    """
    if connection.dialect.name != "sqlite":
        for statement in _PARTS:
            connection.exec_driver_sql(statement)
        return False
    before = last_counted(connection)
    closed = "SELECT settled, count(*) FROM path WHERE settled > ? GROUP BY settled"
    # The last run may get more rows.
    runs = [tuple(row) for row in connection.exec_driver_sql(closed, (before,))][:-1]
    if not runs or (not all_of_it and sum(rows for _, rows in runs) < MANY):
        return False
    taken = rows = 0
    while taken < len(runs) and rows < MOST:
        rows += runs[taken][1]
        taken += 1
    last = runs[taken - 1][0]
    connection.exec_driver_sql(_RUNS, (before, last))
    connection.execute(delete(store_info).where(store_info.c.name == COUNTED))
    connection.execute(store_info.insert().values(name=COUNTED, value=str(last)))
    return taken < len(runs)


def take_away(connection: Connection, uses: str, values: tuple[object, ...]) -> None:
    """Take uses away that are about to be deleted; `uses` is a FROM clause of `path p`."""
    is_sqlite = connection.dialect.name == "sqlite"
    found = connection.exec_driver_sql(
        f"SELECT {_DAY}, p.file, -count(*), min(p.event) FROM {uses}"  # noqa: S608 - ours
        f"{f' AND p.settled <= {LAST}' if is_sqlite else ''} GROUP BY 1, 2",
        values,
    )
    rows = [tuple(row) for row in found]
    if not rows:
        return
    marks = "?, ?, ?, ?" if is_sqlite else "%s, %s, %s, %s"
    table, join = ("file_row", f" {_JOIN}") if is_sqlite else ("file_part", "")
    # A first use that was taken away stays as a bound: the day is noted.
    statement = f"INSERT INTO {table} ({_COLUMNS}) VALUES ({marks}){join}"  # noqa: S608 - ours
    connection.exec_driver_sql(statement, rows)
    days = sorted({row[0] for row in rows})
    note = "INSERT INTO file_taken (day) VALUES ({}) ON CONFLICT DO NOTHING"
    connection.exec_driver_sql(note.format(marks[:1] if is_sqlite else "%s"), [(d,) for d in days])
    if is_sqlite:
        gone = file_row.c.uses == 0, file_row.c.day.in_(days)
        connection.execute(delete(file_row).where(*gone))


def take_range_away(connection: Connection, low: int, high: int) -> None:
    """Take away the uses by events with ids from `low` to `high`, which retention deletes."""
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    take_away(connection, f"path p WHERE p.event BETWEEN {mark} AND {mark}", (low, high))
    if connection.dialect.name != "sqlite":
        settle(connection, all_of_it=True)
    # Of a day that has no more uses nothing is to be looked up.
    left = select(file_row.c.day).where(file_row.c.day == file_taken.c.day).exists()
    connection.execute(delete(file_taken).where(~left))


def drop_day(connection: Connection, day: int) -> None:
    """Delete all counts of a day."""
    for table in (file_row, file_part, file_taken):
        connection.execute(delete(table).where(table.c.day == day))


def wrong_days(connection: Connection) -> list[int]:
    """Give the days of which not as many uses of a file are counted as there are, or first ones.

    Where uses were taken away, a first one may be before all that are left.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    counted = f"WHERE p.settled IS NOT NULL AND p.settled <= {LAST}" if is_sqlite else ""
    united = (
        f"SELECT {_COLUMNS}, {_NONE} AS found FROM file_row"  # noqa: S608 - ours
        f" UNION ALL SELECT day, file, uses, CASE WHEN uses > 0 THEN first END, {_NONE}"
        " FROM file_part"
        f" UNION ALL SELECT {_DAY}, p.file, -count(*), {_NONE}, min(p.event) FROM path p {counted}"
        " GROUP BY 1, 2"
    )
    found = connection.exec_driver_sql(
        "SELECT DISTINCT day FROM (SELECT day, sum(uses) AS more, min(first) AS first,"  # noqa: S608 - ours
        f" min(found) AS found FROM ({united}) u GROUP BY day, file) f WHERE more <> 0"
        " OR first > found OR first < found AND day NOT IN (SELECT day FROM file_taken)"
        " ORDER BY day"
    )
    return [int(row[0]) for row in found]


# --- reading -------------------------------------------------------------------------------


def _first(row: str, *, is_sqlite: bool) -> str:
    """Give the first use of a row of counts: where uses were taken away, it is looked up."""
    of_file = f"p.file = {row}.file"
    if is_sqlite:
        of_file = f"(p.settled IS NOT NULL AND {of_file} OR p.settled IS NULL AND {of_file})"
    low = f"({row}.day * {DAY}) << {SERIAL_BITS}"
    high = f"((({row}.day + 1) * {DAY}) << {SERIAL_BITS}) - 1"
    return (
        f"CASE WHEN {row}.day IN (SELECT day FROM file_taken) AND NOT EXISTS ("  # noqa: S608 - ours
        f"SELECT 1 FROM path p WHERE p.event = {row}.first AND p.file = {row}.file)"
        f" THEN (SELECT min(p.event) FROM path p WHERE {of_file}"
        f" AND p.event BETWEEN {low} AND {high}) ELSE {row}.first END"
    )


def _whole_days(low: int, high: int) -> tuple[int, int]:
    """Give the first and the last day that are whole in a range of ids; none: the last is less."""
    second, end = -(-low >> SERIAL_BITS), high + 1 >> SERIAL_BITS
    return -(-second // DAY), end // DAY - 1


def _edges(low: int, high: int) -> Iterator[Ids]:
    """Give the ids of a range that are of no whole day."""
    first, last = _whole_days(low, high)
    if last < first:
        yield Ids(low, high)
        return
    begin, end = (first * DAY) << SERIAL_BITS, ((last + 1) * DAY) << SERIAL_BITS
    if low < begin:
        yield Ids(low, begin - 1)
    if end <= high:
        yield Ids(end, high)


def whole_days(low: int, high: int, has: Callable[[str], bool]) -> tuple[int, int]:
    """Give a range of ids with the same uses whose ends are those of days, where it can.

    `has`: runs a SELECT of one number, and gives whether it is not 0.
    """

    def is_empty(first: int, last: int) -> bool:
        some = f"SELECT 1 FROM path p WHERE p.event BETWEEN {first} AND {last}"  # noqa: S608 - numbers
        return first > last or not has(f"SELECT CASE WHEN EXISTS ({some}) THEN 1 ELSE 0 END")

    step = DAY << SERIAL_BITS
    begin, end = low // step * step, min(high // step * step + step - 1, HIGHEST)
    return begin if is_empty(begin, low - 1) else low, end if is_empty(high + 1, end) else high


def uses(dialect: str, low: int, high: int) -> str:
    """Give the SELECT of the uses by events with ids from `low` to `high`: file, uses, first.

    A file can have several rows, whose sum counts: it can be 0.
    """
    is_sqlite = dialect == "sqlite"
    return " UNION ALL ".join(_parts(low, high, is_sqlite=is_sqlite))


def _parts(low: int, high: int, *, is_sqlite: bool) -> Iterable[str]:
    first, last = _whole_days(low, high)
    counted = "SELECT p.file, count(*) AS uses, min(p.event) AS first FROM path p WHERE"
    if first <= last:
        days = f"BETWEEN {first} AND {last}"
        for table in ("file_row",) if is_sqlite else ("file_row", "file_part"):
            shown = _first("r", is_sqlite=is_sqlite)
            yield f"SELECT r.file, r.uses, {shown} AS first FROM {table} r WHERE r.day {days}"  # noqa: S608 - ours
        if is_sqlite:
            # By the indexes on these, and not by the events of the days.
            begin, end = (first * DAY) << SERIAL_BITS, (((last + 1) * DAY) << SERIAL_BITS) - 1
            within = f"+p.event BETWEEN {begin} AND {end}"
            yield (
                f"{counted} p.settled IS NOT NULL AND p.settled > {LAST} AND {within}"
                " GROUP BY p.settled, p.file"
            )
            groups = (
                f"p.event >> {GROUP_BITS} BETWEEN {begin >> GROUP_BITS} AND {end >> GROUP_BITS}"
            )
            yield f"{counted} p.settled IS NULL AND {groups} AND {within} GROUP BY p.file"
    for edge in _edges(low, high):
        yield f"{counted} p.event BETWEEN {edge.low} AND {edge.high} GROUP BY p.file"
