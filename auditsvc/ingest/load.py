"""From a log to the store: read, decode, write, and remember how far, in one transaction.

What must hold:

* Rows and checkpoint commit together. After any error or crash reading goes on from
  the last checkpoint, with the lines of the events that were open there.
* Memory is bounded by the size of a batch, whatever the input is.
* As a thread beside a collector it stands back while records pour in, as long as the
  spool takes them: the audited tasks come first, then the log, then the database.
* A database that is away is waited for; the log grows meanwhile and nothing is lost.
* No line ends it: what the database cannot hold is looked for in smaller and smaller
  batches, and goes to `raw` with the reason (`auditsvc.ingest.quarantine`).
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from auditsvc.errors import ClashError, RefusedError
from auditsvc.ingest import quarantine
from auditsvc.store import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from auditsvc.decode.batch import Batch, Row
    from auditsvc.decode.contract import Decoder
    from auditsvc.store import Store, WriteResult

CHUNK = 1 << 18
"""Bytes that are read and decoded at once. Of lines of two bytes these make 90,000 rows, all
held before anybody asks whether the batch is full."""
_SMALL: Final = 1 << 16
"""Bytes of a batch in which lines are looked for one by one."""


class Log(Protocol):
    """What is loaded: the spool, a file that is followed, a file that has ended."""

    missing: int
    """Pieces of it (segments, files) that were gone before they were read."""

    def read(self, limit: int) -> bytes:
        """Up to `limit` of the next bytes; b"" when there are none yet."""

    def checkpoint(self) -> tuple[str, int]:
        """Segment and position up to which `read` has come."""

    def origin(self) -> int:
        """A number for where reading begins that no earlier byte of the log has reached."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where lines come from and what turns them into rows."""

    kind: str
    name: str
    """With `kind` the name of the source in the store."""
    open_log: Callable[[str, int], Log]
    """Opens the log at a segment and position; ("", 0) is its beginning."""
    make_decoder: Callable[[bytes], Decoder]
    """Makes a decoder from the store's secret."""


class _Piece(NamedTuple):
    """What one transaction stores."""

    batch: Batch
    checkpoint: Checkpoint
    open_records: int
    ledger: dict[str, int]
    size: int
    """Bytes of log that it is made of."""
    finished: bool
    """True if the log ended with it."""


