"""The sums: how often each value of a report's main object occurs, largest first.

A call counts once, with one value; of its file names, keys and AVC records each counts
(`several`). Values of the caller are counted by context first (`counting.by_context`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.record.types import SYSCALL
from auditsvc.report import details, rollup, several
from auditsvc.report.columns import WITH_OTHERS, are_calls, calls, folded, lone, lone_parts
from auditsvc.report.counting import by_context, counted, has_context_of
from auditsvc.report.dialect import SQLITE
from auditsvc.report.groups import keys_of, shown_keys
from auditsvc.report.types import FOLLOWING, listed
from auditsvc.report.values import Value, shower
from auditsvc.store.read.time_span import Span
from auditsvc.store.views.dialect import DIALECTS as STORES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from auditsvc.report.catalogue import Report
    from auditsvc.report.choice import Choice
    from auditsvc.report.dialect import Dialect
    from auditsvc.report.groups import Group
    from auditsvc.report.reader import Reader

_NUMBERS: Final = ("pid", "type")
"""Objects whose ties are in the order of their numbers; others in that of their first event."""


_STEPS: Final = 4
"""A first event is looked for in a second of its hour, then in the next so many times more."""


class Sum(NamedTuple):
    """How often a value occurs, within a group if there are some."""

    group: tuple[Value, ...]
    value: Value
    hits: int


class _Hour(int):
    """In the place of a first event: the hour in which it is (since 1970)."""


@dataclass(slots=True)
class _Total:
    hits: int = 0
    first: int = 1 << 63
    number: int = 0
    unknown: dict[Any, int] = field(default_factory=dict)
    """Values of which not the first event is known, but its hour."""

    @property
    def hour(self) -> int:
        """The hour of the first event."""
        return min([(self.first >> SERIAL_BITS) // rollup.HOUR, *self.unknown.values()])


def sums(
    reader: Reader,
    report: Report,
    choice: Choice,
    by: Sequence[Group] = (),
    *,
    interpret: bool,
    without: Collection[Value] = (),
) -> list[Sum]:
    """Give the sums of a report, `without` those of some values."""
    assert report.object is not None
    source = report.object.source
    show = shower(source, interpret=interpret)
    totals: dict[tuple[Any, Value], _Total] = {}
    for group, value, hits, first in _counts(reader, report, choice, by):
        if value is None or not hits or (shown := show(value)) in without:
            continue
        total = totals.setdefault((group, shown), _Total())
        total.hits += hits
        if isinstance(first, _Hour):
            total.unknown[value] = min(first, total.unknown.get(value, first))
        else:
            total.first = min(total.first, first)
        total.number = value if isinstance(value, int) else 0
    show_group = shown_keys(reader, by, interpret=interpret)
    found = [(show_group(group), value, total) for (group, value), total in totals.items()]

    def order(row: tuple[tuple[Value, ...], Value, _Total]) -> tuple[Any, ...]:
        group, value, total = row
        tie = total.number if source in _NUMBERS else total.first
        return tuple(map(str, group)), -total.hits, tie, str(value)

    if source not in _NUMBERS:
        _find_firsts(reader, source, choice, [each[2] for each in found])
    found.sort(key=order)
    return [Sum(group, value, total.hits) for group, value, total in found if total.hits]


def values(
    reader: Reader, report: Report, choice: Choice, *, only_calls: bool = False
) -> set[Value]:
    """Give the values of which a report has sums; `only_calls`: those that calls have."""
    assert report.object is not None
    show = shower(report.object.source, interpret=False)
    hits: Counter[Value] = Counter()
    for _, value, count, _ in _counts(
        reader, report, choice, (), only_calls=only_calls, only_values=True
    ):
        if value is not None:
            hits[show(value)] += count
    return {value for value, count in hits.items() if count}


def _find_firsts(reader: Reader, name: str, choice: Choice, totals: list[_Total]) -> None:
    """Find out which is first of values that have as many hits as another one."""
    alike: dict[int, list[_Total]] = {}
    for total in totals:
        alike.setdefault(total.hits, []).append(total)
    asked: dict[int, dict[Any, _Total]] = {}
    for same in alike.values():
        hours = Counter(total.hour for total in same)
        for total in same:
            hour = total.hour
            if len(same) > 1 and hours[hour] > 1:
                asked.setdefault(hour, {}).update(
                    {value: total for value, its in total.unknown.items() if its == hour}
                )
            elif total.unknown:
                total.first = min(total.first, hour * rollup.HOUR << SERIAL_BITS)
    for hour, by_value in asked.items():
        for value, first in _firsts(reader, name, choice, hour, set(by_value)):
            by_value[value].first = min(by_value[value].first, first)


def _firsts(
    reader: Reader, name: str, choice: Choice, hour: int, wanted: set[Any]
) -> Iterator[tuple[Any, int]]:
    """Give the first events of values that have theirs in an hour: in ever longer parts of it."""
    low, seconds = hour * rollup.HOUR, 1
    while wanted and low < (hour + 1) * rollup.HOUR:
        high = min(low + seconds, (hour + 1) * rollup.HOUR) - 1
        part = choice.within(Span(low, high))
        low, seconds = high + 1, seconds * _STEPS
        if part.span.low > part.span.high:
            continue
        firsts: dict[Any, int] = {}
        for text, _, first in reader.rows(by_context(name, part, (), reader.dialect), part.values):
            for value in _several(name, text):
                firsts[value] = min(first, firsts.get(value, first))
        yield from ((value, firsts[value]) for value in wanted & firsts.keys())
        wanted = wanted - firsts.keys()


def _several(name: str, value: Any) -> Iterable[Any]:
    """Give the keys of a call, which stand with commas between them; of all else the value."""
    return [each for each in (value or "").split(",") if each] if name == "key" else [value]


def _counts(
    reader: Reader,
    report: Report,
    choice: Choice,
    by: Sequence[Group],
    *,
    only_calls: bool = False,
    only_values: bool = False,
) -> Iterator[several.Counted]:
    """Count values; `only_values`: each is given, its number and first event need not be right."""
    assert report.object is not None
    name = report.object.source
    in_rollup = not by and rollup.counts_value(choice, name)
    if in_rollup:
        for value, hits, hour in reader.rows(rollup.values(choice, name), choice.values):
            yield from (((), each, hits, _Hour(hour)) for each in _several(name, value))
    if name in ("file", "key", "obj"):
        yield from several.counts(reader, name, choice, by, without_calls=in_rollup)
        return
    of_calls: Iterable[str] = ()
    if not in_rollup:
        of_calls = _of_calls(reader, report, choice, by, only_values=only_values)
    of_others = () if only_calls else _of_others(reader, report, choice, by)
    for sql in chain(of_calls, of_others):
        for row in reader.rows(sql, choice.values):
            yield tuple(row[:-3]), *row[-3:]
    if report.name == "event":
        yield from _plain_calls(reader, choice, by)


def _of_calls(
    reader: Reader,
    report: Report,
    choice: Choice,
    by: Sequence[Group],
    *,
    only_values: bool = False,
) -> Iterator[str]:
    assert report.object is not None
    name, dialect = report.object.source, reader.dialect
    if name == "host" and not by and choice.is_of_times:
        yield from _peers(choice, dialect, only_values=only_values)
    elif has_context_of(name):
        yield by_context(name, choice, by, dialect)
    elif details.reaches_calls(report):
        part = calls([name], choice, dialect)
        where = [*part.where, *details.in_calls(report, choice, dialect)]
        if report.name == "event":
            where.append(_has_more(choice))
        yield counted(part.shown[0], part.source, where, keys_of(by, "s.id", "c"), "s.id")


def _of_others(
    reader: Reader, report: Report, choice: Choice, by: Sequence[Group]
) -> Iterator[str]:
    assert report.object is not None
    name, dialect = report.object.source, reader.dialect
    # A user is counted where the login user is known, and listed where the user is.
    more = [] if report.name == "user" else details.in_others(report, choice, dialect)
    keys = keys_of(by, "e.id", "e")
    if name == "host" and not by:
        for each in lone_parts([name], choice, dialect, kinds=reader.kinds):
            where = [*each.where, f"{each.shown[0]} IS NOT NULL"]
            yield counted(each.shown[0], each.source, where, keys, "e.id", hits=each.hits)
        return
    names = [name, *([report.known] if report.known else [])]
    if report.types is not None and not by and not choice.needs_first:
        # Those of a type by themselves can be counted together; few have it in another record.
        own = report.types.condition("e.type")
        told = f"e.id IN ({details.with_record(report.types, choice)})"
        rest = [each for each in more if each != details.of_types(report, choice)]
        for part, which in (
            (folded(names, choice, dialect, kinds=reader.kinds, of=report.types), []),
            (lone(names, choice, dialect), [told, f"NOT {own}"]),
        ):
            where = [*part.where, *which, *rest]
            yield counted(part.shown[0], part.source, where, keys, "e.id", hits=part.hits)
        return
    # What is looked up for each event, and a group, is not known of several together.
    is_alike = not by and not any("e.id" in each for each in more)
    part = lone(names, choice, dialect)
    if is_alike:
        part = folded(names, choice, dialect, kinds=reader.kinds)
    where = [*part.where, *more]
    yield counted(part.shown[0], part.source, where, keys, "e.id", hits=part.hits)


def used_peers(choice: Choice, dialect: Dialect) -> Iterator[str]:
    """Give the addresses of all calls; each is looked up, where `_peers` reads all its uses."""
    one, several_of = _of_one_address(choice)
    used = STORES["sqlite" if dialect is SQLITE else "postgresql"].settled.format(
        "k", "address = a.id"
    )
    yield (
        "SELECT a.address AS value FROM address a WHERE a.family IN ('inet', 'inet6')"  # noqa: S608 - ours
        f" AND EXISTS (SELECT 1 FROM sockaddr k WHERE {used} AND {' AND '.join(one)})"
    )
    yield _peers_of_several(choice, dialect, several_of)


def _of_one_address(choice: Choice) -> tuple[list[str], str]:
    """Give the conditions on the only address `k` of a call, and the calls that have several."""
    several_of = " AND ".join(["m.seq > 0", *choice.times("m.event")])
    several_of = f"SELECT m.event FROM sockaddr m WHERE {several_of}"  # noqa: S608 - ours
    one = [f"k.event NOT IN ({several_of})", f"k.event NOT IN ({WITH_OTHERS})"]
    return one, several_of


def _peers(choice: Choice, dialect: Dialect, *, only_values: bool) -> Iterator[str]:
    """Count the addresses of calls: by address first, but where a call has several."""
    one, several_of = _of_one_address(choice)
    where = [*one, *choice.times("k.event")]
    inner = counted("k.address", "sockaddr k", where, [], "k.event")
    if only_values:
        # SQLite sorts what it counts, and not what it lists.
        inner = (
            "SELECT DISTINCT k.address AS value, 1 AS hits, 0 AS first_id"  # noqa: S608 - ours
            f" FROM sockaddr k WHERE {' AND '.join(where)}"
        )
    total = "CAST(sum(g.hits) AS bigint)"
    is_inet = ["a.id = g.value", "a.family IN ('inet', 'inet6')"]
    source = f"({inner}) g CROSS JOIN address a"
    yield counted("a.address", source, is_inet, [], "g.first_id", hits=total)
    yield _peers_of_several(choice, dialect, several_of)


def _peers_of_several(choice: Choice, dialect: Dialect, several_of: str) -> str:
    part = calls(["host"], choice, dialect)
    where = [*part.where, f"s.id IN ({several_of})", f"{part.shown[0]} IS NOT NULL"]
    return counted(part.shown[0], part.source, where, [], "s.id")


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
        if sign > 0 and not by and rollup.suits(choice):
            # Types are in the order of their numbers: no first event is asked for.
            number, _ = reader.one(rollup.all_calls(choice), choice.values)
            yield (), SYSCALL, number, 0
            continue
        sql = counted(str(SYSCALL), source, [*where, *more], keys, "s.id")
        for row in reader.rows(sql, choice.values):
            group, (value, hits, first) = tuple(row[:-3]), row[-3:]
            yield group, value, sign * hits, first or 0
