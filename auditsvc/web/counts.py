"""The counts of calls by hour that a page is made of, read once for all its lists.

    found = Counts.of(asking, hours, conditions)
    found.hours[hour].calls; found.values["exe"][id].failed

In: hours since 1970, and conditions on the columns of `activity_row`, ids as it has them. Out:
calls and failed calls by hour and by each value of some columns; of `exe` and `key` the ids of
texts (0: none), of `auid` numbers (-1: unset), of `call` pairs of architecture and number.

The view `activity` shows the same with names, for which each of its rows is looked up, of all
hours that there are. Here the hours are a range of the table's key (on PostgreSQL of its index),
and names are looked up for what a page shows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.arrow.reach import Reach
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.search.dialect import POSTGRESQL
from auditsvc.store import activity
from auditsvc.store.read.events import second_text
from auditsvc.store.read.time_span import END, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditsvc.web.asking import Asking

HOUR: Final = 3600
"""Seconds."""
CALL: Final = "call"
COLUMNS: Final = ("exe", "auid", "key")
HOST: Final = "host"
"""Counted where there are events of several hosts alone."""
_CALLER: Final = "hour, host, exe, comm, auid, uid, key"
"""The beginning of SQLite's key: rows come grouped by it."""
_SUMS: Final = (
    "CAST(sum(calls) AS bigint), CAST(sum(CASE WHEN success = 0 THEN calls ELSE 0 END) AS bigint)"
)
_MOST: Final = 1_000_000
_LAST_HOUR: Final = END // HOUR


class Hours(NamedTuple):
    """Hours since 1970 from `low` to `high`, both included."""

    low: int
    high: int

    @property
    def condition(self) -> str:
        """The condition on `hour`."""
        return f"hour BETWEEN {self.low} AND {self.high}"


@dataclass(slots=True)
class Count:
    """How many calls, and how many of them failed."""

    calls: int = 0
    failed: int = 0

    def add(self, calls: int, failed: int) -> None:
        """Add some."""
        self.calls += calls
        self.failed += failed


def _counts() -> defaultdict[Any, Count]:
    return defaultdict(Count)


@dataclass(slots=True)
class Counts:
    """The counts, by hour and by value."""

    hours: defaultdict[int, Count] = field(default_factory=_counts)
    values: dict[str, defaultdict[Any, Count]] = field(
        default_factory=lambda: {name: _counts() for name in (*COLUMNS, CALL, HOST)}
    )

    @classmethod
    def of(
        cls,
        asking: Asking,
        hours: Hours,
        where: Sequence[str] = (),
        *,
        calls: bool = True,
        host: str | None = None,
    ) -> Counts:
        """Read them; `calls`: by call, too; `host`: that of `where`, if it has one."""
        made = cls()
        if asking.source is not None:
            made._of_views(asking, hours, where, host)
        elif asking.dialect is POSTGRESQL:
            made._of_postgres(asking, hours, where, calls=calls)
        else:
            made._of_sqlite(asking, hours, where, calls=calls)
        return made

    def _of_views(
        self, asking: Asking, hours: Hours, where: Sequence[str], host: str | None
    ) -> None:
        """Read a view of another source, with names in the place of ids.

        `activity`; of a fleet, whose view counts calls by all its columns first, the calls.
        """
        last = min(hours.high, _LAST_HOUR)
        within = Reach(Span(hours.low * HOUR, last * HOUR + HOUR - 1), host)
        columns = ["hour", *COLUMNS, "syscall"]
        if asking.is_of_hosts:
            columns.append(HOST)
            hour = f"event_id / {HOUR << SERIAL_BITS} AS hour"
            rows = f"(SELECT *, {hour}, 1 AS calls FROM syscalls) AS made"  # noqa: S608 - as above
            between = within.span.conditions
        else:
            rows = "activity"
            times = (second_text(hour * HOUR) for hour in (hours.low, last))
            between = ["hour BETWEEN '{}' AND '{}'".format(*times)]
        sql = (
            f"SELECT GROUPING({', '.join(columns)}), {', '.join(columns)}, {_SUMS}"  # noqa: S608 - as above
            f" FROM {rows} WHERE {_all(*between, *where)}"
            f" GROUP BY GROUPING SETS ({', '.join(f'({name})' for name in columns)})"
        )
        places = _grouped_by(columns)
        for kind, *values, made, failed in asking.rows(sql, _MOST, within, shown=False).rows:
            name, value = places[kind], dict(zip(columns, values, strict=True))[places[kind]]
            if name == "hour":
                self.hours[_hour(value)].add(int(made), int(failed))
            else:
                value = -1 if name == "auid" and value is None else value
                self.values[CALL if name == "syscall" else name][value].add(int(made), int(failed))

    def _of_postgres(
        self, asking: Asking, hours: Hours, where: Sequence[str], *, calls: bool
    ) -> None:
        """Have all groups made in one pass over the rows and the parts."""
        names = ["hour", *COLUMNS, *([CALL] if calls else [])]
        sets = ["(arch, nr)" if name == CALL else f"({name})" for name in names]
        call = "arch, nr" if calls else "NULL, NULL"
        told = ", ".join("nr" if name == CALL else name for name in names)
        sql = (
            f"SELECT GROUPING({told}), hour, exe, auid, key, {call}, {_SUMS}"  # noqa: S608 - numbers, our conditions
            f" FROM (SELECT {activity.KEY}, calls FROM activity_row"
            f" WHERE {_all(hours.condition, *where)} UNION ALL SELECT {activity.KEY}, calls"
            f" FROM ({activity.counted(hours.condition)}) p WHERE {_all(*where)}) a"
            f" GROUP BY GROUPING SETS ({', '.join(sets)})"
        )
        places = _grouped_by(names)
        for kind, hour, exe, auid, key, arch, nr, made, failed in asking.rows(
            sql, _MOST, shown=False
        ).rows:
            name = places[kind]
            if name == "hour":
                self.hours[hour].add(made, failed)
            else:
                value = {"exe": exe, "auid": auid, "key": key, CALL: (arch, nr)}[name]
                self.values[name][value].add(made, failed)

    def _of_sqlite(
        self, asking: Asking, hours: Hours, where: Sequence[str], *, calls: bool
    ) -> None:
        """Group by the key's beginning, which takes no sorting; then by call."""
        sources = (
            f"activity_row WHERE {_all(hours.condition, *where)}",
            f"({activity.counted(hours.condition)}) WHERE {_all(*where)}",
        )
        for source in sources:
            sql = f"SELECT {_CALLER}, {_SUMS} FROM {source} GROUP BY {_CALLER}"  # noqa: S608 - as above
            for row in asking.rows(sql, _MOST, shown=False).rows:
                hour, _, exe, _, auid, _, key, made, failed = row
                self.hours[hour].add(made, failed)
                self.values["exe"][exe].add(made, failed)
                self.values["auid"][auid].add(made, failed)
                self.values["key"][key].add(made, failed)
            if not calls:
                continue
            sql = f"SELECT arch, nr, {_SUMS} FROM {source} GROUP BY arch, nr"  # noqa: S608 - as above
            for arch, nr, made, failed in asking.rows(sql, _MOST, shown=False).rows:
                self.values[CALL][arch, nr].add(made, failed)


