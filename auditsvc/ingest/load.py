"""Loads a log into the store: read, decode, write rows and checkpoint in one transaction.

Invariants:

* Rows and checkpoint commit together. After any error or crash, reading continues from the
  last checkpoint, with the lines of the events that were open there.
* Memory is bounded by the size of a batch, for any input.
* No line stops the load: a line that the database cannot store is searched for in smaller
  and smaller batches, and is kept in `raw` with the reason (`auditsvc.ingest.quarantine`).
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from auditsvc.decode.batch import pieces_of
from auditsvc.errors import ClashError, RefusedError
from auditsvc.host.memory import give_back, keep_apart, resident
from auditsvc.ingest import quarantine
from auditsvc.store import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from auditsvc.decode.batch import Batch, Row
    from auditsvc.decode.contract import Decoder
    from auditsvc.store import Store, WriteResult
    from auditsvc.store.write.revision import Revision

CHUNK = 1 << 18
"""Bytes that are read and decoded at once. With lines of two bytes these are 90,000 rows, all
in memory before it is checked whether the batch is full."""
_SMALL: Final = 1 << 16
"""Largest size in bytes of a batch in which single lines are searched."""
_LARGE: Final = 1 << 23
"""Bytes of rows that are more than a batch and a chunk usually have: some event is very long."""
_LONG_OPEN: Final = 1 << 20
"""Bytes of open events that are more than a log usually has. Their texts leave gaps of all sizes in
memory, which together are as much as is in use."""
_MUCH: Final = 150 << 20
"""Bytes of memory above which gaps between rows of very many lengths are given back, which would
grow with the log. Only of logs that have such rows, as it takes time."""
_SHOWN: Final = 100
"""Bytes of a line that a message shows."""


class Log(Protocol):
    """A log to load: the spool, a file that is followed, or a file that no longer grows."""

    missing: int
    """Segments or files of it that were deleted before they were read."""

    def read(self, limit: int) -> bytes:
        """Give up to `limit` of the next bytes; b"" when there are none yet."""

    def checkpoint(self) -> tuple[str, int]:
        """Give the segment and position up to which the log was read."""

    def origin(self) -> int:
        """Give the position of the next byte as one number, greater than for all bytes before."""

    def close(self) -> None:
        """Close the log."""


@dataclass(frozen=True, slots=True)
class Route:
    """The source of lines, and the decoder for them."""

    kind: str
    name: str
    """With `kind`, identifies the source in the store."""
    open_log: Callable[[str, int], Log]
    """Opens the log at a segment and position; ("", 0) is its beginning."""
    make_decoder: Callable[[bytes], Decoder]
    """Makes a decoder from the store's secret."""


class Beside(NamedTuple):
    """What goes with a batch into its transaction."""

    pending: bytes
    """What the source keeps beside its position."""
    open_records: int
    ledger: Mapping[str, int] = {}
    """What the source counts beside the batch's own counts."""
    revision: Revision | None = None


class _Piece(NamedTuple):
    """The content of one transaction."""

    batch: Batch
    segment: str
    position: int
    beside: Beside
    missing: int
    size: int
    """Bytes of log in it."""
    finished: bool
    """True if all events were ended with it."""

    @property
    def is_long_open(self) -> bool:
        """Whether the events that are open after it are long."""
        return len(self.beside.pending) > _LONG_OPEN


