"""When a store will be full, from how it has grown.

    sizes by time, room -> bytes a day, days until it is full, and a sentence

What deletions freed counts as growth, so that the rate is of what arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.store.partitions import DAY

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAST_SECONDS: Final = 3600
"""Over less time nothing is told."""


class Size(NamedTuple):
    """Bytes in use at a second, and what deletions freed since the size before."""

    time: int
    bytes: int
    freed: int


@dataclass(frozen=True, slots=True)
class Room:
    """What a store can take."""

    used: int
    most: int
    """Bytes, at which it is full."""
    what: str
    """What is full then, in a sentence."""
    days: int | None = None
    """For how many days before today events are kept; None: for ever."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """None: it is not known, or it will never be full."""

    bytes_a_day: int | None
    full_in_days: float | None
    says: str


def forecast(sizes: Sequence[Size], room: Room | None) -> Forecast:
    """Forecast from sizes in the order of time; `room` None: it is not known."""
    if not sizes or sizes[-1].time - sizes[0].time < _LEAST_SECONDS:
        return Forecast(None, None, "unknown until `run` has watched the store for an hour")
    first, last = sizes[0], sizes[-1]
    grown = last.bytes - first.bytes + sum(size.freed for size in sizes[1:])
    rate = grown * DAY / (last.time - first.time)
    if rate <= 0:
        return Forecast(0, None, "never: it does not grow")
    if room is None:
        return Forecast(int(rate), None, "unknown: its disk is the server's")
    if room.days is not None and (at_most := rate * (room.days + 1)) <= room.most:
        return Forecast(int(rate), None, f"never: it will have about {int(at_most)} bytes")
    left = max(0.0, room.most - room.used) / rate
    return Forecast(int(rate), round(left, 1), f"full in {left:.0f} days: then {room.what}")
