"""Loads one file of a log into the store, as a part of that log.

What must hold: in whatever order the files of a log are loaded, how often and in which pieces,
the store has in the end what the log gives if it is read as one stream.

* A file continues from what is pending at the end of the file before it.
* What is pending at the end of the last file is stored as far as it was read (`end of input`),
  and counted as open. These rows are replaced as soon as more of the log is read.
* Where files overlap, the lines of open events that a file begins with again are counted as
  duplicates: they leave what is pending, and the file brings them (`part.overlap`).
* If a file is loaded that comes before another one, or if the file before it grows, the
  beginning of the later one is decoded again (`Part.head`), and so on through the files after
  it until nothing changes.

The ledger counts records that are pending at the end of a file as received in the next file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from auditsvc.decode.batch import Batch
from auditsvc.ingest.ended_file import EndedFile
from auditsvc.ingest.load import Beside, Load, Route, show_line
from auditsvc.ingest.part import (
    HEAD,
    carry,
    count_open,
    decode_part,
    first_stamp,
    holds_more,
    is_torn,
    lead_of,
    make_part,
    may_begin_record,
    overlap,
    repeats,
    run,
    shown,
    without,
)
from auditsvc.ingest.series import FILE, KIND, Series, find_file, read_head
from auditsvc.store.write.revision import Change, Revision, Seam

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditsvc.decode.contract import Decoder
    from auditsvc.errors import RefusedError
    from auditsvc.ingest.load import _Piece
    from auditsvc.ingest.part import Part, Run
    from auditsvc.ingest.series import Heads
    from auditsvc.store import Store, WriteResult

_NOTHING: Final = Batch()


class FileLoad(Load):
    """Loads a file at its position in a series."""

    ends_events = False

    def __init__(
        self,
        store: Store,
        make_decoder: Callable[[bytes], Decoder],
        series: str,
        path: Path,
        heads: Heads,
    ) -> None:
        self.path = path
        self.series_name = series
        self._heads = heads
        self._head = read_head(path)
        self._is_stuck = False
        self._shows_torn = True
        self._opened: EndedFile | None = None
        store.source(KIND, series, is_counted=False)
        self._series = Series(store, series)
        name, self._opened = find_file(store, path, self._head, self._series)
        super().__init__(store, Route(FILE, name, self._open, make_decoder))

    def _open(self, segment: str, position: int) -> EndedFile:
        opened, self._opened = self._opened, None
        if self._undone is not None:
            if opened is not None:
                opened.close()
            opened = EndedFile(self.path, "", 0)
        self.file = opened or EndedFile(self.path, segment, position)
        return self.file

    @property
    def odd(self) -> str:
        """Number of lines and the first line, if no line of the file is a record."""
        if self.raw and self.is_first and not self.records:
            return f"{_lines(self.raw)}; the first: {self.first_raw}"
        whole = self.file.head
        if self.raw or self.records or not whole or self.file.position > len(whole):
            return ""
        if first_stamp(whole) is not None or holds_more(self._before, whole):
            return ""
        lines = [line for line in whole.split(b"\n") if line.strip()]
        if not lines or (len(lines) == 1 and may_begin_record(whole)):
            return ""
        return f"{_lines(len(lines))}; the first: {show_line(lines[0])}"

    def is_followed_by(self, head: bytes) -> bool:
        """Whether a file that begins with `head` continues what is pending here."""
        if not (self._is_last and self._has_ended):
            return False
        # Read again: the load is kept, and its lines may be megabytes.
        source = self.store.find(FILE, self._route.name)
        pending = decode_part(source.pending).state if source else b""
        return holds_more(pending, head) and not repeats(pending, head)

    # --- its position -----------------------------------------------------------------

    def _begin(self) -> None:
        self._series = Series(self.store, self.series_name)
        self._own: Part | None = None
        self._names = list(self._series.names)
        name = self._route.name
        if name in self._names:
            self._place = self._names.index(name)
            self._own = self._series.parts[name]
        else:
            self._place = self._series.place_of(self.path, self._head, self._heads)
            self._names.insert(self._place, name)
            source = self.store.find(FILE, name)
            if source is not None and source.position:
                self._own = decode_part(source.pending)
        self._before = self._left_before()
        self._again = overlap(self._before, self._head)
        self._repeats = 0
        self._undone = self._undo()
        self._is_begun = False
        self._has_ended = False
        self._settles = self._own is None or not self._own.is_settled or not self._own.series
        self._booked = 0
        if self._own is not None and self._own.series and self._own.is_settled:
            self._booked = self._book(self._own.state, is_last=self._is_last)
        super()._begin()
        if lead := self._lead():
            self._decoder.feed(lead, 0.0)
            self._origin -= len(lead)

    def _left_before(self) -> bytes:
        """Give what is pending at the end of the files before this one."""
        for name in reversed(self._names[: self._place]):
            left = self._series.parts[name].left_state
            if left is not None:
                return left
        return b""

    def _undo(self) -> Run | None:
        """Give what the file gave, if its beginning is read differently now that it has grown.

        A part of a line seemed to continue the line before it, and is a record; or the reverse.
        Or only now there is all of it that overlaps with the file before.
        """
        own = self._own
        if own is None or own.alone or not own.size:
            return None
        is_same = b"\n" in own.head or (
            lead_of(self._before, own.head) == lead_of(self._before, self._head)
        )
        if is_same and overlap(self._before, own.head) == self._again:
            return None
        source = self.store.find(FILE, self._route.name)
        if source is None or source.position != own.size:
            return None
        return run(self._make_decoder, self._before, own.head)

    @property
    def _is_last(self) -> bool:
        return self._place == len(self._names) - 1

    @staticmethod
    def _book(state: bytes, *, is_last: bool) -> int:
        """Give what a file counts as received and as open, in addition to the counts of its lines.

        The incomplete line counts if it is the last file; else what is left to the next does not.
        """
        return int(is_torn(state)) if is_last else -count_open(state)

    @property
    def _is_from_start(self) -> bool:
        return self._own is None or self._undone is not None

    def _pending(self) -> bytes:
        if self._own is None or self._undone is not None:
            return without(self._before, self._again)
        return self._own.state

    def _lead(self) -> bytes:
        return lead_of(self._before, self._head) if self._is_from_start else b""

    def finish(self) -> None:
        """End the load: there is no more input for now."""
        self.dirty |= self._settles
        self._finished = True

    # --- what goes with a batch -------------------------------------------------------

    def _beside(self, pending: bytes, open_records: int, *, final: bool) -> Beside:
        ledger: Counter[str] = Counter()
        revision = Revision()
        is_first, self._is_begun = not self._is_begun, True
        was_shown = self._take_up(ledger, revision) if is_first else None
        if final:
            booking = self._book(pending, is_last=self._is_last)
            ledger["received"] += booking - self._booked
            self._booked = booking
            open_records += booking
            self._has_ended = True
            self._decoder = self._make_decoder()  # its open events are decoded once more
            self._settle_behind(pending, was_shown, revision)
        else:
            self._show(was_shown, None, revision)
        part = make_part(
            self.series_name,
            str(self.path.absolute()),
            self._head_read(),
            pending,
            self._left(),
            is_settled=final,
        )
        if self._own is not None and self._own.alone:
            part = replace(part, alone=True)
        if is_first or final:
            assert self._series.source is not None
            after = self._series.moved(self._names)
            revision.changes.append(Change(self._series.source, after, {}))
            self._series.source = after
        return Beside(part.encode(), open_records, ledger, revision)

    def _head_read(self) -> bytes:
        head = self.file.head
        return head if self.file.position <= HEAD else head[: head.rfind(b"\n") + 1]

    def _left(self) -> bytes | None:
        """Give the state from which the next file continued; None if that was an earlier file's."""
        return None if self._own is None else self._own.left_state

    def _take_up(self, ledger: Counter[str], revision: Revision) -> bytes | None:
        """Subtract what was counted for the end so far; gives the state that is stored for it."""
        if self._undone is not None:
            seam = Seam(self._source.id, self._undone.batch, _NOTHING, -len(self._undone.lead))
            revision.seams.append(seam)
            ledger.subtract(self._undone.batch.counts)
            assert self._own is not None
            ledger["duplicate"] += self._count_again()
            ledger["duplicate"] -= len(overlap(self._before, self._own.head))
        if self._own is not None:
            ledger["received"] -= self._booked
            self._booked = 0
            is_shown = self._own.is_settled and self._own.series and self._is_last
            return self._own.state if is_shown else None
        ledger["received"] += count_open(self._before)
        ledger["duplicate"] += self._count_again()
        if not self._is_last or not self._place:
            return None
        name = self._names[self._place - 1]
        part, source = self._series.parts[name], self._series.sources[name]
        if not part.is_settled:
            return None
        less = count_open(part.state) + is_torn(part.state)
        after = replace(source, open_records=0)
        revision.changes.append(Change(source, after, {"received": -less}))
        return part.state

    def _count_again(self) -> int:
        """Give how many records of open events the file before has, too."""
        self._repeats = len(self._again)
        return self._repeats

    def _count(self, batch: Batch, result: WriteResult) -> None:
        super()._count(batch, result)
        self.duplicates += self._repeats
        self._repeats = 0

    def _show(self, old: bytes | None, new: bytes | None, revision: Revision) -> None:
        """Store what is open at the end of the log, in place of what was stored for it."""
        if old == new:
            return
        before, now = (
            _NOTHING if state is None else shown(self._make_decoder, state, torn=torn)
            for state, torn in ((old, True), (new, self._shows_torn))
        )
        revision.seams.append(Seam(self._source.id, before, now, is_shown_only=True))

    def _settle_behind(self, state: bytes, was_shown: bytes | None, revision: Revision) -> None:
        """Decode the files after this one again, until nothing changes; store what is open then."""
        if self._is_last:
            self._show(was_shown, state, revision)
            return
        left = self._left()
        old, new = self._before if left is None else left, state
        for name in self._names[self._place + 1 :]:
            if old == new or not self._series.parts[name].is_settled:
                return
            old, new = self._settle_file(name, old, new, revision)
        self._show(old, new, revision)

    def _settle_file(
        self, name: str, old: bytes, new: bytes, revision: Revision
    ) -> tuple[bytes, bytes]:
        """Decode the beginning of a file again, now that `new` is before it and not `old`.

        Gives what was pending at its end so far, and what is pending there now.
        """
        part, source = self._series.parts[name], self._series.sources[name]
        head = b"" if part.alone else part.head
        before, now = run(self._make_decoder, old, head), run(self._make_decoder, new, head)
        revision.seams.append(
            Seam(source.id, before.batch, now.batch, -len(before.lead), -len(now.lead))
        )
        is_whole = not part.alone and len(head) == source.position
        state = now.state if is_whole else carry(part.state, before.state, now.state)
        is_last = name == self._names[-1]
        counts = Counter(now.batch.counts)
        counts.subtract(before.batch.counts)
        booking = self._book(state, is_last=is_last)
        counts["received"] += count_open(new) - count_open(old)
        counts["duplicate"] += len(overlap(new, head)) - len(overlap(old, head))
        counts["received"] += booking - self._book(part.state, is_last=is_last)
        after = replace(
            source,
            pending=replace(part, state=state).encode(),
            open_records=count_open(state) + booking,
        )
        revision.changes.append(Change(source, after, counts))
        return part.state, state

    def _set_lines_aside(self, error: RefusedError, piece: _Piece) -> None:
        if self._is_stuck and not piece.size:  # no line that has ended is to blame
            if not self._shows_torn:
                raise error
            self._shows_torn = False
        self._is_stuck = not piece.size
        super()._set_lines_aside(error, piece)


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"
