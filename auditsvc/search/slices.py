"""A search in slices of time, so that its first rows come at once.

    for sql in slices(criteria, dialect, ask, page=Page(newest=True)): ...  # ids of a slice

A statement of `auditsvc.search.statement` finds all events that meet the criteria, and then puts
them in order: of a condition that millions meet, that takes seconds. In slices the first one has
few events, whatever it is asked; each further one is larger than all before it, so that a search
for something rare takes little longer than in one statement. A slice's bounds are whole seconds.

Calls are counted by the hour (`activity`). So of a search for a call the slices after the first
read no calls where no hour has such a one, but only events without a call; and if all are few, all
that is left is one slice, unless the search ends after a time. So are calls of those callers that a
search asks for (`few_callers`), where it could begin with others.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.search import few_callers
from auditsvc.search.conditions import shown_call
from auditsvc.search.criteria import Criteria
from auditsvc.search.dialect import literal
from auditsvc.search.few_callers import Few
from auditsvc.search.pace import Pace
from auditsvc.search.statement import ALL, Page, statement
from auditsvc.store.read.time_span import ALL as ALL_TIME
from auditsvc.store.read.time_span import Span
from auditsvc.store.views import CONTEXT_IDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from auditsvc.search.dialect import Dialect

    Ask = Callable[[str], Iterable[Sequence[Any]]]

FIRST: Final = 20_000
"""Calls in the first slice, and so many that need no slices."""
_CONTEXT: Final = re.compile(
    rf"\b({'|'.join(CONTEXT_IDS)}|host|arch|syscall|tty|ses|comm|exe|subj|key|cwd|proctitle)\b",
    re.IGNORECASE,
)
"""A column of `syscalls` that calls of one process have in common, or that an index has."""
_FIRST_PLACED: Final = 4_000
"""The same of a search for a place: of each call is asked where its process was."""
_HOUR: Final = 3600
_COMMON: Final = 500_000
"""Calls that take longer to be looked up one by one than millions one after the other."""
_WIDE: Final = 1 / 16
"""Part of the store's time from which on a slice is a wide one (`statement`)."""


def slices(
    criteria: Criteria,
    dialect: Dialect,
    ask: Ask,
    *,
    page: Page = ALL,
    pace: Pace | None = None,
) -> Iterator[str]:
    """Give the statements, whose ids follow one another; `ask` gives a statement's rows.

    They are those of a page without its limit. `pace`: when to stop; it tells where.
    """
    pace = pace or Pace()
    period, newest = criteria.period, page.newest
    if page.after is not None:
        second = page.after >> SERIAL_BITS
        period = period.both(Span(high=second) if newest else Span(low=second))
    hours: dict[int, int] | None = None
    is_common = False
    few = Few()
    # Nobody is to wait on PostgreSQL for a wide slice: it plans that anew, for a time unknown.
    widest = _WIDE if pace.is_limited and dialect.own_tables else 1.0
    spans = _spans(criteria, period, ask, pace, widest, newest=newest)
    for number, (each, part_of) in enumerate(spans):
        span, share = each, part_of
        if number == 1 and (count := few_callers.counted(criteria, dialect)):
            few = Few.of(next(iter(ask(count))))
        if number == 1 and (counted := hours_of_calls(criteria)):
            hours = {int(row[0]): int(row[1]) for row in ask(counted)}
            is_common = _is_of_call_alone(criteria) and sum(hours.values()) > _COMMON
            if not pace.is_limited and sum(hours.values()) <= FIRST:
                rest = [(span, share), *spans]
                span = Span(min(one.low for one, _ in rest), max(one.high for one, _ in rest))
                share = sum(part for _, part in rest)
        part = replace(criteria, period=span)
        wide = share >= _WIDE and not is_common and _is_of_contexts(criteria)
        yield statement(
            *(part, dialect),
            newest=newest,
            before=page.before,
            after=page.above,
            wide=wide,
            has_calls=hours is None or _has(span, hours),
            few=few,
            is_short=number == 0 and span != criteria.period,
        )