class Load:
    """One log on its way into one store: log, decoder and checkpoint in step."""

    def __init__(self, store: Store, route: Route) -> None:
        """Go on from the store's checkpoint."""
        self.store = store
        self.unwritten = 0
        """Bytes read since the last commit."""
        self.dirty = False
        """True when a commit would change the store."""
        self.events = 0
        """Events that are new in the store."""
        self.duplicates = 0
        """Records that were there already."""
        self._route = route
        self._pins: list[tuple[str, Row, int]] = []
        self._thread = ThreadPoolExecutor(1, "writer")  # begins with its first task
        self._writing: Future[bool] | None = None
        self._refused: tuple[RefusedError, _Piece] | None = None
        self._careful = 0
        """Bytes that a batch may have after one was refused; 0: as many as it likes."""
        self._begin()

    def _begin(self) -> None:
        self._source = self.store.source(self._route.kind, self._route.name)
        self.log = self._route.open_log(self._source.segment, self._source.position)
        self._origin = self.log.origin()
        self._decoder = self._make_decoder()
        self._decoder.restore(self._source.pending, time.monotonic())
        self._finished = False
        self._missing = 0
        self.unwritten = 0
        self.dirty = False

    def _make_decoder(self) -> Decoder:
        decoder = self._route.make_decoder(self.store.secret)
        for table, content, row_id in self._pins:
            decoder.pin(table, content, row_id)
        return decoder

    def step(self) -> int:
        """Read and decode once; returns how many bytes were there."""
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

    def is_full(self, batch_bytes: int) -> bool:
        """Whether it is time to commit: so much was read, or rows take half as much memory.

        Rows are held more than once: those being decoded, an image of them, and the same of
        the batch that is being written meanwhile.
        """
        if self._careful and self.unwritten >= self._careful:
            return True
        return self.unwritten >= batch_bytes or self._decoder.held * 2 >= batch_bytes

    def finish(self) -> None:
        """No more will come: end the events that are open, and the line that has no end."""
        self.dirty |= bool(self._decoder.pending())
        self._finished = True
        self._decoder.finish()

    def commit(self) -> bool:
        """Write the rows made so far and how far they reach.

        False if an id was taken: reading begins again at the checkpoint, with another id.
        """
        if not self._settle():
            return False
        return not self.dirty or self._written(self._write(self._cut()))

    def commit_behind(self) -> bool:
        """Do as `commit`, in a thread: reading goes on meanwhile, as far as the next call.

        False is said of the commit before; StoreError too.
        """
        if self._careful:
            return self.commit()
        piece = None
        if self.dirty:
            piece = self._cut()
            self.store.pack(piece.batch)
        if not self._settle():
            return False  # the piece goes too: it comes again
        if piece:
            self._writing = self._thread.submit(self._write, piece)
        return True

    def _cut(self) -> _Piece:
        """Take what was made since the last cut."""
        segment, position = self.log.checkpoint()
        missing = self.log.missing - self._missing
        self._missing += missing
        size, self.unwritten = self.unwritten, 0
        self.dirty = False
        return _Piece(
            batch=self._decoder.take(),
            checkpoint=Checkpoint(segment, position, self._decoder.pending()),
            open_records=self._decoder.open_records,
            ledger={"segments_missing": missing} if missing else {},
            size=size,
            finished=self._finished,
        )

    def _write(self, piece: _Piece) -> bool:
        try:
            result = self.store.write(
                self._source.id,
                piece.batch,
                piece.checkpoint,
                open_records=piece.open_records,
                ledger=piece.ledger,
                origin=self._origin,
            )
        except ClashError as error:
            self._pins += error.pins
            return False
        except RefusedError as error:
            self._refused = error, piece
            return False
        self.events += result.events
        self.duplicates += result.duplicates
        # Larger again from batch to batch.
        self._careful = 0 if self._careful > CHUNK else self._careful * 2
        return True

    def _settle(self) -> bool:
        """Wait for what is being written."""
        writing, self._writing = self._writing, None
        return writing is None or self._written(writing.result())

    def _written(self, done: bool) -> bool:
        if not done:
            self.log.close()
            self._begin()
            refused, self._refused = self._refused, None
            if refused is not None:
                self._look_for_line(*refused)
        return done

    def _look_for_line(self, error: RefusedError, piece: _Piece) -> None:
        """Go on with half of a batch that was refused; set aside its lines if it is small."""
        if piece.size > _SMALL:
            self._careful = piece.size // 2
            return
        data = b""
        while len(data) < piece.size and (more := self.log.read(piece.size - len(data))):
            data += more
        look = quarantine.Quarantine(
            quarantine.Piece(self._source.pending, data, piece.finished),
            self._make_decoder,
            self._why_not,
        )
        try:
            made = look.run(time.monotonic())
            if made is None:
                raise error
            result = self._store(made, piece.ledger)
        except ClashError as clash:  # the whole comes again, with these
            self._pins += clash.pins
        else:
            self.events += result.events
            self.duplicates += result.duplicates
        self._careful = _SMALL
        self.log.close()
        self._begin()

    def _why_not(self, made: quarantine.Made) -> str:
        try:
            self._store(made, {}, is_trial=True)
        except RefusedError as error:
            return error.what
        return ""

    def _store(
        self, made: quarantine.Made, ledger: dict[str, int], *, is_trial: bool = False
    ) -> WriteResult:
        segment, position = self.log.checkpoint()
        return self.store.write(
            self._source.id,
            made.batch,
            Checkpoint(segment, position, made.pending),
            open_records=made.open_records,
            ledger=ledger,
            origin=self._origin,
            is_trial=is_trial,
        )

    def close(self) -> None:
        """Let go of the log; the store belongs to the caller."""
        self._thread.shutdown()
        self.log.close()
