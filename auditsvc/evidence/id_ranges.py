"""Ranges of ids of events that do not overlap, as the table `origin` has them."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class IdRanges:
    """Ranges with both their ends, in order."""

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._ranges = ranges

    def __contains__(self, event: object) -> bool:
        """Whether an id is in one of them."""
        return isinstance(event, int) and self.touch(event, event)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Give them, in order."""
        return iter(self._ranges)

    def touch(self, low: int, high: int) -> bool:
        """Whether one of them has an id from `low` to `high`."""
        at = bisect_right(self._ranges, high, key=lambda each: each[0]) - 1
        return at >= 0 and self._ranges[at][1] >= low

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._ranges)