def _hour(value: int | str) -> int:
    """Give an hour since 1970, of which a view has the time."""
    if isinstance(value, int):
        return value
    return int(datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()) // HOUR


def _grouped_by(names: Sequence[str]) -> dict[int, str]:
    """Give what a row is grouped by, by the value of GROUPING(names).

    A bit is 0 for it; the last name has the lowest one.
    """
    return {(1 << len(names)) - 1 ^ 1 << bit: name for bit, name in enumerate(reversed(names))}


def programs(asking: Asking, hours: Hours) -> set[Any]:
    """Give the ids of the programs that made calls in some hours; of another source their names."""
    if hours.high < hours.low:
        return set()
    if asking.source is not None:
        return {name for name in Counts.of(asking, hours).values["exe"] if name is not None}
    parts = (
        "SELECT c.exe FROM (SELECT DISTINCT context FROM activity_part"  # noqa: S608 - numbers
        f" WHERE {hours.condition}) p JOIN context c ON c.id = p.context"
    )
    rows = f"SELECT DISTINCT exe FROM activity_row WHERE {hours.condition}"  # noqa: S608 - numbers
    if asking.dialect is not POSTGRESQL:
        rows = _steps(hours)
    found = asking.rows(f"{rows} UNION {parts}", _MOST, shown=False).rows
    return {row[0] for row in found if row[0]}


def _steps(hours: Hours) -> str:
    """Give the programs of some hours on SQLite: from each to the next one in the key.

    So what is read grows with the programs of an hour, not with its rows.
    """
    least = (
        "(SELECT min(r.exe) FROM activity_row r WHERE r.hour = {0}.hour AND r.host = {0}.host{1})"
    )
    return (
        f"WITH RECURSIVE h(hour) AS (VALUES({hours.low}) UNION ALL SELECT hour + 1 FROM h"  # noqa: S608 - numbers
        f" WHERE hour < {hours.high}), t(hour, host) AS (SELECT hour, id FROM h CROSS JOIN host),"
        f" s(hour, host, exe) AS (SELECT hour, host, {least.format('t', '')} FROM t UNION ALL"
        f" SELECT hour, host, {least.format('s', ' AND r.exe > s.exe')} FROM s"
        " WHERE exe IS NOT NULL) SELECT exe FROM s"
    )


def _all(*conditions: str) -> str:
    return " AND ".join(conditions) or "true"


def names_of(asking: Asking, ids: Iterable[Any]) -> dict[Any, str]:
    """Give the texts of some ids."""
    if asking.source is not None:
        return {each: each for each in ids}
    listed = ", ".join(str(each) for each in ids)
    if not listed:
        return {}
    sql = f"SELECT id, value FROM text WHERE id IN ({listed})"  # noqa: S608 - numbers
    return dict(asking.rows(sql, _MOST, shown=False).rows)


def call_names(asking: Asking, calls: Iterable[Any]) -> dict[Any, str]:
    """Give the names of some calls; those of an architecture are all read."""
    wanted = set(calls)
    if asking.source is not None:
        return {each: each for each in wanted}
    listed = ", ".join(str(arch) for arch in sorted({arch for arch, _ in wanted}))
    if not listed:
        return {}
    sql = f"SELECT arch, nr, name FROM syscall_name WHERE arch IN ({listed})"  # noqa: S608 - numbers
    rows = asking.rows(sql, _MOST, shown=False).rows
    return {(arch, nr): name for arch, nr, name in rows if (arch, nr) in wanted}
