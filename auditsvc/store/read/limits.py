"""How long a question may take, and how much memory.

A reader hinders nobody for a moment, and everybody in the long run: what was stored since it
began can be cleaned up only when it ends. So its transaction has an end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditsvc.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auditsvc.decode.batch import Row


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one question; 0 is no limit."""

    seconds: float = 0.0
    """From its begin to its last row, whoever waits for whom meanwhile."""
    memory: int = 0
    """Bytes. On SQLite they are those of the whole process."""

    def deadline(self) -> float:
        """When a question that begins now must have ended (time.monotonic)."""
        return time.monotonic() + self.seconds if self.seconds else float("inf")

    def late(self) -> QueryError:
        """What is said of a question that took longer."""
        return QueryError(
            f"the question took longer than {self.seconds:g} s",
            "ask for less, or give it more time: --timeout SECONDS, 0 for no limit",
        )

    def within(self, rows: Iterable[Row], deadline: float) -> Iterator[Row]:
        """Give the rows as long as there is time."""
        for row in rows:
            if time.monotonic() > deadline:
                raise self.late()
            yield row


NO_LIMITS = Limits()
