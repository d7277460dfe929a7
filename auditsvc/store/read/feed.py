"""New events of the store for one reader, each exactly once.

    feed = Feed(store, "journal")
    part = feed.ids(Selection(), limit=500)
    for event in feed.fetch(part.ids): ...
    feed.save(part.end, note)

Invariant: a reader that saves its position after processing gets every event that arrived
after its registration once, in the order of arrival, whatever the times of the events are.
An event that a late record completes is not given again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import and_, delete, func, insert, select, update

from auditsvc.errors import StoreError
from auditsvc.store import arrivals
from auditsvc.store.database import reading
from auditsvc.store.read.events import Event, Known, whole_events
from auditsvc.store.schema import amended, arrival, consumer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from auditsvc.store import Store
    from auditsvc.store.read.selection import Selection, Within

_ROWS: Final = 500  # arrivals that are read at once


class Position(NamedTuple):
    """The arrivals before `seq` are dealt with, and of `seq` the events up to `event` (0: none)."""

    seq: int
    event: int


class Slice(NamedTuple):
    """Ids of selected events, in the order of arrival, and the position after them."""

    ids: list[int]
    end: Position
    more: bool
    """Whether there are arrivals after `end` already."""


class _Arrival(NamedTuple):
    seq: int
    low: int
    high: int


class Feed:
    """One reader's place in the store; registers a reader that is new.

    A new reader begins at what arrives from then on, or at all that is stored. StoreError as the
    store has it.
    """

    def __init__(self, store: Store, name: str, *, from_beginning: bool = False) -> None:
        self._database = store.database
        self._name = name
        self._from_beginning = from_beginning
        self._known = Known()
        self.position, self.note = self._register()

    def _register(self) -> tuple[Position, str]:
        mine = select(consumer).where(consumer.c.name == self._name)
        with self._database.begin(alone=True) as connection:
            row = connection.execute(mine).first()
            if row is not None:
                return Position(row.seq, row.event), row.note
            begin = arrivals.begin_with_all if self._from_beginning else arrivals.begin
            seq = begin(connection)
            connection.execute(insert(consumer).values(name=self._name, seq=seq, event=0, note=""))
            return Position(seq, 0), ""

    def ids(
        self,
        selection: Selection,
        limit: int,
        after: Position | None = None,
        until: Position | None = None,
    ) -> Slice:
        """Give up to `limit` selected events that arrived after a position (the saved one).

        `until`: only those before this position, at which the slice then ends.
        """
        position = self.position if after is None else after
        found: list[int] = []
        with reading(self._database) as connection:
            rows = [_cut(row, until) for row in self._arrivals(connection, position, until)]
            for _, group in groupby(rows, _batch):
                part = list(group)
                got = self._selected(connection, selection, part, position, limit - len(found))
                found += got
                if len(found) >= limit:
                    return Slice(found, _behind(part, found[-1]), more=True)
                position = Position(part[-1].seq + 1, 0)
        if until is not None and len(rows) < _ROWS:
            return Slice(found, until, more=False)
        return Slice(found, position, more=len(rows) == _ROWS)

    def last(self) -> int:
        """Give the number of the last arrival: up to it all has arrived by now."""
        with reading(self._database) as connection:
            return arrivals.last(connection)[0]

    def fetch(self, ids: Sequence[int]) -> list[Event]:
        """Read events with all their records, in the order of `ids`."""
        with reading(self._database) as connection:
            return whole_events(connection, ids, self._known)

    def amended(self, limit: int, after: int, until: int | None = None) -> list[tuple[int, int]]:
        """Give numbers and ids of events that were amended after a number, in order."""
        wanted = select(amended).where(amended.c.seq > after).order_by(amended.c.seq).limit(limit)
        if until is not None:
            wanted = wanted.where(amended.c.seq <= until)
        with reading(self._database) as connection:
            return [(seq, event) for seq, event in connection.execute(wanted)]

    def save(self, position: Position, note: str = "", amended_to: int | None = None) -> None:
        """Save `position`: all events before it are processed; `note` is the reader's own.

        `amended_to`: the amended events up to this number are processed too.
        """
        with self._database.begin(alone=False) as connection:
            moved = connection.execute(
                update(consumer)
                .where(
                    consumer.c.name == self._name,
                    consumer.c.seq == self.position.seq,
                    consumer.c.event == self.position.event,
                    consumer.c.note == self.note,
                )
                .values(seq=position.seq, event=position.event, note=note)
            )
            if moved.rowcount != 1:
                raise StoreError(
                    f"{self._name}'s position in {self._database.place} is not where it was left",
                    "end the other process that reads for it, then start again",
                )
            self._forget(connection)
            if amended_to is not None:
                arrivals.forget_amended(connection, amended_to)
        self.position, self.note = position, note

    def unregister(self) -> None:
        """Remove this reader; the store no longer records arrivals for it."""
        with self._database.begin(alone=True) as connection:
            connection.execute(delete(consumer).where(consumer.c.name == self._name))
            if self._name == arrivals.FLEET:
                connection.execute(delete(amended))
            if connection.execute(select(consumer.c.name).limit(1)).first() is None:
                connection.execute(delete(arrival))
            else:
                self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        """Delete what no reader needs; the highest id stays, for `arrivals.note`."""
        needed = select(func.min(consumer.c.seq)).scalar_subquery()
        highest = select(func.max(arrival.c.high)).scalar_subquery()
        connection.execute(delete(arrival).where(arrival.c.seq < needed, arrival.c.high < highest))

    def _arrivals(
        self, connection: Connection, position: Position, until: Position | None
    ) -> list[_Arrival]:
        wanted = select(arrival).where(arrival.c.seq >= position.seq)
        if until is not None:
            wanted = wanted.where(arrival.c.seq < until.seq + (until.event > 0))
        rows = connection.execute(wanted.order_by(arrival.c.seq).limit(_ROWS))
        return [_Arrival(*row) for row in rows]

    def _selected(
        self,
        connection: Connection,
        selection: Selection,
        part: Sequence[_Arrival],
        position: Position,
        limit: int,
    ) -> list[int]:
        """Give selected events of arrivals: of one range, or of single events.

        Of a range they come in the order of ids, which is that of time.
        """
        first = part[0]
        if first.low == first.high:
            singles = [each.low for each in part]
            found = set(_ask(connection, selection, lambda column: column.in_(singles), len(part)))
            return [each for each in singles if each in found][:limit]
        low = position.event + 1 if position.seq == first.seq and position.event else first.low
        later = self._later(connection, first)
        wanted: list[int] = []
        while len(wanted) < limit:
            got = _ask(connection, selection, _between(low, first.high), limit)
            wanted += _apart(got, later)
            if len(got) < limit:
                break
            low = got[-1] + 1
        return wanted[:limit]

    def _later(self, connection: Connection, row: _Arrival) -> list[tuple[int, int]]:
        """Ranges inside a range that arrived after it, in order and apart from each other."""
        found = connection.execute(
            select(arrival.c.low, arrival.c.high)
            .where(arrival.c.low <= row.high, arrival.c.high >= row.low, arrival.c.seq > row.seq)
            .order_by(arrival.c.low)
        )
        apart: list[tuple[int, int]] = []
        for low, high in found:
            if apart and low <= apart[-1][1]:
                apart[-1] = (apart[-1][0], max(apart[-1][1], high))
            else:
                apart.append((low, high))
        return apart


def selected(
    connection: Connection, selection: Selection, low: int, high: int, limit: int
) -> list[int]:
    """Give the lowest selected ids from `low` to `high`, whenever they arrived."""
    return _ask(connection, selection, _between(low, high), limit)


def _between(low: int, high: int) -> Within:
    return lambda column: column.between(low, high)


def _ask(connection: Connection, selection: Selection, within: Within, limit: int) -> list[int]:
    """Give the lowest selected ids within."""
    found = list(connection.scalars(selection.calls(within).limit(limit)).all())
    if len(found) == limit:  # ids after these are not among the lowest
        calls, last = within, found[-1]

        def within(column: ColumnElement[int]) -> ColumnElement[bool]:
            return and_(calls(column), column <= last)

    others = selection.others(within)
    if others is not None:
        found += connection.scalars(others.limit(limit)).all()
    return sorted(found)[:limit]


def _batch(row: _Arrival) -> tuple[int, ...]:
    """Group arrivals for reading: single events together, each range alone."""
    return (row.seq,) if row.low != row.high else (-1,)


def _behind(part: Sequence[_Arrival], last: int) -> Position:
    """The position behind the event `last` of some arrivals."""
    for each in part:
        if each.low <= last <= each.high:
            single = each.low == each.high
            return Position(each.seq + 1, 0) if single else Position(each.seq, last)
    raise AssertionError(last)


def _cut(row: _Arrival, until: Position | None) -> _Arrival:
    """Give what of an arrival is before a position."""
    if until is None or row.seq < until.seq:
        return row
    return row._replace(high=min(row.high, until.event))


def _apart(ids: Sequence[int], ranges: Sequence[tuple[int, int]]) -> list[int]:
    """Give the ids, in order, that lie in none of some ranges, which do not overlap, in order."""
    found: list[int] = []
    start = 0
    for low, high in ranges:
        found += ids[start : bisect_left(ids, low, start)]
        start = bisect_right(ids, high, start)
    return found + list(ids[start:])
