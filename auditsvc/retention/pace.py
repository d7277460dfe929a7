"""How many rows a step takes: so many that it lasts about as long as it should.

What is timed is the work and not the commit: a disk that takes 50 ms for an fsync takes them for
any number of rows, and with ever fewer of them a step would not get shorter. For the same
reason there is a least number.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST, _FIRST, _MOST = 100, 200, 20_000
_GROWTH: Final = 1.5


class Pace:
    """Rows of a step, by the kind of work; `target` is in seconds."""

    def __init__(self, target: float) -> None:
        self._target = target
        self._rows: dict[str, int] = {}

    @contextmanager
    def timed(self, kind: str) -> Iterator[int]:
        """Give how many rows the step in the block should take, and learn how long it did."""
        rows = self._rows.get(kind, _FIRST)
        begun = time.monotonic()
        yield rows
        took = max(time.monotonic() - begun, 1e-6)
        wanted = rows * min(_GROWTH, self._target / took)
        self._rows[kind] = max(_LEAST, min(_MOST, int(wanted)))
