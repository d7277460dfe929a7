"""Finds the lines of a batch that the database cannot store, and keeps them raw.

In: the state of a decoder before the batch, the bytes of the batch, and a function that tries
whether rows can be stored. Out: the batch without the lines that cannot be stored; these are
in its `raw` with the reason. Bytes in, rows out; the caller does the trials.

Lines are set aside by halves: if the rest can be stored, that half is searched, else the other
one, else both. So one line among n is found in about 2 * log2(n) trials.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auditsvc.decode.batch import Batch
    from auditsvc.decode.contract import Decoder

_STATE: Final = b"#"  # begins the lines of `pending` that are none of events
_MOST_TRIALS: Final = 500


@dataclass(frozen=True, slots=True)
class Piece:
    """The input of one transaction: `pending` before it, and the bytes after that."""

    pending: bytes
    data: bytes
    finished: bool
    """Whether the input ended with it."""


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The rows of a piece that can be stored."""

    batch: Batch
    pending: bytes
    open_records: int


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that can be set aside: its number among pending lines, or its range in the bytes."""

    pending: int | None
    start: int
    end: int


class Quarantine:
    """Searches for the lines of a piece that cannot be stored."""

    def __init__(
        self,
        piece: Piece,
        make_decoder: Callable[[], Decoder],
        accepts: Callable[[Salvaged], str],
    ) -> None:
        """`accepts` tries a batch without storing it; gives "" or why it cannot be stored."""
        self._make_decoder = make_decoder
        self._accepts = accepts
        self._piece = piece
        *lines, rest = piece.pending.split(b"\n")
        self._gaps = [line for line in lines if line.startswith(_STATE)]
        self._open = [line for line in lines if not line.startswith(_STATE)]
        self._rest = rest
        self._text = rest + piece.data
        self._reason = ""
        self._trials = 0

    def run(self, now: float) -> Salvaged | None:
        """Give the part of the piece that can be stored; None if no lines are the cause."""
        self._now = now
        if self._takes(()):
            return self._decode(())
        suspects = self._lines()
        if not suspects or not self._takes(suspects):
            return None
        return self._decode(self._find(suspects, ()))

    def _lines(self) -> list[_Line]:
        lines = [_Line(number, 0, len(line)) for number, line in enumerate(self._open)]
        start = 0
        while (end := self._text.find(b"\n", start)) >= 0:
            if end > start:
                lines.append(_Line(None, start, end))
            start = end + 1
        if self._piece.finished and start < len(self._text):
            lines.append(_Line(None, start, len(self._text)))
        return lines

    def _find(self, suspects: Sequence[_Line], aside: Sequence[_Line]) -> list[_Line]:
        """Give a few suspects without which the rest can be stored; `aside` are left out anyway."""
        if len(suspects) == 1 or self._trials > _MOST_TRIALS:
            return list(suspects)
        middle = len(suspects) // 2
        first, second = suspects[:middle], suspects[middle:]
        if self._takes([*first, *aside]):
            return self._find(first, aside)
        if self._takes([*second, *aside]):
            return self._find(second, aside)
        found = self._find(first, [*second, *aside])
        return found + self._find(second, [*found, *aside])

    def _takes(self, aside: Sequence[_Line]) -> bool:
        self._trials += 1
        # End all events: else a line that waits for others would seem harmless.
        reason = self._accepts(self._decode(aside, ends_all=True))
        self._reason = reason or self._reason
        return not reason

    def _decode(self, aside: Sequence[_Line], *, ends_all: bool = False) -> Salvaged:
        """Decode the piece without some lines; these become raw lines of the batch."""
        out = {line.pending for line in aside if line.pending is not None}
        text = bytearray(self._text)
        for line in aside:
            if line.pending is None:
                # Blank lines are ignored, and the positions of later lines do not change.
                text[line.start : line.end] = b" " * (line.end - line.start)
        lines = [line for number, line in enumerate(self._open) if number not in out]
        decoder = self._make_decoder()
        decoder.restore(b"".join(line + b"\n" for line in [*self._gaps, *lines]), self._now)
        decoder.feed(bytes(text), self._now)
        if self._piece.finished:
            decoder.finish()
        if ends_all:
            decoder.expire(inf)
        pending = decoder.pending()
        batch = decoder.take()
        before = len(self._rest)
        batch.raw = [(offset - before, line, reason) for offset, line, reason in batch.raw]
        for line in aside:
            data = self._text[line.start : line.end]
            if line.pending is None:
                batch.counts["received"] += 1
            else:
                data = self._open[line.pending]
            batch.raw.append((line.start - before, data, f"cannot be stored: {self._reason}"))
            batch.counts["raw"] += 1
        return Salvaged(batch, pending, decoder.open_records)
