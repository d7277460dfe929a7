"""Which source an event came from, kept as ranges of ids.

Most events come from our own spool, so only the others are recorded: `origin` has ranges of
ids that do not overlap, and every event in a range came from its source; an event in no range
came from a spool. A range is split when an event from a spool is added in it later, and it
grows as more events of its source are added. So a host that only collects has no cost, and a
loaded log needs at most one row for each batch, if no other source's events are in between.

The source of an event is the one that gave it first. If a spool gives exactly the same records
later, the event counts as the spool's from then on, as the collector's own record exists. If it
gives only a part, both have given the event, and its source is not known (NULL).
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import delete, func, insert, select, union_all, update

from auditsvc.store.schema import event, origin, syscall

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import Connection, FromClause, Row, Table

OWN: Final = "spool"
"""Kind of the sources that are trusted for this host: lines that the collector itself wrote."""

_ROWS: Final = 500  # that one statement names
_MORE: Final = 8
"""Rows that are read for each id that is asked for, before each id is asked for by itself."""


class _Range(NamedTuple):
    low: int
    high: int
    source: int | None


def touches(connection: Connection, span: tuple[int, int] | None) -> bool:
    """Whether ids of a span may be in ranges of other sources; keeps new ranges out.

    The last thing but `arrivals.note` that a transaction of a spool does: on PostgreSQL it
    waits for those who are about to note ranges, and they wait for its end.
    """
    if span is None:
        return False
    _lock(connection, "SHARE")
    last = connection.execute(
        select(origin.c.high).where(origin.c.low <= span[1]).order_by(origin.c.low.desc()).limit(1)
    ).scalar()
    return last is not None and last >= span[0]


def is_own(connection: Connection, event_id: int) -> bool:
    """Whether a stored event came from a spool."""
    last = _last_before(connection, event_id + 1)
    return last is None or last.high < event_id


class Owners:
    """Tells, within one transaction that notes no origins, which events came from a spool.

    Remembers the range or the gap between ranges that was asked for last: events are asked for
    in the order of their ids, mostly.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._low, self._high = 0, -1
        self._is_own = self._is_shared = False

    def is_own(self, event_id: int) -> bool:
        """Whether a stored event came from a spool."""
        self._look(event_id)
        return self._is_own

    def has_part(self, event_id: int) -> bool:
        """Whether a spool has given a stored event, or a part of it."""
        self._look(event_id)
        return self._is_own or self._is_shared

    def _look(self, event_id: int) -> None:
        if not self._low <= event_id <= self._high:
            last = _last_before(self._connection, event_id + 1)
            self._is_own = last is None or last.high < event_id
            if last is not None and not self._is_own:
                self._low, self._high = last.low, last.high
                self._is_shared = last.source is None and last.low == last.high
            else:
                after = select(func.min(origin.c.low)).where(origin.c.low > event_id)
                following = self._connection.scalar(after)
                self._low = 0 if last is None else last.high + 1
                self._high = (1 << 63) - 1 if following is None else following - 1
                self._is_shared = False


def note_foreign(
    connection: Connection,
    source: int,
    added: Collection[int],
    alone: tuple[int, int] | None = None,
) -> None:
    """Record that these events, which this transaction stored, came from `source`.

    `alone`: ids from one further event of it to another, in the order of ids behind all of
    `added`, between which only this transaction stored any.
    """
    if not added and alone is None:
        return
    _lock(connection, "EXCLUSIVE")
    runs = []
    if ids := _not_noted(connection, source, sorted(added)):
        # Nearly always all that are there.
        is_whole = _count(connection, ids[0], ids[-1], len(ids) + 1) == len(ids)
        runs = [(ids[0], ids[-1])] if is_whole else list(_runs(connection, ids))
    if alone is not None:
        runs.append(alone)
    if runs:
        _cut(connection, runs)
        first = _joined(connection, _Range(*runs[0], source))
        _insert(connection, [first, *(_Range(*run, source) for run in runs[1:])])