class Load:
    """Loads one log into one store, from the store's checkpoint on."""

    ends_events = True
    """Whether the end of the log is the end of its open events."""

    def __init__(
        self,
        store: Store,
        route: Route,
        *,
        settles: bool = True,
        seen: Callable[[Batch], None] | None = None,
    ) -> None:
        """Open the log at the store's checkpoint.

        `settles`: settle what was written (`Store.settle`) when it is due; else the caller does.
        `seen`: called with each batch before it is written, by the thread that reads.
        """
        self.store = store
        self.unwritten = 0
        """Bytes read since the last commit."""
        self.dirty = False
        """Whether a commit would change the store."""
        self.events = 0
        """Events that are new in the store."""
        self.duplicates = 0
        """Records that were already in the store."""
        self.records = 0
        """Lines that were records."""
        self.gap = 0
        """Serials that were not seen; can decrease when a late one comes."""
        self.raw = 0
        """Lines that were none, or could not be stored."""
        self.first_raw = ""
        """What the first of these was."""
        self.raw_before = ""
        """What such a line was that began before the log: a piece of one that went before."""
        self._route = route
        self._settles = settles
        self._seen = seen
        self._pins: list[tuple[str, Row, int]] = []
        self._thread = ThreadPoolExecutor(1, "writer")  # begins with its first task
        self._writing: Future[bool] | None = None
        self._refused: tuple[RefusedError, _Piece] | None = None
        self._large = _LARGE
        self._is_long_open = False
        self._is_tight = False
        """Whether it once took much memory for rows of very many lengths."""
        self._careful = 0
        """Largest size in bytes of a batch after one was refused; 0: no limit."""
        self._begin()
        self.is_first = not self._source.position
        """True if nothing of the log was read before."""

    def _begin(self) -> None:
        self._source = self.store.source(self._route.kind, self._route.name)
        self.log = self._route.open_log(self._source.segment, self._source.position)
        self._origin = self.log.origin()
        self._decoder = self._make_decoder()
        self._decoder.restore(self._pending(), time.monotonic())
        self._finished = False
        self._missing = 0
        self.unwritten = 0
        self.dirty = False

    def _pending(self) -> bytes:
        """Give what the decoder has pending where reading begins."""
        return self._source.pending

    def _beside(self, pending: bytes, open_records: int, *, final: bool) -> Beside:
        """Give what goes with the next batch; `pending` is the decoder's, `final`: the log ends."""
        del final
        return Beside(pending, open_records)

    def _make_decoder(self) -> Decoder:
        decoder = self._route.make_decoder(self.store.secret)
        for table, content, row_id in self._pins:
            decoder.pin(table, content, row_id)
        return decoder

    def step(self) -> int:
        """Read and decode once; gives the number of bytes that were read."""
        room = max(1, self._careful - self.unwritten) if self._careful else CHUNK
        data = self.log.read(min(CHUNK, room))
        now = time.monotonic()
        if data:
            self._decoder.feed(data, now)
            self.unwritten += len(data)
            self.dirty = True
        was_open = self._decoder.open_records
        self._decoder.expire(now)
        self.dirty |= self._decoder.open_records != was_open
        return len(data)

    def is_full(self, batch_bytes: int, *, times: int = 1) -> bool:
        """Whether to commit: `times` so many bytes were read, or the rows have half as many.

        Rows are in memory several times: those of this batch and their image, and the same of
        the batch that is being written at the same time. Long open events are there beside them.
        """
        if self._is_long_open or self._is_tight:
            times = 1
        most = batch_bytes * (1 + times) // 4
        self._large = max(_LARGE, most + batch_bytes // 4)
        if self._careful and self.unwritten >= self._careful:
            return True
        return self.unwritten >= batch_bytes * times or self._decoder.held >= most

    @property
    def _is_large(self) -> bool:
        return self._decoder.held > self._large

    def make_room(self) -> bool:
        """Before the end: if the open events are long, commit without them what was made so far.

        Else both would be in memory at once. False as of `commit`.
        """
        return len(self._decoder.pending()) <= _LONG_OPEN or self.commit()

    def finish(self) -> None:
        """End the open events and the incomplete line, at the end of the input."""
        self.dirty |= bool(self._decoder.pending())
        self._finished = True
        self._decoder.finish()

    def commit(self) -> bool:
        """Write the rows made so far, with the checkpoint.

        False if an id was already used: reading starts again at the checkpoint, with another id.
        """
        if not self._wait_for_write():
            return False
        if not self.dirty:
            return True
        is_large = self._is_large
        done = self._write(self._cut())
        if is_large:
            give_back()
        return self._written(done)

    def commit_behind(self) -> bool:
        """Commit in a thread, while reading continues until the next call.

        False and StoreError, as of `commit`, are about the commit before.
        """
        if self._careful or self._is_large:
            return self.commit()  # of so many rows there is no room for two batches
        piece = None
        if self.dirty:
            piece = self._cut()
            self.store.pack(piece.batch)
        if not self._wait_for_write():
            return False  # the piece is dropped; its lines are read again
        if piece:
            self._writing = self._thread.submit(self._write, piece)
        return True

    def _cut(self) -> _Piece:
        """Take the rows made since the last call, with their checkpoint."""
        segment, position = self.log.checkpoint()
        missing = self.log.missing - self._missing
        self._missing += missing
        size, self.unwritten = self.unwritten, 0
        self.dirty = False
        batch = self._decoder.take()
        if self._seen is not None:
            self._seen(batch)
        pending, open_records = self._decoder.pending(), self._decoder.open_records
        piece = _Piece(
            batch=batch,
            segment=segment,
            position=position,
            beside=self._beside(pending, open_records, final=self._finished),
            missing=missing,
            size=size,
            finished=self._finished and self.ends_events,
        )
        self._is_long_open = piece.is_long_open
        return piece

    def _write(self, piece: _Piece) -> bool:
        try:
            result = self._store(piece)
        except ClashError as error:
            self._pins += error.pins
            return False
        except RefusedError as error:
            self._refused = error, piece
            return False
        self._count(piece.batch, result)
        self._is_tight = self._is_tight or (resident() > _MUCH and _is_scattered(piece.batch))
        if piece.is_long_open or self._is_tight:
            keep_apart()
            self.store.database.let_go()
            give_back()
        if self._settles:
            while self.store.settle():
                pass
        # Larger again from batch to batch.
        self._careful = 0 if self._careful > CHUNK else self._careful * 2
        return True

    def _count(self, batch: Batch, result: WriteResult) -> None:
        self.events += result.events
        self.duplicates += result.duplicates
        lines = [show_line(line, reason) for _, line, reason in batch.raw[:1]]
        raw = batch.counts.get("raw", 0)
        self.records += batch.counts.get("received", 0) - raw
        if lines and self._origin + batch.raw[0][0] < 0:
            self.raw_before = lines[0]
            raw -= 1
            lines = [show_line(line, reason) for _, line, reason in batch.raw[1:2]]
        if lines and not self.raw:
            self.first_raw = lines[0]
        self.raw += raw
        self.gap += batch.counts.get("gap", 0)

    def _wait_for_write(self) -> bool:
        """Wait until the batch in the thread is written; gives whether it was."""
        writing, self._writing = self._writing, None
        return writing is None or self._written(writing.result())

    def _written(self, done: bool) -> bool:
        if not done:
            self.log.close()
            self._begin()
            refused, self._refused = self._refused, None
            if refused is not None:
                self._set_lines_aside(*refused)
        return done

    def _set_lines_aside(self, error: RefusedError, piece: _Piece) -> None:
        """Continue with half of a refused batch; if it is small, set its bad lines aside."""
        if piece.size > _SMALL:
            self._careful = piece.size // 2
            return
        data = b""
        while len(data) < piece.size and (more := self.log.read(piece.size - len(data))):
            data += more
        search = quarantine.Quarantine(
            quarantine.Piece(self._pending(), self._lead() + data, piece.finished),
            self._make_decoder,
            self._refusal,
        )
        try:
            found = search.run(time.monotonic())
            if found is None:
                raise error
            result = self._store(self._piece_of(found, piece.missing))
        except ClashError as clash:  # the batch is read again, with these ids
            self._pins += clash.pins
        else:
            self._count(found.batch, result)
        self._careful = _SMALL
        self.log.close()
        self._begin()

    def _lead(self) -> bytes:
        """Give what the decoder was fed before the first byte of the log."""
        return b""

    def _refusal(self, found: quarantine.Salvaged) -> str:
        try:
            self._store(self._piece_of(found, None), is_trial=True)
        except RefusedError as error:
            return error.what
        return ""

    def _piece_of(self, found: quarantine.Salvaged, missing: int | None) -> _Piece:
        """Give what is stored of lines that were looked through; `missing` None: only tried."""
        beside = Beside(found.pending, found.open_records)
        if missing is not None:
            beside = self._beside(found.pending, found.open_records, final=False)
        segment, position = self.log.checkpoint()
        return _Piece(found.batch, segment, position, beside, missing or 0, 0, finished=False)

    def _store(self, piece: _Piece, *, is_trial: bool = False) -> WriteResult:
        beside = piece.beside
        missing = {"segments_missing": piece.missing} if piece.missing else {}
        return self.store.write(
            self._source.id,
            piece.batch,
            Checkpoint(piece.segment, piece.position, beside.pending),
            open_records=beside.open_records,
            ledger={**beside.ledger, **missing},
            origin=self._origin,
            is_trial=is_trial,
            revision=beside.revision,
        )

    def close(self) -> None:
        """Close the log; the store belongs to the caller."""
        self._thread.shutdown()
        self.log.close()


def _is_scattered(batch: Batch) -> bool:
    """Whether most calls have a context of their own, as if each were another process's."""
    contexts = sum(map(len, pieces_of(batch.dimensions, "context")))
    return contexts * 2 > batch.facts.count


def show_line(line: bytes, reason: str = "not a record") -> str:
    """Show a line that is no record, in a message."""
    text = line[:_SHOWN].decode(errors="surrogateescape")
    text = f"'{text}...'" if len(line) > _SHOWN else f"'{text}'"
    return {"not a record": text}.get(reason, f"{text} ({reason})" if line else reason)
