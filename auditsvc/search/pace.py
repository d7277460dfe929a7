"""How far a search goes while somebody waits for its first answer.

    pace = Pace(0.35)
    for sql in slices(criteria, dialect, ask, page=page, pace=pace): ...
    pace.left   # the second from which on nothing was looked at yet; None: all was
    pace.step   # what the search is told that goes on there

Out: the length of the next slice, of which it is known by the ones before how long it will take: a
part for the slice itself, and one for each second of the log in it. What takes longer than the time
that is left is not begun. Nothing ends a slice that has begun. A search that goes on begins with a
slice whose seconds fit into its time, whatever a slice itself takes: so it gets on where other
programs run, too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

GROWTH: Final = 8
"""How much larger a slice may be than the one before."""


class Step(NamedTuple):
    """How a search goes on: the length of its first slice, and what the last one took."""

    length: int
    last: int
    """Length of the last slice."""
    took: int
    """Milliseconds."""


class Pace:
    """Lets slices grow until the time is over; the first one is always looked at."""

    def __init__(
        self,
        seconds: float = float("inf"),
        step: Step | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seconds`: for all slices together; `step`: of the search before, if it goes on."""
        self._clock = clock
        self._seconds = seconds
        self._ends = clock() + seconds
        self._last = clock()
        self._before = (0, 0.0) if step is None else (step.last, step.took / 1000)
        self.step = step
        self.left: int | None = None
        """The newest second that was not looked at, of a search for the newest; else the oldest."""

    @property
    def is_limited(self) -> bool:
        """Whether there is a time."""
        return self._seconds < float("inf")

    def first(self, length: int) -> int:
        """Give the length of the first slice, which is this one if nothing is known."""
        return length if self.step is None else self.step.length

    def begin(self) -> None:
        """Note that a slice begins."""
        self._last = self._clock()

    def following(self, length: int) -> int:
        """Give the length of the slice that follows one of this length, 0 if there is no time.

        Lengths are seconds of the log.
        """
        length, now = max(1, length), self._clock()
        took, rest = now - self._last, self._ends - now
        other, its = self._before
        self._before = length, took
        # What a second takes; of two slices of one length nothing is known of it.
        each = (took - its) / (length - other) if length != other else 0.0
        most = GROWTH * length
        if took <= rest:
            more = rest - took
            return most if each * (most - length) <= more else length + int(more / each)
        if not other:
            following = 2 * length
        elif each * most <= self._seconds:
            following = most
        else:
            following = max(1, int(self._seconds / each))
        self.step = Step(following, length, int(took * 1000))
        return 0
