"""Criteria -> one SQL statement over the store's views, which gives the ids of the events.

The statement is a union of SELECTs. Each is such that a database can serve it by an index or
a range of ids: of a condition that can be met in several views, each SELECT takes one, and the
other conditions of the search are tested on the rows that this finds.

    SELECT event_id FROM (
    SELECT event_id FROM syscalls WHERE event_id >= 1 AND instr(exe, 'sshd') > 0
    UNION
    SELECT event_id FROM events WHERE event_id >= 1 AND instr(..., 'sshd') > 0
    ) AS found ORDER BY event_id

The outer SELECT is there for SQLite's planner: for a union in the order of ids it would read
all system calls in that order.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.search import bare_records, callers, named_files, places, told_texts
from auditsvc.search.alternatives import Rows
from auditsvc.search.conditions import Conditions
from auditsvc.search.dialect import literal
from auditsvc.search.few_callers import Few
from auditsvc.store.read.raw_tables import DELIBERATE
from auditsvc.store.read.time_span import ALL as ALL_TIME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditsvc.search.alternatives import Alternative, Condition
    from auditsvc.search.criteria import Criteria
    from auditsvc.search.dialect import Dialect

_AND: Final = "\n  AND "
_OR: Final = "\n    OR "
_LISTED: Final = ("records", bare_records.VIEW, places.CALLS, places.EVENTS, named_files.PATHS)
"""How the names of these begin."""


class Page(NamedTuple):
    """A part of what is found: it is known by an event, so what arrives meanwhile moves nothing."""

    limit: int | None = None
    newest: bool = False
    """The last first."""
    after: int | None = None
    """The id of an event; only those that come after it in this order."""

    @property
    def before(self) -> tuple[int] | None:
        """The key of that event, if the newest are the first."""
        return (self.after,) if self.newest and self.after is not None else None

    @property
    def above(self) -> int | None:
        """The id of that event, if they are not."""
        return None if self.newest else self.after


ALL: Final = Page()
NOTHING_KNOWN: Final = Few()


def statement(
    criteria: Criteria,
    dialect: Dialect,
    *,
    limit: int | None = None,
    newest: bool = False,
    before: Sequence[int | str] | None = None,
    after: int | None = None,
    key: Sequence[str] = ("event_id",),
    views_only: bool = False,
    wide: bool = False,
    has_calls: bool = True,
    few: Few = NOTHING_KNOWN,
    is_short: bool = False,
) -> str:
    """Give the statement; its rows are event ids in their order, which is that of time.

    `key`: the columns by which an event is known, its id first; the rows have all of them.
    `newest`: the last first. `before`: the key of an event; only those behind it, newest first.
    `after`: only ids above that of an event. `views_only`: of the views alone, as an archive has
    no others. `wide`: the criteria's time leaves out so little that an index is worth more than a
    range of ids: SQLite takes any range to leave out nearly all. `has_calls`: false if it is
    known that no system call meets them. `few`: what is known of how many calls there are of
    callers that meet them. `is_short`: the criteria's time has some thousand calls only.
    """
    writer = Conditions(criteria, dialect, views_only=views_only)
    conditions = list(writer.written())
    period = _period(criteria, dialect, before, after, key, wide=wide)
    last = "ORDER BY event_id" + (" DESC" if newest else "")
    last += "".join(f", {name}" for name in key[1:])
    shown = ", ".join(key)
    if limit is not None:
        last += f" LIMIT {limit:d}"
    # What no index serves is read in the order of ids; then each event is in one SELECT only.
    unserved = not conditions or criteria.serial is not None
    leading = None if unserved else next((each for each in conditions if _leads(each)), None)
    if leading is not None and len(conditions) == 1:
        selects = list(dict.fromkeys(_alone(leading, period, shown)))
    else:
        steps = dialect.own_tables
        is_part = not wide and criteria.period != ALL_TIME
        written = chain(
            _of_calls(
                *(conditions, leading, period, shown),
                in_steps=steps,
                is_part=is_part,
                few=few,
            )
            if has_calls
            else (),
            _of_others(conditions, period, shown, in_steps=steps),
        )
        selects = list(dict.fromkeys(written))
    if not selects:
        return f"SELECT {shown} FROM syscalls WHERE 1 = 0"  # noqa: S608 - names of columns
    tables = named_files.tables(writer.names, dialect, period)
    tables += [bare_records.table(dialect)] if writer.has_bare_records else []
    tables += callers.tables(writer.callers, dialect, period)
    tables += told_texts.tables(writer.told, dialect, period)
    if criteria.place is not None:
        own = places.of_each if is_short else places.tables
        write = places.tables_of_views if views_only else own
        tables.append(write(criteria.place, dialect, period))
    # Said in the statement itself, so that what --explain shows can be asked, too.
    head = f"{DELIBERATE} WITH RECURSIVE {', '.join(tables)}\n" if tables else ""
    if unserved:
        return head + "\nUNION ALL\n".join(selects) + f"\n{last}"
    union = "\nUNION\n".join(selects)
    if len(selects) == 1:  # it would be read as the outer SELECT itself
        last = last.replace("event_id", "+event_id")
    return f"{head}SELECT {shown} FROM (\n{union}\n) AS found {last}"  # noqa: S608 - see dialect


def _period(
    criteria: Criteria,
    dialect: Dialect,
    before: Sequence[int | str] | None,
    after: int | None,
    key: Sequence[str],
    *,
    wide: bool,
) -> list[str]:
    """Give the conditions on `event_id` that hold for each row of each view."""
    found = criteria.period.conditions
    if wide:
        found = [dialect.mostly.format(each) for each in found]
    if before is not None:
        found += _behind(before, key)
    if after is not None:
        found.append(f"event_id > {after:d}")
    if criteria.ids:
        found.append(f"event_id IN ({', '.join(map(str, criteria.ids))})")
    return found


def _behind(event: Sequence[int | str], key: Sequence[str]) -> list[str]:
    """Give the conditions of what comes after an event where the newest is the first."""
    number, *rest = event
    if not rest:
        return [f"event_id < {number:d}"]
    names, values = ", ".join(key[1:]), ", ".join(literal(str(each)) for each in rest)
    return [
        f"event_id <= {number:d}",
        f"(event_id < {number:d} OR ({names}) > ({values}))",
    ]


def _of_others(
    conditions: Sequence[Condition], period: Sequence[str], shown: str, *, in_steps: bool
) -> Iterator[str]:
    """Write the SELECT of events without a call."""
    if all(each.others for each in conditions):
        plain: list[str] = []
        lists: list[str] = []
        # Else SQLite goes through all events, and looks for such rows of each; PostgreSQL reads
        # what each of them says, where that is asked for, too.
        found = next(filter(_are_lists, conditions), None)
        first: list[str] = []
        for each in conditions:
            if each is found:
                lists_of = [one for one in each.others if isinstance(one, Rows)]
                first.append(_in_one_of(lists_of, period, in_steps=in_steps))
                continue
            has_lists = len(each.others) > 1 and any(isinstance(one, Rows) for one in each.others)
            (lists if has_lists else plain).append(_tested(each.others, "events", period))
        view = "events"
        if in_steps and first and (plain or lists):
            view = f"({_select('events', [*period, *first], '*')} OFFSET 0) AS events"
            first = []
        elif in_steps and plain and lists:
            # PostgreSQL makes the lists before it looks at a text, though there be no row by then.
            view = f"({_select('events', [*period, *plain], '*')} OFFSET 0) AS events"
            plain = []
        plain = first + plain
        yield _select(view, [*period, *plain, *lists], shown)


def _are_lists(condition: Condition) -> bool:
    """Whether events without a call can be found by lists of rows alone, none of which is long."""
    return all(isinstance(each, Rows) and not each.common for each in condition.others)


def _alone(leading: Condition, period: Sequence[str], shown: str) -> Iterator[str]:
    """Write the SELECTs of a single condition: its row in another view tells all."""
    for alternative in leading.calls:
        if isinstance(alternative, str) or alternative.call:
            yield _select("syscalls", [*period, _found(alternative, period)], shown)
        else:
            yield _select(alternative.view, [*period, alternative.where], shown)
    for each in leading.others:
        if isinstance(each, str):
            yield _select("events", [*period, each], shown)
        elif each not in leading.calls:
            yield _select("events", [*period, _found(each, period)], shown)


def _leads(condition: Condition) -> bool:
    """Whether each of its alternatives is to have a SELECT of its own."""
    return any(isinstance(each, Rows) for each in condition.calls) or len(condition.calls) > 1


def _of_calls(
    conditions: Sequence[Condition],
    leading: Condition | None,
    period: Sequence[str],
    shown: str,
    *,
    in_steps: bool,
    is_part: bool,
    few: Few,
) -> Iterator[str]:
    """Write the SELECTs of system calls; `is_part`: of a part of the store's time."""
    if not all(each.calls for each in conditions):
        return
    if few.alone:
        leading = None
    tested, led = (
        [
            _tested((is_led and each.led) or each.tested or each.calls, "syscalls", period)
            for each in conditions
            if each is not leading
        ]
        for is_led in (few.alone or few.together, True)
    )
    if leading is None:
        yield _select("syscalls", [*period, *tested], shown)
        return
    for alternative in leading.calls:
        found = [_found(alternative, period)]
        is_list = isinstance(alternative, Rows) and not alternative.common
        rest = led if is_list else tested
        if in_steps and rest and isinstance(alternative, Rows) and not alternative.common:
            # PostgreSQL may begin with the rest; where the list has nothing, it does not begin.
            inner = _inner(alternative, period)
            found.insert(0, f"EXISTS (SELECT 1 FROM {alternative.view} WHERE {inner})")  # noqa: S608
            if is_part:
                # Of a list it does not know how long it is: it may join that to texts of the rest.
                ids = f"SELECT event_id FROM {alternative.view} WHERE {inner}"  # noqa: S608
                found[1] = _with_call(alternative, f"event_id = ANY (ARRAY({ids}))")
        yield _select("syscalls", [*period, *found, *rest], shown)


