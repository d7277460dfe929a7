"""How far a search goes while somebody waits for its first answer.

    pace = Pace(0.35)
    for sql in slices(criteria, dialect, ask, page=page, pace=pace): ...
    pace.left   # the second from which on nothing was looked at yet; None: all was
    pace.step   # how long the first slice of the search is that goes on there

Out: the length of the next slice, of which it is known by the ones before how long it will take: a
part for the slice itself, and one for each second of the log in it. What takes longer than the time
that is left is not begun. Nothing ends a slice that has begun. A search that goes on begins with a
slice that fits into its time, so that it gets on where other programs run, too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

GROWTH: Final = 8
"""How much larger a slice may be than the one before."""


class Pace:
    """Lets slices grow until the time is over; the first one is always looked at."""

    def __init__(
        self,
        seconds: float = float("inf"),
        step: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seconds`: for all slices together; `step`: that of the search before, if it goes on."""
        self._clock = clock
        self._seconds = seconds
        self._ends = clock() + seconds
        self._last = clock()
        self._before = (0, 0.0)
        self.step = step
        self.left: int | None = None
        """The newest second that was not looked at, of a search for the newest; else the oldest."""

    def begin(self) -> None:
        """Note that a slice begins."""
        self._last = self._clock()

    def following(self, length: int) -> int:
        """Give the length of the slice that follows one of this length, 0 if there is no time.

        Lengths are seconds of the log.
        """
        length, now = max(1, length), self._clock()
        took, rest = now - self._last, self._ends - now
        shorter, its = self._before
        self._before = length, took
        each = (took - its) / max(1, length - shorter)
        if took > rest:
            self.step = _longest(length, took, each, self._seconds)
            return 0
        return _longest(length, took, each, rest)


def _longest(length: int, took: float, each: float, rest: float) -> int:
    """Give the length of a slice that takes no longer than `rest`."""
    if took > rest:
        return max(1, length // 2)
    more = (GROWTH - 1) * length
    return length + (more if each * more <= rest - took else int((rest - took) / each))
