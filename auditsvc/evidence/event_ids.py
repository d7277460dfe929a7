"""Ids of many events, of 8 bytes each: a Python set has some 80.

    ids = EventIds()
    ids.add([...])
    ids.count(event)        # how often it was added

They come nearly in the order of time, and are asked for in that order.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHIFT: Final = SERIAL_BITS + 4
"""Of an id to the number of its bucket: those of 16 seconds."""


class EventIds:
    """A multiset of ids."""

    def __init__(self) -> None:
        self._buckets: dict[int, array[int]] = {}
        self._unsorted: set[int] = set()

    def add(self, events: Iterable[int]) -> None:
        """Add ids."""
        for event in events:
            bucket = event >> _SHIFT
            if (there := self._buckets.get(bucket)) is None:
                there = self._buckets[bucket] = array("q")
            there.append(event)
            self._unsorted.add(bucket)

    def count(self, event: int) -> int:
        """Give how often an id was added."""
        bucket = event >> _SHIFT
        there = self._buckets.get(bucket)
        if there is None:
            return 0
        if bucket in self._unsorted:
            self._unsorted.remove(bucket)
            there = self._buckets[bucket] = array("q", sorted(there))
        return bisect_right(there, event) - bisect_left(there, event)

    def __contains__(self, event: int) -> bool:
        """Whether an id was added."""
        return self.count(event) > 0

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._buckets)
