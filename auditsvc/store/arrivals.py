"""The order in which events arrived, for readers of a growing store.

An event's id has the time of the event, not of its arrival in the store: a call that blocked
for an hour arrives an hour late, and an old log may be loaded today. So each transaction
records which ids it added, as ranges that had no other events when it committed. There are
few, as most events of a batch are later than all before. Without readers, nothing is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, select, union_all

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.partitions import DAY
from auditsvc.store.schema import amended, arrival, consumer, event, store_info, syscall

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from sqlalchemy import Connection

Range = tuple[int, int]
"""Lowest and highest id, both of them events of it."""

FLEET: Final = "fleet"
"""The name of the reader that also gets what was amended."""
_AMENDED: Final = "amended"
_FEW: Final = 8  # so many ids are noted one by one, before their range is halved again


def note(connection: Connection, added: Callable[[], Sequence[int]]) -> None:
    """Note the ids of events that this transaction added; the last thing it does.

    `added` gives them, and is asked only if anybody reads.
    """
    if connection.execute(select(consumer.c.seq).limit(1)).first() is None:
        return
    if not (ids := added()):
        return
    _in_order(connection)
    ordered = sorted(ids)
    seq, highest = last(connection)
    late = [each for each in ordered if each <= highest]
    found = list(ranges(connection, late)) if late else []
    if len(late) < len(ordered):
        found.append((ordered[len(late)], ordered[-1]))
    rows = [
        {"seq": seq + index, "low": low, "high": high}
        for index, (low, high) in enumerate(found, start=1)
    ]
    connection.execute(insert(arrival), rows)


def note_amended(connection: Connection, ids: Collection[int]) -> None:
    """Note events that were stored and are changed or deleted by this transaction.

    Only the fleet wants them: other readers get each event once.
    """
    if not ids:
        return
    fleet = select(consumer.c.seq).where(consumer.c.name == FLEET)
    if connection.execute(fleet).first() is None:
        return
    _in_order(connection)
    seq = last_amended(connection)
    rows = [{"seq": seq + n, "event": each} for n, each in enumerate(sorted(ids), start=1)]
    connection.execute(insert(amended), rows)


def last_amended(connection: Connection) -> int:
    """Give the last number of an amended event; 0 before the first."""
    # Numbers go on where all rows were read and deleted: the reader says how far it came.
    told = connection.scalar(select(store_info.c.value).where(store_info.c.name == _AMENDED))
    return max(connection.scalar(select(func.max(amended.c.seq))) or 0, int(told or 0))


def forget_amended(connection: Connection, seq: int) -> None:
    """Delete the amended events up to a number, which were read."""
    connection.execute(delete(amended).where(amended.c.seq <= seq))
    connection.execute(delete(store_info).where(store_info.c.name == _AMENDED))
    connection.execute(insert(store_info).values(name=_AMENDED, value=str(seq)))


def begin(connection: Connection) -> int:
    """Give the number from which a new reader gets what arrives from now on; alone."""
    seq, _ = last(connection)
    if connection.execute(select(consumer.c.name).limit(1)).first() is None:
        # Without readers nothing was recorded; from here on all arrivals are.
        highest = highest_stored(connection)
        connection.execute(delete(arrival))
        seq += 1
        connection.execute(insert(arrival).values(seq=seq, low=highest, high=highest))
    return seq + 1


def begin_with_all(connection: Connection) -> int:
    """Give the number from which a new reader gets all that is stored and all that arrives; alone.

    All that is stored is one range, before all that other readers have not had.
    """
    following = begin(connection)
    if (lowest := lowest_stored(connection)) is None:
        return following
    first = connection.scalar(select(func.min(arrival.c.seq)))
    seq = min(following, following if first is None else first) - 1
    highest = highest_stored(connection)
    connection.execute(insert(arrival).values(seq=seq, low=lowest, high=highest))
    return seq


def _in_order(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Rows must be seen in the order of their numbers: one writer commits after the other.
        connection.exec_driver_sql("LOCK TABLE arrival IN EXCLUSIVE MODE")


def last(connection: Connection) -> tuple[int, int]:
    """Give the last number, and the highest id that was noted; (0, -1) before the first."""
    seq, highest = connection.execute(
        select(func.max(arrival.c.seq), func.max(arrival.c.high))
    ).one()
    reached = connection.scalar(select(func.max(consumer.c.seq)))
    return max(seq or 0, reached or 0), -1 if highest is None else highest


def highest_stored(connection: Connection) -> int:
    """Give the highest id of an event in the store, -1 if there is none."""
    found = [connection.scalar(select(func.max(table.c.id))) for table in (syscall, event)]
    return max((each for each in found if each is not None), default=-1)


def lowest_stored(connection: Connection) -> int | None:
    """Give the lowest id of an event in the store; None if there is none."""
    found = [connection.scalar(select(func.min(table.c.id))) for table in (syscall, event)]
    return min((each for each in found if each is not None), default=None)


def first_id(day: int) -> int:
    """Give the lowest id that an event of a day can have."""
    return (day * DAY) << SERIAL_BITS


def ranges(connection: Connection, ids: Sequence[int]) -> Iterator[Range]:
    """Cut ids, in order, into ranges that hold no event but these."""
    if len(ids) <= _FEW:
        yield from ((each, each) for each in ids)
    elif count(connection, ids[0], ids[-1]) == len(ids):
        yield ids[0], ids[-1]
    else:
        middle = len(ids) // 2
        yield from ranges(connection, ids[:middle])
        yield from ranges(connection, ids[middle:])


def count(connection: Connection, low: int, high: int) -> int:
    """Count the events with these ids."""
    counts = union_all(
        *(
            select(func.count().label("n")).where(table.c.id.between(low, high))
            for table in (syscall, event)
        )
    ).subquery()
    return int(connection.scalar(select(func.sum(counts.c.n))) or 0)
