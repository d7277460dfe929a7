"""The sums: how often each value of a report's main object occurs, largest first.

A call counts once, with one value; of its file names, keys and AVC records each counts
(`several`). Values of the caller are counted by context first (`counting.by_context`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.record.types import SYSCALL
from auditsvc.report import details, rollup, several
from auditsvc.report.columns import are_calls, calls, folded, lone, lone_parts
from auditsvc.report.counting import by_context, counted, has_context_of
from auditsvc.report.groups import keys_of, shown_keys
from auditsvc.report.types import FOLLOWING, listed
from auditsvc.report.values import Value, shower

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auditsvc.report.catalogue import Report
    from auditsvc.report.choice import Choice
    from auditsvc.report.dialect import Dialect
    from auditsvc.report.groups import Group
    from auditsvc.report.reader import Reader

_NUMBERS: Final = ("pid", "type")
"""Objects whose ties are in the order of their numbers; others in that of their first event."""


UNKNOWN: Final = -1
"""In the place of a first event that was not asked for."""
_AT_ONCE: Final = 200
"""Values whose first events one statement asks for."""


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
    unknown: list[Any] = field(default_factory=list)
    """Values whose first event was not asked for yet."""


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
        if first == UNKNOWN:
            total.unknown.append(value)
        else:
            total.first = min(total.first, first)
        total.number = value if isinstance(value, int) else 0
    show_group = shown_keys(reader, by, interpret=interpret)
    found = [(show_group(group), value, total) for (group, value), total in totals.items()]

    def order(row: tuple[tuple[Value, ...], Value, _Total]) -> tuple[Any, ...]:
        group, value, total = row
        tie = total.number if source in _NUMBERS else total.first
        return tuple(map(str, group)), -total.hits, tie, str(value)

    _find_firsts(reader, source, choice, [each[2] for each in found])
    found.sort(key=order)
    return [Sum(group, value, total.hits) for group, value, total in found if total.hits]


def _find_firsts(reader: Reader, name: str, choice: Choice, totals: list[_Total]) -> None:
    """Ask for the first event of values that have as many hits as another one."""
    alike = Counter(total.hits for total in totals)
    asked = [total for total in totals if total.unknown and alike[total.hits] > 1]
    for start in range(0, len(asked), _AT_ONCE):
        by_value = {
            each: total for total in asked[start : start + _AT_ONCE] for each in total.unknown
        }
        for value, first in reader.rows(*rollup.first_of(choice, name, by_value)):
            for each in _several(name, value):
                if each in by_value:
                    by_value[each].first = min(by_value[each].first, first)


def _several(name: str, value: Any) -> Iterable[Any]:
    """Give the keys of a call, which stand with commas between them; of all else the value."""
    return [each for each in (value or "").split(",") if each] if name == "key" else [value]


def _counts(
    reader: Reader, report: Report, choice: Choice, by: Sequence[Group]
) -> Iterator[several.Counted]:
    assert report.object is not None
    name = report.object.source
    in_rollup = not by and rollup.suits(choice) and rollup.counts_value(name)
    if in_rollup:
        # Without a first event, which is asked for where two values have equal hits (`sums`).
        for value, hits in reader.rows(rollup.values(choice, name), choice.values):
            yield from (((), each, hits, UNKNOWN) for each in _several(name, value))
    if name in ("file", "key", "obj"):
        yield from several.counts(reader, name, choice, by, without_calls=in_rollup)
        return
    for sql in _statements(reader, report, choice, by, without_calls=in_rollup):
        for row in reader.rows(sql, choice.values):
            yield tuple(row[:-3]), *row[-3:]
    if report.name == "event":
        yield from _plain_calls(reader, choice, by)


def _statements(
    reader: Reader,
    report: Report,
    choice: Choice,
    by: Sequence[Group],
    *,
    without_calls: bool = False,
) -> Iterator[str]:
    assert report.object is not None
    name, dialect = report.object.source, reader.dialect
    if without_calls:
        pass
    elif name == "host" and not by and choice.is_of_times:
        yield from _peers(choice, dialect)
    elif has_context_of(name):
        yield by_context(name, choice, by, dialect)
    elif details.reaches_calls(report):
        part = calls([name], choice, dialect)
        where = [*part.where, *details.in_calls(report, choice, dialect)]
        if report.name == "event":
            where.append(_has_more(choice))
        yield counted(part.shown[0], part.source, where, keys_of(by, "s.id", "c"), "s.id")
    # A user is counted where the login user is known, and listed where the user is.
    more = [] if report.name == "user" else details.in_others(report, choice, dialect)
    keys = keys_of(by, "e.id", "e")
    if name == "host" and not by:
        for each in lone_parts([name], choice, dialect):
            where = [*each.where, f"{each.shown[0]} IS NOT NULL"]
            yield counted(each.shown[0], each.source, where, keys, "e.id", hits=each.hits)
        return
    # What is looked up for each event, and a group, is not known of several together.
    is_alike = not by and not any("e.id" in each for each in more)
    names = [name, *([report.known] if report.known else [])]
    part = (folded if is_alike else lone)(names, choice, dialect)
    where = [*part.where, *more]
    yield counted(part.shown[0], part.source, where, keys, "e.id", hits=part.hits)


def _peers(choice: Choice, dialect: Dialect) -> Iterator[str]:
    """Count the addresses of calls: by address first, but where a call has several."""
    several_of = " AND ".join(["m.seq > 0", *choice.times("m.event")])
    several_of = f"SELECT m.event FROM sockaddr m WHERE {several_of}"  # noqa: S608 - ours
    where = [
        *(f"k.event NOT IN ({several_of})", *choice.times("k.event")),
        "NOT EXISTS (SELECT 1 FROM event e WHERE e.id = k.event)",
    ]
    inner = counted("k.address", "sockaddr k", where, [], "k.event")
    total = "CAST(sum(g.hits) AS bigint)"
    is_inet = ["a.id = g.value", "a.family IN ('inet', 'inet6')"]
    source = f"({inner}) g CROSS JOIN address a"
    yield counted("a.address", source, is_inet, [], "g.first_id", hits=total)
    part = calls(["host"], choice, dialect)
    where = [*part.where, f"s.id IN ({several_of})", f"{part.shown[0]} IS NOT NULL"]
    yield counted(part.shown[0], part.source, where, [], "s.id")


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
        if sign > 0 and not by and rollup.suits(choice):
            first = " AND ".join(["1 = 1", *choice.times("s.id")])
            sql = (
                f"SELECT {SYSCALL}, ({rollup.all_calls(choice)}),"  # noqa: S608 - ours
                f" (SELECT min(s.id) FROM syscall s WHERE {first})"
            )
        for row in reader.rows(sql, choice.values):
            group, (value, hits, first) = tuple(row[:-3]), row[-3:]
            yield group, value, sign * hits, first or 0
