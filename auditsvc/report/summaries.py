"""The sums: how often each value of a report's main object occurs, largest first.

A call counts once, with one value; of its file names, keys and AVC records each counts
(`several`). Values of the caller are counted by context first (`counting.by_context`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.record.types import SYSCALL
from auditsvc.report import details, several
from auditsvc.report.columns import are_calls, calls, lone
from auditsvc.report.counting import by_context, counted, has_context_of
from auditsvc.report.groups import keys_of, shown_keys
from auditsvc.report.types import FOLLOWING, listed
from auditsvc.report.values import Value, shower

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditsvc.report.catalogue import Report
    from auditsvc.report.choice import Choice
    from auditsvc.report.groups import Group
    from auditsvc.report.reader import Reader

_NUMBERS: Final = ("pid", "type")
"""Objects whose ties are in the order of their numbers; others in that of their first event."""


class Sum(NamedTuple):
    """How often a value occurs, within a group if there are some."""

    group: tuple[Value, ...]
    value: Value
    hits: int


@dataclass(slots=True)
class _Total:
    hits: int = 0
    first: int = 1 << 63
    number: int = 0


def sums(
    reader: Reader, report: Report, choice: Choice, by: Sequence[Group] = (), *, interpret: bool
) -> list[Sum]:
    """Give the sums of a report."""
    assert report.object is not None
    source = report.object.source
    show = shower(source, interpret=interpret)
    totals: dict[tuple[Any, Value], _Total] = {}
    for group, value, hits, first in _counts(reader, report, choice, by):
        if value is None or not hits:
            continue
        total = totals.setdefault((group, show(value)), _Total())
        total.hits += hits
        total.first = min(total.first, first)
        total.number = value if isinstance(value, int) else 0
    show_group = shown_keys(reader, by, interpret=interpret)
    found = [(show_group(group), value, total) for (group, value), total in totals.items()]

    def order(row: tuple[tuple[Value, ...], Value, _Total]) -> tuple[Any, ...]:
        group, value, total = row
        tie = total.number if source in _NUMBERS else total.first
        return tuple(map(str, group)), -total.hits, tie, str(value)

    found.sort(key=order)
    return [Sum(group, value, total.hits) for group, value, total in found if total.hits]


def _counts(
    reader: Reader, report: Report, choice: Choice, by: Sequence[Group]
) -> Iterator[several.Counted]:
    assert report.object is not None
    name = report.object.source
    if name in ("file", "key", "obj"):
        yield from several.counts(reader, name, choice, by)
        return
    for sql in _statements(reader, report, choice, by):
        for row in reader.rows(sql, choice.values):
            yield tuple(row[:-3]), *row[-3:]
    if report.name == "event":
        yield from _plain_calls(reader, choice, by)


def _statements(
    reader: Reader, report: Report, choice: Choice, by: Sequence[Group]
) -> Iterator[str]:
    assert report.object is not None
    name, dialect = report.object.source, reader.dialect
    if has_context_of(name):
        yield by_context(name, choice, by, dialect)
    elif details.reaches_calls(report):
        part = calls([name], choice, dialect)
        where = [*part.where, *details.in_calls(report, choice, dialect)]
        if report.name == "event":
            where.append(_has_more(choice))
        yield counted(part.shown[0], part.source, where, keys_of(by, "s.id", "c"), "s.id")
    part = lone([name], choice, dialect)
    # A user is counted where the login user is known, and listed where the user is.
    more = [] if report.name == "user" else details.in_others(report, choice, dialect)
    keys = keys_of(by, "e.id", "e")
    yield counted(part.shown[0], part.source, [*part.where, *more], keys, "e.id")


def _has_more(choice: Choice) -> str:
    """Give the condition that a call's event does not begin with its SYSCALL."""
    leads = f"r.type NOT IN ({listed(FOLLOWING)})"
    where = " AND ".join([leads, *choice.times("r.event")])
    return f"s.id IN (SELECT r.event FROM record r WHERE {where})"  # noqa: S608 - ours


def _plain_calls(reader: Reader, choice: Choice, by: Sequence[Group]) -> Iterator[several.Counted]:
    """Count the calls whose event begins with SYSCALL: all, without those that do not."""
    keys = keys_of(by, "s.id", "c")
    is_bare = choice.is_of_times and all(group.of_event for group in by)
    everything = ("syscall s", ["1 = 1", *choice.times("s.id")])
    others = ("syscall s CROSS JOIN context c", are_calls(choice))
    source, where = everything if is_bare else others
    for sign, more in ((1, []), (-1, [_has_more(choice)])):
        sql = counted(str(SYSCALL), source, [*where, *more], keys, "s.id")
        for row in reader.rows(sql, choice.values):
            group, (value, hits, first) = tuple(row[:-3]), row[-3:]
            yield group, value, sign * hits, first or 0
