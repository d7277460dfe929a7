"""Limits of the time and memory of a query.

A short query blocks nobody, but old versions of rows cannot be removed while a query runs. So
its transaction has a time limit.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from auditsvc.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from auditsvc.decode.batch import Row


MOST_SECONDS: Final = ((1 << 31) - 1) // 1000
"""The longest limit but none: PostgreSQL counts it in milliseconds, in 32 bits."""


_LEAST: Final = 0.05
"""Seconds that a statement has when the time of all is nearly over."""


class Stop:
    """Ends a query from another thread: who asked for it wants it no more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[Callable[[], object]] = []
        self.is_set = False

    def set(self) -> None:
        """End what runs, and what is begun from now on."""
        with self._lock:
            self.is_set = True
            for end in self._ends:
                end()

    @contextmanager
    def calling(self, end: Callable[[], object]) -> Iterator[None]:
        """Have `end` called when it is set, from the thread that sets it."""
        with self._lock:
            if self.is_set:
                raise stopped()
            self._ends.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)


def stopped() -> QueryError:
    """Give the message for a query that was ended by who asked for it."""
    return QueryError("the question was cancelled")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one query; 0 is no limit."""

    seconds: float = 0.0
    """From the beginning of the query to its last row, including all waits."""
    memory: int = 0
    """Bytes; on SQLite of the whole process."""
    stop: Stop | None = None
    of: float = 0.0
    """The limit that this is the rest of; 0: it is the limit itself."""

    @property
    def is_stopped(self) -> bool:
        """Whether the query is wanted no more."""
        return self.stop is not None and self.stop.is_set

    def deadline(self) -> float:
        """Give when a query that begins now must have ended (time.monotonic)."""
        return time.monotonic() + self.seconds if self.seconds else float("inf")

    def left(self, deadline: float) -> Limits:
        """Give the limits of a query that is a part of one that ends at `deadline`."""
        if not self.seconds:
            return self
        rest = round(max(_LEAST, deadline - time.monotonic()), 2)
        return replace(self, seconds=rest, of=self.of or self.seconds)

    def late(self) -> QueryError:
        """Give the message for a query that took longer."""
        return QueryError(
            f"the question took longer than {self.of or self.seconds:g} s",
            "ask for less, or give it more time: --timeout SECONDS, 0 for no limit",
        )

    def within(self, rows: Iterable[Row], deadline: float) -> Iterator[Row]:
        """Give the rows until the time limit."""
        for row in rows:
            if time.monotonic() > deadline:
                raise self.late()
            if self.is_stopped:
                raise stopped()
            yield row


NO_LIMITS = Limits()
