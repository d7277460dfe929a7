"""Limits of the time and memory of a query.

A short query blocks nobody, but old versions of rows cannot be removed while a query runs. So
its transaction has a time limit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auditsvc.decode.batch import Row


MOST_SECONDS: Final = ((1 << 31) - 1) // 1000
"""The longest limit but none: PostgreSQL counts it in milliseconds, in 32 bits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one query; 0 is no limit."""

    seconds: float = 0.0
    """From the beginning of the query to its last row, including all waits."""
    memory: int = 0
    """Bytes; on SQLite of the whole process."""

    def deadline(self) -> float:
        """Give when a query that begins now must have ended (time.monotonic)."""
        return time.monotonic() + self.seconds if self.seconds else float("inf")

    def late(self) -> QueryError:
        """Give the message for a query that took longer."""
        return QueryError(
            f"the question took longer than {self.seconds:g} s",
            "ask for less, or give it more time: --timeout SECONDS, 0 for no limit",
        )

    def within(self, rows: Iterable[Row], deadline: float) -> Iterator[Row]:
        """Give the rows until the time limit."""
        for row in rows:
            if time.monotonic() > deadline:
                raise self.late()
            yield row


NO_LIMITS = Limits()