def _select(view: str, conditions: Sequence[str], shown: str) -> str:
    where = f" WHERE {_AND.join(conditions)}" if conditions else ""
    return f"SELECT {shown} FROM {view}{where}"  # noqa: S608 - see auditsvc.search.dialect


def _found(alternative: Alternative, period: Sequence[str]) -> str:
    """Write the condition that finds events; those of a view by a list of their ids."""
    if isinstance(alternative, str):
        return alternative
    if alternative.common:
        return _exists(alternative, "syscalls")
    return _with_call(alternative, _listed(alternative, period))


def _tested(alternatives: Sequence[Alternative], view: str, period: Sequence[str]) -> str:
    """Write the condition that a row which was found by others fulfils one of these."""
    tests = [
        each
        if isinstance(each, str)
        # SQLite would read all of these for each row that it is asked about.
        else _with_call(each, _listed(each, period))
        if each.is_join or each.view.startswith(_LISTED)
        else _exists(each, view)
        for each in alternatives
    ]
    return tests[0] if len(tests) == 1 else f"({_OR.join(tests)})"


def _with_call(rows: Rows, condition: str) -> str:
    return f"({rows.call} AND {condition})" if rows.call else condition


def _inner(rows: Rows, period: Sequence[str]) -> str:
    """Write the condition on the rows of a view, in this time.

    `named_files` has no others; told that twice, PostgreSQL expects a few of them only, and goes
    through all for each call.
    """
    within = () if rows.view.startswith(named_files.PATHS) else period
    return " AND ".join([*within, rows.where])


def _listed(rows: Rows, period: Sequence[str]) -> str:
    inner = _inner(rows, period)
    return f"event_id IN (SELECT event_id FROM {rows.view} WHERE {inner})"  # noqa: S608


def _in_one_of(lists: Sequence[Rows], period: Sequence[str], *, in_steps: bool) -> str:
    """Write that an event is in one of these lists; in steps: it is looked up by its id."""
    if not in_steps:
        return f"({_OR.join(_listed(each, period) for each in lists)})"
    ids = [f"SELECT event_id FROM {each.view} WHERE {_inner(each, period)}" for each in lists]  # noqa: S608
    return f"event_id = ANY (ARRAY({' UNION ALL '.join(ids)}))"


def _exists(rows: Rows, view: str) -> str:
    inner = f"{rows.view}.event_id = {view}.event_id AND {rows.where}"
    return _with_call(rows, f"EXISTS (SELECT 1 FROM {rows.view} WHERE {inner})")  # noqa: S608
