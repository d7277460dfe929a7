"""What of the store its archive has: kept in the store, for retention, evidence and the next pass.

A pass of the archive (`auditsvc.archive`) takes whole days by the ids of their events, up to
`through`; what arrived up to the arrival `seq` is then in it, as far as it is of these days.
Events of these days that arrive later are found by their arrivals (`auditsvc.store.arrivals`),
which are recorded because the archive is registered as a reader of the feed. So retention
waits for it as for every reader, and for days after `through` as well.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, select, update

from auditsvc.store import arrivals
from auditsvc.store.partitions import day_of
from auditsvc.store.schema import arrival, consumer, store_info
from auditsvc.store.values import unreadable

if TYPE_CHECKING:
    from sqlalchemy import Connection

NAME: Final = "archive"
"""Of the reader, and of the state."""
_WHAT: Final = f"store_info.value of {NAME}"


@dataclass(frozen=True, slots=True)
class Archived:
    """Up to where the archive has the store."""

    through: int = -1
    """The last day (from 1970-01-01); -1: none."""
    seq: int = 0
    """The last arrival of which it has all events of these days."""
    n: int = 0
    """Number of its last manifest; 0: none."""
    digest: str = ""
    """Digest of that manifest, hex."""
    place: str = ""
    """Where it is."""


def read(connection: Connection) -> Archived | None:
    """Give the state; None if the store has no archive. StoreError if it was changed."""
    found = connection.scalar(select(store_info.c.value).where(store_info.c.name == NAME))
    if found is None:
        return None
    try:
        state = Archived(**json.loads(found))
    except (TypeError, ValueError, RecursionError) as error:
        raise unreadable(_WHAT, found) from error
    numbers, texts = (state.through, state.seq, state.n), (state.digest, state.place)
    if not all(type(each) is int for each in numbers) or not all(
        isinstance(each, str) for each in texts
    ):
        raise unreadable(_WHAT, found)
    return state


def begin(connection: Connection, place: str) -> Archived:
    """Register the archive of a store that has none; alone."""
    following = arrivals.begin(connection)
    state = Archived(seq=following - 1, place=place)
    connection.execute(insert(consumer).values(name=NAME, seq=following, event=0, note=""))
    connection.execute(insert(store_info).values(name=NAME, value=json.dumps(asdict(state))))
    return state


def write(connection: Connection, state: Archived) -> None:
    """Replace the state."""
    value = json.dumps(asdict(state))
    connection.execute(update(store_info).where(store_info.c.name == NAME).values(value=value))
    connection.execute(
        update(consumer).where(consumer.c.name == NAME).values(seq=state.seq + 1, event=0)
    )
    # What no reader needs; the highest id stays, for `arrivals.note`.
    needed = select(func.min(consumer.c.seq)).scalar_subquery()
    highest = select(func.max(arrival.c.high)).scalar_subquery()
    connection.execute(delete(arrival).where(arrival.c.seq < needed, arrival.c.high < highest))


def forget(connection: Connection) -> bool:
    """End the archive of a store, which then waits for it no more; gives whether it had one."""
    connection.execute(delete(consumer).where(consumer.c.name == NAME))
    if connection.execute(select(consumer.c.name).limit(1)).first() is None:
        connection.execute(delete(arrival))
    return bool(connection.execute(delete(store_info).where(store_info.c.name == NAME)).rowcount)


def is_due(connection: Connection, high: int) -> bool:
    """Whether a day, by an id of it, is one that the archive of the store has not had."""
    state = read(connection)
    return state is not None and day_of(high) > state.through


def late(connection: Connection, through: int, seq: int) -> list[tuple[int, int]]:
    """Give ranges of ids of events that arrived after `seq`, of days up to `through`, in order."""
    from_next = arrivals.first_id(through + 1)
    rows = connection.execute(
        select(arrival.c.low, arrival.c.high)
        .where(arrival.c.seq > seq, arrival.c.low < from_next)
        .order_by(arrival.c.low)
    )
    found: list[tuple[int, int]] = []
    for low, high in rows:
        end = min(high, from_next - 1)
        if found and low <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((low, end))
    return found
