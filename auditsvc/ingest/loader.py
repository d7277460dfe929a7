"""A thread that loads a log as it grows, beside the collector.

What must hold:

* While records arrive fast it waits, as long as the spool takes them: the audited tasks
  come first, then the log, then the database.
* A database that is away is waited for, also at the start; the log grows meanwhile and nothing
  is lost. So is one that is locked, read-only or of another schema.
* A database that does not answer is told within seconds, by `trouble`, which any thread may ask.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from auditsvc.errors import ForeignError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditsvc.ingest.load import Load


STAND_BACK_BYTES = 256 << 20
"""Log that may wait while the loader stands back."""


STALLED_SECONDS = 10.0
"""The store is told as one that does not answer when one step of work with it takes longer."""


_RETRY_FIRST, _RETRY_MOST = 0.5, 30.0


_NICE = 10


_LOOK = 0.5  # seconds between looks at a log that nobody announces, and at idle events


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
        """`begin` opens the store and the log (StoreError), by this thread.

        `busy` tells that records pour in, `waiting` how many bytes of log were not read.
        """
        super().__init__(name="loader", daemon=True)
        self.error: BaseException | None = None
        """What ended the thread before its time."""
        self.committed = ("", 0)
        """Segment and position up to which rows are in the store, once it was `open`."""
        self.open = False
        """Whether the store was opened by this run."""
        self.hindrance = ""
        """What keeps the store from being kept small."""
        self._trouble = ""
        self._since: float | None = None
        """When the work began that the store is asked for just now."""
        self._begin = begin
        self._load: Load | None = None
        self._batch_bytes = batch_bytes
        self._latency = latency
        self._arrived = arrived
        self._busy = busy
        self._waiting = waiting
        self._finishing = threading.Event()
        self._tried = threading.Event()
        self._refusable = True
        self._commits = 0

    @property
    def trouble(self) -> str:
        """Why the store does not take rows just now, "" if it does."""
        since = self._since
        if self._trouble or since is None or time.monotonic() - since < STALLED_SECONDS:
            return self._trouble
        return f"the store has not answered for more than {STALLED_SECONDS:g} s"

    def await_store(self, patience: float) -> None:
        """Wait until the store was tried, or for `patience` seconds.

        Raises what ended the thread: a store that was refused for what it is, up to then.
        Later that is a trouble like any other, for collecting has begun.
        """
        self._tried.wait(patience)
        self._refusable = False
        if self.error is not None:
            raise self.error
        if not self._tried.is_set():
            self._trouble = "the store has not answered yet"

    def finish(self, patience: float) -> None:
        """Load what is there, then end; waits for that.

        Gives up, and says so in `trouble`, when nothing was committed for `patience`
        seconds: a database that neither answers nor closes the connection.
        """
        self._finishing.set()
        self._arrived.set()
        while self.is_alive():
            before = self._commits
            self.join(patience)
            if self.is_alive() and self._commits == before:
                self._trouble = f"the store has not answered for {patience:g} s"
                return

    def run(self) -> None:
        """Load; an unforeseen error ends the thread and stands in `error`."""
        # Linux keeps a nice value for each thread: the collector keeps the usual one.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 (handed to the service, which ends the run)
            self.error = error
        finally:
            self._tried.set()
            self._let_go()

    def _run(self) -> None:
        pause = _RETRY_FIRST
        while True:
            try:
                if self._load is None:
                    self._open()
                assert self._load is not None
                self._pump(self._load)
            except StoreError as error:
                if self._refusable and isinstance(error, ForeignError):
                    raise
                pause = pause if self._trouble else _RETRY_FIRST
                self._trouble = str(error)
                self._tried.set()
                self._let_go()
                if self._finishing.is_set():
                    return
                self._finishing.wait(pause)  # a stop tries once more
                pause = min(pause * 2, _RETRY_MOST)
            else:
                return

    def _open(self) -> None:
        with self._asking():
            self._load = self._begin()
        self.committed = self._load.log.checkpoint()
        if not self.open:
            self._trouble = ""
        self.open = True
        self._tried.set()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Note how long the store is worked with."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def _pump(self, load: Load) -> None:
        due = 0.0
        while True:
            finishing = self._finishing.is_set()
            if not finishing:
                self._stand_back()
            self._arrived.clear()
            got = load.step()
            now = time.monotonic()
            if load.is_full(self._batch_bytes) or (load.dirty and now >= due):
                self._commit(load)
                due = time.monotonic() + self._latency
            elif not got and finishing:
                load.finish()
                if self._commit(load):
                    return
            elif not got and load.dirty:
                self._finishing.wait(due - now)
            elif not got:
                self._trouble = ""  # nothing waits
                self._relieve(load)
                self._arrived.wait(_LOOK)

    def _commit(self, load: Load) -> bool:
        with self._asking():
            done = load.commit()
        self._commits += 1
        self.committed = load.log.checkpoint()
        self._trouble = ""
        self._relieve(load)
        return done

    def _relieve(self, load: Load) -> None:
        with self._asking():
            self.hindrance = load.store.relieve()

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
