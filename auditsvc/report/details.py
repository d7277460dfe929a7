"""The lists: an event a line, in the order of time."""

from __future__ import annotations

import heapq
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.record.types import DAEMON_CONFIG
from auditsvc.report import types
from auditsvc.report.columns import calls, lone
from auditsvc.report.values import Value, shower, time_of
from auditsvc.store.write import account_names, process_cgroups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from auditsvc.report.catalogue import Report
    from auditsvc.report.choice import Choice
    from auditsvc.report.dialect import Dialect
    from auditsvc.report.reader import Reader
    from auditsvc.report.types import Types

EVENT: Final = ("id", "ms", "serial", "host")
"""What is read of every event before the report's own columns."""


_FEW: Final = 0.0001
_SOME: Final = 0.1
"""Parts of the lines for which a statement is planned."""


class Line(NamedTuple):
    """A line of a report."""

    event_id: int
    time: str
    node: str
    values: tuple[Value, ...]


def lines(reader: Reader, report: Report, choice: Choice, *, interpret: bool) -> Iterator[Line]:
    """Give the lines of a report."""
    hosts = hosts_of(reader)
    if choice.hosts and set(choice.hosts).isdisjoint(hosts.values()):
        return  # else each event would be looked at
    parts = statements(report, choice, reader.dialect)
    # Types have an index, and are put in order behind it. All else has the order of events: what
    # is looked up for each of millions must not be looked up before the first one is shown.
    first = _FEW if report.types is None else _SOME
    streams = [reader.rows(sql, choice.values, first=first) for sql in parts]
    rows = heapq.merge(*streams, key=itemgetter(0))
    yield from shown(report, rows, hosts, interpret=interpret)


def hosts_of(reader: Reader) -> dict[int, str]:
    """Give the names of the hosts by their ids."""
    return dict(reader.rows("SELECT id, name FROM host"))


def shown(
    report: Report, rows: Iterator[tuple[Any, ...]], hosts: Mapping[int, str], *, interpret: bool
) -> Iterator[Line]:
    """Make lines of rows: those columns that every event has, and the raw values."""
    show = [shower(source, interpret=interpret) for source in report.sources]
    at = next((n for n, column in enumerate(report.columns) if column.source == "event"), len(show))
    for event_id, ms, serial, host, *raw in rows:
        values: list[Value] = [each(value) for each, value in zip(show, raw, strict=True)]
        values.insert(at, serial)
        yield Line(event_id, time_of(event_id, ms), hosts.get(host, "?"), tuple(values))


def statements(report: Report, choice: Choice, dialect: Dialect) -> list[str]:
    """Give the statements whose rows, merged by their first column, are the report's."""
    of_calls = calls(report.sources, choice, dialect)
    of_others = lone(report.sources, choice, dialect)
    found = []
    if reaches_calls(report):
        columns = (f"s.{name}" for name in EVENT[:3])
        found.append(
            of_calls.select([*columns, "c.host"], in_calls(report, choice, dialect))
            + " ORDER BY s.id"
        )
    columns = (f"e.{name}" for name in EVENT)
    found.append(of_others.select(columns, in_others(report, choice, dialect)) + " ORDER BY e.id")
    return found


def reaches_calls(report: Report) -> bool:
    """Whether calls can be in a report; messages of programs never come with one."""
    if report.types is None:
        return True
    return not all(number in types.USER for number in report.types.single) or bool(
        [low for low, _ in report.types.ranges if low not in types.USER]
    )


def in_calls(report: Report, choice: Choice, dialect: Dialect) -> list[str]:
    """Give the conditions that hold for the calls in a report."""
    if report.types is not None:
        return [f"s.id IN ({with_record(report.types, choice)})"]
    if not report.known:
        return []
    if report.known == "syscall":
        return []
    found = [f"{_known(report.known, choice, dialect)} IS NOT NULL"]
    if report.known == "host":
        among = " AND ".join(["1 = 1", *choice.times("k.event")])
        found.insert(0, f"s.id IN (SELECT k.event FROM sockaddr k WHERE {among})")  # noqa: S608
    return found


def _known(name: str, choice: Choice, dialect: Dialect) -> str:
    on_context = {"exe": "c.exe", "comm": "c.comm", "term": "c.tty"}
    return on_context.get(name) or calls([name], choice, dialect).shown[0]


def in_others(report: Report, choice: Choice, dialect: Dialect) -> list[str]:
    """Give the conditions that hold for the other events in a report."""
    known = lone([report.known or "pid", "success"], choice, dialect).shown
    found = []
    if report.types is not None:
        found.append(of_types(report, choice))
    elif report.known:
        found.append(f"{known[0]} IS NOT NULL")
    if report.name == "auth":
        found.append(f"(e.type <> {types.USER_MGMT} OR {known[1]} = 0)")
    if report.name == "config":
        found.append(without_notes(dialect))
    return found


def of_types(report: Report, choice: Choice) -> str:
    """Give the condition that an event without a call has a record of the types of a report."""
    assert report.types is not None
    own = " AND ".join([report.types.condition("x.type"), *choice.times("x.id")])
    return (
        f"e.id IN (SELECT x.id FROM event x WHERE {own}"  # noqa: S608 - conditions are ours
        f" UNION ALL {with_record(report.types, choice)})"
    )


def without_notes(dialect: Dialect) -> str:
    """Give the condition that an event is none of what our service notes for its own views.

    Coverage, names of users and groups, cgroups of processes: DAEMON_CONFIG records by the
    hundred, which change nothing.
    """
    op = f"coalesce({dialect.of('op')}, '')"
    named = f"'{account_names.OPERATION}', '{process_cgroups.OPERATION}'"
    return f"(e.type <> {DAEMON_CONFIG} OR ({op} NOT LIKE 'coverage%' AND {op} NOT IN ({named})))"


def without_access(dialect: Dialect) -> str:
    """Give the condition that an event is none of our notes on who read the store.

    The view `access` has them; they say nothing about audit's health.
    """
    notes = f"{types.DAEMON_ACCEPT}, {types.DAEMON_CLOSE}"
    return f"(e.type NOT IN ({notes}) OR coalesce({dialect.of('op')}, '') <> 'access')"


def with_record(wanted: Types, choice: Choice) -> str:
    """Select the events that have a record of a type beside the first one; one pass at most."""
    where = " AND ".join([wanted.condition("r.type"), *choice.times("r.event")])
    return f"SELECT r.event FROM record r WHERE {where}"  # noqa: S608 - conditions are ours
