"""Lines that were appended to the spool and wait to be hashed: in memory, up to a bound.

Who appends only puts them there (`receive`); one thread takes the first (`first`, `done`), so
that a piece which could not be hashed stays for the next time. Beyond the bound, a piece is
without its lines: they are read from the segment.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST_BYTES: Final = 32 << 20
"""Lines that may wait in memory."""
_MUCH_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that were appended; `data` None: to be read from the segment."""

    segment: int
    start: int
    length: int
    data: bytes | None


class LineQueue:
    """Pieces in the order of the spool."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._waiting = 0
        """Bytes of lines in memory."""
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Piece]:
        """Give what waits."""
        return iter([*self._pieces])

    def receive(self, segment: int, position: int, lines: bytes) -> bool:
        """Take complete lines that were written at a position; gives whether much waits."""
        with self._lock:
            kept = lines if self._waiting + len(lines) <= _MOST_BYTES else None
            if kept is not None:
                self._waiting += len(lines)
            self._pieces.append(Piece(segment, position, len(lines), kept))
            return self._waiting >= _MUCH_BYTES

    def put_before(self, pieces: Iterable[Piece]) -> None:
        """Put pieces that are to be read from the disk before all that wait."""
        with self._lock:
            self._pieces.extendleft(reversed([*pieces]))

    def first(self) -> Piece | None:
        """Give the piece that is next, and leave it there; None if none waits."""
        return self._pieces[0] if self._pieces else None

    def done(self) -> None:
        """Remove the first."""
        with self._lock:
            piece = self._pieces.popleft()
            self._waiting -= piece.length if piece.data is not None else 0
