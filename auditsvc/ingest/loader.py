"""A thread that loads a log as it grows, beside the collector.

What must hold:

* While records arrive fast it waits, as long as the spool takes them: the audited tasks
  come first, then the log, then the database.
* A database that is away is waited for; the log grows meanwhile and nothing is lost.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from auditsvc.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.ingest.load import Load


STAND_BACK_BYTES = 256 << 20
"""Log that may wait while the loader stands back."""


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
        self.committed = self._load.log.checkpoint()
        self._batch_bytes = batch_bytes
        self._latency = latency
        self._arrived = arrived
        self._busy = busy
        self._waiting = waiting
        self._finishing = threading.Event()
        self._commits = 0

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
                self.trouble = f"the store has not answered for {patience:g} s"
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
                if self._finishing.is_set():
                    return
                self._finishing.wait(pause)  # a stop tries once more
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
                self._arrived.wait(_LOOK)

    def _commit(self, load: Load) -> bool:
        done = load.commit()
        self._commits += 1
        self.committed = load.log.checkpoint()
        self.trouble = ""
        return done

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
