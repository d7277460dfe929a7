"""A thread that loads a growing log, while the collector runs.

Invariants:

* It pauses while the input rate is high, as long as the spool has room: the audited tasks
  have priority, then the log, then the database.
* If the database is unavailable it waits; the log grows meanwhile and nothing is lost.
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


MAX_WAITING_BYTES = 256 << 20
"""The loader does not pause if more bytes of log than this are waiting."""

_RETRY_FIRST, _RETRY_MOST = 0.5, 30.0  # seconds
_NICE = 10
_POLL = 0.5  # seconds between checks for new input without a notice, and for idle events


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

        `busy`: whether the input rate is high; `waiting`: bytes of log that were not read.
        """
        super().__init__(name="loader", daemon=True)
        self.store_error = ""
        """Why rows cannot be stored now, "" if they can."""
        self.error: BaseException | None = None
        """The unexpected error that ended the thread."""
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
        """Load the rest of the log, then end; waits until that is done.

        Stops waiting, with the reason in `store_error`, if nothing was committed for `patience`
        seconds: the database does not answer and does not close the connection.
        """
        self._finishing.set()
        self._arrived.set()
        while self.is_alive():
            before = self._commits
            self.join(patience)
            if self.is_alive() and self._commits == before:
                self.store_error = f"the store has not answered for {patience:g} s"
                return

    def run(self) -> None:
        """Load; an unexpected error ends the thread and is kept in `error`."""
        # On Linux each thread has its own nice value; the collector's stays as it is.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 (handed to the service, which ends the run)
            self.error = error
        finally:
            self._close()

    def _run(self) -> None:
        pause = _RETRY_FIRST
        while True:
            try:
                if self._load is None:
                    self._load = self._begin()
                self._pump(self._load)
            except StoreError as error:
                pause = pause if self.store_error else _RETRY_FIRST
                self.store_error = str(error)
                self._close()
                if self._finishing.is_set():
                    return
                self._finishing.wait(pause)  # when stopping, try once more
                pause = min(pause * 2, _RETRY_MOST)
            else:
                return

    def _pump(self, load: Load) -> None:
        due = 0.0
        while True:
            finishing = self._finishing.is_set()
            if not finishing:
                self._pause_while_busy()
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
                self._arrived.wait(_POLL)

    def _commit(self, load: Load) -> bool:
        done = load.commit()
        self._commits += 1
        self.committed = load.log.checkpoint()
        self.store_error = ""
        return done

    def _pause_while_busy(self) -> None:
        while self._busy() and not self._finishing.is_set():
            if self._waiting() > MAX_WAITING_BYTES:
                return
            time.sleep(0.01)

    def _close(self) -> None:
        if self._load is not None:
            self._load.close()
            self._load.store.close()
            self._load = None