def hours_of_calls(criteria: Criteria) -> str:
    """Give the statement for the calls of each hour that meet what is counted; "" if that is none.

    Of the tables of `activity`, so that no name has to be looked up.
    """
    if criteria.nr is not None:
        rows = parts_rows = f"nr = {criteria.nr:d}"
    elif criteria.syscall is not None:
        named = f"FROM syscall_name n WHERE n.name = {literal(shown_call(criteria))}"
        rows = f"(arch, nr) IN (SELECT n.arch, n.nr {named})"
        # A number is another call on another machine: only those of machines that made a call.
        machines = "SELECT c.arch FROM context c"
        parts_rows = f"nr IN (SELECT n.nr {named} AND n.arch IN ({machines}))"
    else:
        return ""
    # Of a part by whomever: what is too much costs time only.
    outcome = "" if criteria.success is None else f" AND success = {int(criteria.success)}"
    users = "".join(
        f" AND {name} = {number:d}"
        for name, number in (("auid", criteria.auid), ("uid", criteria.uid))
        if number is not None
    )
    parts = " UNION ALL ".join(
        f"SELECT hour, calls FROM {table} WHERE {where}{outcome}"  # noqa: S608 - as above
        for table, where in (("activity_row", rows + users), ("activity_part", parts_rows))
    )
    return f"SELECT hour, CAST(sum(calls) AS bigint) FROM ({parts}) counted GROUP BY hour"  # noqa: S608 - as above


def _has(span: Span, hours: Iterable[int]) -> bool:
    """Whether one of these hours reaches into a slice."""
    return any(n * _HOUR <= span.high and (n + 1) * _HOUR > span.low for n in hours)


def _is_of_contexts(criteria: Criteria) -> bool:
    """Whether a condition is on more than the row of a call: most others have a context first.

    Results have no index, but for errors: to find one, calls are best read one after the other.
    """
    if criteria.where is not None and _CONTEXT.search(criteria.where):
        return True
    rest = replace(criteria, period=ALL_TIME, exit=None, success=None, where=None, exclude=())
    return replace(rest, whole=False) != Criteria()


def _is_of_call_alone(criteria: Criteria) -> bool:
    """Whether of all conditions only those on the call itself have an index to begin with."""
    return not _is_of_contexts(replace(criteria, nr=None, syscall=None, arch=None))


def _is_sliced(criteria: Criteria) -> bool:
    """Whether slices gain something: not for given ids or a serial."""
    return not criteria.ids and criteria.serial is None


def _spans(
    criteria: Criteria, period: Span, ask: Ask, pace: Pace, widest: float, *, newest: bool
) -> Iterator[tuple[Span, float]]:
    """Give the slices, and the part of the store's time that each one has."""
    is_sliced = _is_sliced(criteria) and period.low <= period.high
    first = FIRST if criteria.place is None else _FIRST_PLACED
    bounds = _bounds(ask, period, first, newest=newest) if is_sliced else None
    if bounds is None:
        yield period, 0.0
        return
    low, high, length, whole = bounds
    length = pace.first(length)
    while low <= high:
        length = min(length, max(1, int(whole * widest) - 1))
        if newest:
            part = Span(max(low, high - length), high)
            high = part.low - 1
        else:
            part = Span(low, min(high, low + length))
            low = part.high + 1
        pace.begin()
        yield part, (part.high - part.low + 1) / whole
        if criteria.place is not None:
            length = high - low  # to find out which processes were there costs each slice the same
        elif low <= high and not (length := pace.following(length)):
            pace.left = high if newest else low
            return


def _bounds(
    ask: Ask, period: Span, calls: int, *, newest: bool
) -> tuple[int, int, int, int] | None:
    """Give the seconds of the first and the last event, those of the first slice, and all.

    All are those between the first and the last event of the store. None if one slice is enough.
    """
    where = f"id BETWEEN {period.low << SERIAL_BITS} AND {(period.high + 1 << SERIAL_BITS) - 1}"
    asked = [
        f"SELECT {most}(id) FROM {table}{within}"  # noqa: S608 - numbers
        for within in (f" WHERE {where}", "")
        for most in ("min", "max")
        for table in ("syscall", "event")
    ]
    order = "DESC" if newest else "ASC"
    asked.append(
        f"SELECT id FROM syscall WHERE {where} ORDER BY id {order} LIMIT 1 OFFSET {calls}"  # noqa: S608
    )
    ((*ends, edge),) = ask(f"SELECT {', '.join(f'({sql})' for sql in asked)}")
    if edge is None:
        return None
    seconds = [None if each is None else each >> SERIAL_BITS for each in ends]
    low, first = (min(each for each in seconds[n : n + 2] if each is not None) for n in (0, 4))
    high, last = (max(each for each in seconds[n : n + 2] if each is not None) for n in (2, 6))
    begin = high if newest else low
    return low, high, abs(begin - (edge >> SERIAL_BITS)), last - first + 1
