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

import os
import threading
import time
from typing import TYPE_CHECKING, Protocol

from auditsvc.errors import StoreError
from auditsvc.store import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.decode.interface import Decoder
    from auditsvc.store import Store

CHUNK = 1 << 20
STAND_BACK_BYTES = 256 << 20
"""Log that may wait while the loader stands back."""

_RETRY_FIRST, _RETRY_MOST = 0.5, 30.0
_NICE = 10


class Log(Protocol):
    """What is loaded: the spool, a file that is followed, a file that has ended."""

    def read(self, limit: int) -> bytes:
        """Up to `limit` of the next bytes; b"" when there are none yet."""

    def checkpoint(self) -> tuple[str, int]:
        """Segment and position up to which `read` has come."""

    def close(self) -> None:
        """Let go of it."""


class Load:
    """One input on its way into one store: log, decoder and checkpoint in step."""

    def __init__(
        self,
        store: Store,
        source: tuple[str, str],
        make_decoder: Callable[[bytes], Decoder],
        open_log: Callable[[str, int], Log],
    ) -> None:
        """Go on from the store's checkpoint of `source` (kind, name)."""
        self.store = store
        self._source = store.source(*source)
        self._log = open_log(self._source.segment, self._source.position)
        self._decoder = make_decoder(store.secret)
        self._decoder.restore(self._source.pending, time.monotonic())
        self.unwritten = 0
        """Bytes read since the last commit."""
        self.dirty = False
        """True when a commit would change the store."""

    def step(self) -> int:
        """Read and decode once; returns how many bytes were there."""
        data = self._log.read(CHUNK)
        now = time.monotonic()
        if data:
            self._decoder.feed(data, now)
            self.unwritten += len(data)
            self.dirty = True
        was_open = self._decoder.open_records
        self._decoder.expire(now)
        self.dirty |= self._decoder.open_records != was_open
        return len(data)

    def finish(self) -> None:
        """No more will come: end the events that are open."""
        self.dirty |= self._decoder.open_records > 0
        self._decoder.finish()

    def commit(self) -> None:
        """Write the rows made so far and how far they reach."""
        if not self.dirty:
            return
        segment, position = self._log.checkpoint()
        result = self.store.write(
            self._source.id,
            self._decoder.take(),
            Checkpoint(segment, position, self._decoder.pending()),
            open_records=self._decoder.open_records,
        )
        for table, content, row_id in result.pins:
            self._decoder.pin(table, content, row_id)
        self.unwritten = 0
        self.dirty = False

    def checkpoint(self) -> tuple[str, int]:
        """Segment and position up to which the log was read."""
        return self._log.checkpoint()

    def close(self) -> None:
        """Let go of the log; the store belongs to the caller."""
        self._log.close()


class Loader(threading.Thread):
    """Loads a log that grows, until `finish` is called and its end is reached."""

    def __init__(
        self,
        begin: Callable[[], Load],
        *,
        batch_bytes: int,
        latency: float,
        arrived: threading.Event,
        busy: Callable[[], bool],
        waiting: Callable[[], int],
    ) -> None:
        """`begin` opens the store and the log (StoreError); it is called here once.

        `busy` tells that records pour in, `waiting` how many bytes of log were not read.
        """
        super().__init__(name="loader", daemon=True)
        self.trouble = ""
        """Why the store does not take rows just now, "" if it does."""
        self.error: BaseException | None = None
        """What ended the thread before its time."""
        self.committed = ("", 0)
        """Segment and position up to which rows are in the store."""
        self._begin = begin
        self._load: Load | None = begin()
        self.committed = self._load.checkpoint()
        self._batch_bytes = batch_bytes
        self._latency = latency
        self._arrived = arrived
        self._busy = busy
        self._waiting = waiting
        self._finishing = threading.Event()

    def finish(self) -> None:
        """Load what is there, then end; waits for that."""
        self._finishing.set()
        self._arrived.set()
        self.join()

    def run(self) -> None:
        """Load; an unforeseen error ends the thread and stands in `error`."""
        # Linux keeps a nice value for each thread: the collector keeps the usual one.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 (handed to the service, which ends the run)
            self.error = error
        finally:
            self._let_go()

    def _run(self) -> None:
        pause = _RETRY_FIRST
        while True:
            try:
                if self._load is None:
                    self._load = self._begin()
                self._pump(self._load)
            except StoreError as error:
                pause = pause if self.trouble else _RETRY_FIRST
                self.trouble = str(error)
                self._let_go()
                if self._finishing.wait(pause):
                    return
                pause = min(pause * 2, _RETRY_MOST)
            else:
                return

    def _pump(self, load: Load) -> None:
        due = 0.0
        while True:
            finishing = self._finishing.is_set()
            if not finishing:
                self._stand_back()
            self._arrived.clear()
            got = load.step()
            now = time.monotonic()
            if load.unwritten >= self._batch_bytes or (load.dirty and now >= due):
                load.commit()
                self.committed = load.checkpoint()
                self.trouble = ""
                due = time.monotonic() + self._latency
            elif not got:
                if finishing:
                    load.finish()
                    load.commit()
                    self.committed = load.checkpoint()
                    self.trouble = ""
                    return
                self._finishing.wait(due - now) if load.dirty else self._arrived.wait(0.5)

    def _stand_back(self) -> None:
        while self._busy() and not self._finishing.is_set():
            if self._waiting() > STAND_BACK_BYTES:
                return
            time.sleep(0.01)

    def _let_go(self) -> None:
        if self._load is not None:
            self._load.close()
            self._load.store.close()
            self._load = None