def last_stored(connection: Connection, span: tuple[int, int]) -> int | None:
    """Give the last event that is stored in a span of ids, None if there is none.

    On PostgreSQL, where others write at the same time, nobody can tell: it is the last id.
    """
    if connection.dialect.name != "sqlite":
        return span[1]
    found = [
        connection.scalar(select(func.max(table.c.id)).where(table.c.id.between(*span)))
        for table in (syscall, event)
    ]
    return max((each for each in found if each is not None), default=None)


def note_own(connection: Connection, stored: Sequence[int]) -> None:
    """Record that these events came from a spool."""
    if not stored:
        return
    _lock(connection, "EXCLUSIVE")
    _cut(connection, [(each, each) for each in sorted(stored)])


def note_parts(connection: Connection, stored: Sequence[int]) -> None:
    """Record of events, of which a spool gave a part, that no single source gave them.

    Those that came from a spool anyway stay as they are.
    """
    if foreign := [each for each in sorted(set(stored)) if not is_own(connection, each)]:
        _lock(connection, "EXCLUSIVE")
        _cut(connection, [(each, each) for each in foreign])
        _insert(connection, [_Range(each, each, None) for each in foreign])


def forget(connection: Connection, low: int, high: int) -> None:
    """Leave the ids from `low` to `high` out of all ranges, as no event has them any more."""
    before = _last_before(connection, low)
    inside = origin.c.low.between(low, high)
    connection.execute(delete(origin).where(inside, origin.c.high <= high))
    connection.execute(update(origin).where(inside).values(low=high + 1))
    if before is None or before.high < low:
        return
    connection.execute(update(origin).where(origin.c.low == before.low).values(high=low - 1))
    if before.high > high:
        _insert(connection, [before._replace(low=high + 1)])


