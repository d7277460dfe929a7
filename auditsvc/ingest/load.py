"""From a log to the store: read, decode, write, and remember how far, in one transaction.

What must hold:

* Rows and checkpoint commit together. After any error or crash reading goes on from
  the last checkpoint, with the lines of the events that were open there.
* Memory is bounded by the size of a batch, whatever the input is.
* As a thread beside a collector it stands back while records pour in, as long as the
  spool takes them: the audited tasks come first, then the log, then the database.
* A database that is away is waited for; the log grows meanwhile and nothing is lost.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from auditsvc.errors import ClashError
from auditsvc.store import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from auditsvc.decode.batch import Batch, Row
    from auditsvc.decode.contract import Decoder
    from auditsvc.store import Store

CHUNK = 1 << 18
"""Bytes that are read and decoded at once. Of lines of two bytes these make 90,000 rows, all
held before anybody asks whether the batch is full."""


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
        self._begin()

    def _begin(self) -> None:
        self._source = self.store.source(self._route.kind, self._route.name)
        self.log = self._route.open_log(self._source.segment, self._source.position)
        self._origin = self.log.origin()
        self._decoder = self._route.make_decoder(self.store.secret)
        for table, content, row_id in self._pins:
            self._decoder.pin(table, content, row_id)
        self._decoder.restore(self._source.pending, time.monotonic())
        self._missing = 0
        self.unwritten = 0
        self.dirty = False

    def step(self) -> int:
        """Read and decode once; returns how many bytes were there."""
        data = self.log.read(CHUNK)
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
        return self.unwritten >= batch_bytes or self._decoder.held * 2 >= batch_bytes

    def finish(self) -> None:
        """No more will come: end the events that are open, and the line that has no end."""
        self.dirty |= bool(self._decoder.pending())
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
        self.unwritten = 0
        self.dirty = False
        return _Piece(
            batch=self._decoder.take(),
            checkpoint=Checkpoint(segment, position, self._decoder.pending()),
            open_records=self._decoder.open_records,
            ledger={"segments_missing": missing} if missing else {},
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
        self.events += result.events
        self.duplicates += result.duplicates
        return True

    def _settle(self) -> bool:
        """Wait for what is being written."""
        writing, self._writing = self._writing, None
        return writing is None or self._written(writing.result())

    def _written(self, done: bool) -> bool:
        if not done:
            self.log.close()
            self._begin()
        return done

    def close(self) -> None:
        """Let go of the log; the store belongs to the caller."""
        self._thread.shutdown()
        self.log.close()