def _lock(connection: Connection, mode: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE origin IN {mode} MODE")


def _not_noted(connection: Connection, source: int, ids: Sequence[int]) -> Sequence[int]:
    """Leave out ids, in order, that are in ranges of their source: such as come late in its log."""
    if not ids:
        return ids
    most = len(ids) * _MORE
    inside = select(origin).where(origin.c.low > ids[0], origin.c.low <= ids[-1])
    rows = connection.execute(inside.order_by(origin.c.low).limit(most)).all()
    if len(rows) == most:
        return ids
    last = _last_before(connection, ids[0] + 1)
    ranges = [*([last] if last else []), *(_Range(*row) for row in rows)]
    left, at = [], 0
    for each in ids:
        while at < len(ranges) and ranges[at].high < each:
            at += 1
        if at == len(ranges) or each < ranges[at].low or ranges[at].source != source:
            left.append(each)
    return left


def _runs(connection: Connection, ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Cut ids of stored events, in order, into ranges that hold no event but these."""
    most = len(ids) * _MORE
    stored = union_all(
        *(select(t.c.id).where(t.c.id.between(ids[0], ids[-1])) for t in (syscall, event))
    ).subquery()
    found = sorted(connection.scalars(select(stored.c.id).limit(most)))
    if len(found) == most:
        # Very many others are between them: only the next one of each id is asked for.
        following = _next_events(connection, ids)
        low = ids[0]
        for this, after in zip(ids, [*ids[1:], None], strict=True):
            if following[this] != after or after is None:
                yield low, this
                low = after or this
        return
    ours = set(ids)
    for is_ours, run in groupby(found, ours.__contains__):
        if is_ours:
            inside = list(run)
            yield inside[0], inside[-1]


def _next_events(connection: Connection, ids: Sequence[int]) -> dict[int, int | None]:
    """Give the stored event that follows each of these stored ones."""
    found: dict[int, int | None] = {}
    for own in (syscall, event):
        after = [select(func.min(t.c.id)).where(t.c.id > own.c.id) for t in _others_of(own)]
        columns = [each.correlate(own).scalar_subquery() for each in after]
        for start in range(0, len(ids), _ROWS):
            wanted = own.c.id.in_(ids[start : start + _ROWS])
            for this, *both in connection.execute(select(own.c.id, *columns).where(wanted)):
                found[this] = min((each for each in both if each is not None), default=None)
    return found


def _others_of(own: Table) -> list[FromClause]:
    """Give both tables of events, to be read beside `own`."""
    return [t.alias() if t is own else t for t in (syscall, event)]


def _count(connection: Connection, low: int, high: int, most: int) -> int:
    """Count the events from one id to another, up to about so many."""
    found = 0
    for table in (syscall, event):
        some = select(table.c.id).where(table.c.id.between(low, high)).limit(most).subquery()
        found += connection.scalar(select(func.count()).select_from(some)) or 0
    return found


def _joined(connection: Connection, new: _Range) -> _Range:
    """Join a range with the one before it, if it has the same source and no events between."""
    row = _last_before(connection, new.low)
    if row is None or row.source != new.source:
        return new
    for table in (syscall, event):
        between = select(table.c.id).where(table.c.id > row.high, table.c.id < new.low).limit(1)
        if connection.execute(between).first() is not None:
            return new
    connection.execute(delete(origin).where(origin.c.low == row.low))
    return _Range(row.low, new.high, new.source)


def _cut(connection: Connection, holes: Sequence[tuple[int, int]]) -> None:
    """Remove spans of ids, in order and without overlaps, from all ranges.

    The first and the last id of a span are stored events.
    """
    most = len(holes) * _MORE
    inside = select(origin).where(origin.c.low > holes[0][0], origin.c.low <= holes[-1][1])
    rows = connection.execute(inside.order_by(origin.c.low).limit(most)).all()
    if len(rows) == most:
        rows = _around(connection, holes)
    last = _last_before(connection, holes[0][0] + 1)
    old = [] if last is None else [last]
    old += [each for row in rows if (each := _Range(*row)) != last]
    gone: list[int] = []
    kept: list[_Range] = []
    index = 0
    for each in old:
        while index < len(holes) and holes[index][1] < each.low:
            index += 1
        low, at = each.low, index
        while at < len(holes) and holes[at][0] <= each.high:
            kept.append(_Range(low, holes[at][0] - 1, each.source))
            low = holes[at][1] + 1
            at += 1
        if at > index:
            gone.append(each.low)
            kept.append(_Range(low, each.high, each.source))
    for start in range(0, len(gone), _ROWS):
        connection.execute(delete(origin).where(origin.c.low.in_(gone[start : start + _ROWS])))
    _insert(connection, [each for each in kept if each.low <= each.high])


def _around(connection: Connection, holes: Sequence[tuple[int, int]]) -> list[Row[Any]]:
    """Give the ranges that meet a span, and perhaps some that do not, in order."""
    ends = sorted({end for hole in holes for end in hole})
    before: dict[int, int | None] = {}  # an end -> where the last range up to it begins
    for own in (syscall, event):
        last = select(func.max(origin.c.low)).where(origin.c.low <= own.c.id)
        column = last.correlate(own).scalar_subquery()
        for start in range(0, len(ends), _ROWS):
            wanted = own.c.id.in_(ends[start : start + _ROWS])
            found = connection.execute(select(own.c.id, column).where(wanted))
            before.update((this, low) for this, low in found)
    lows = {low for low in before.values() if low is not None}
    for low, high in holes:
        if before[low] != before[high]:  # some begin inside it
            between = select(origin.c.low).where(origin.c.low.between(low, high))
            lows.update(connection.scalars(between))
    wanted_lows = sorted(lows)
    rows: list[Row[Any]] = []
    for start in range(0, len(wanted_lows), _ROWS):
        wanted = origin.c.low.in_(wanted_lows[start : start + _ROWS])
        rows += connection.execute(select(origin).where(wanted).order_by(origin.c.low)).all()
    return rows


def _last_before(connection: Connection, event_id: int) -> _Range | None:
    """Give the last range that begins below an id."""
    row = connection.execute(
        select(origin).where(origin.c.low < event_id).order_by(origin.c.low.desc()).limit(1)
    ).first()
    return None if row is None else _Range(*row)


def _insert(connection: Connection, ranges: Sequence[_Range]) -> None:
    if ranges:
        connection.execute(insert(origin), [each._asdict() for each in ranges])
