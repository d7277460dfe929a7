"""A thread that loads a growing log, while the collector runs.

Invariants:

* It pauses while the input rate is high, as long as the spool has room: the audited tasks
  have priority, then the log, then the database.
* While the input rate is high it settles (`Store.settle`) only what is very much.
* If the database is unavailable, locked, read-only or of another schema, it waits, also at the
  start; the log grows meanwhile and nothing is lost.
* If the database does not answer, `store_error` says so within seconds, to any thread.
* It has no capabilities, apart from those that its log needs: it decodes what attackers wrote.
* What a store needs beside rows (`auditsvc.retention.upkeep`) is done between two commits.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from auditsvc.errors import ForeignError, StoreError
from auditsvc.host.capabilities import drop_in_thread
from auditsvc.host.priority import give_way

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from auditsvc.host.capabilities import Capability
    from auditsvc.ingest.load import Load
    from auditsvc.retention.upkeep import Upkeep
    from auditsvc.store import Store


MAX_WAITING_BYTES = 256 << 20
"""The loader does not pause if more bytes of log than this are waiting."""


STALLED_SECONDS = 10.0
"""The store counts as one that does not answer if a single step of work takes longer."""

_RETRY_FIRST, _RETRY_MOST = 0.5, 30.0  # seconds
_SHORT = 0.02  # seconds between two steps of upkeep
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
        upkeep: Upkeep,
        beside: Callable[[Store, bool], None] | None = None,
        keeps: Collection[Capability] = (),
    ) -> None:
        """`begin` opens the store and the log (StoreError), by this thread.

        `beside` is called between two commits, and with True after the last one (StoreError).
        `busy`: whether the input rate is high; `waiting`: bytes of log that were not read.
        `keeps`: capabilities of the thread, which has no others.
        """
        super().__init__(name="loader", daemon=True)
        self.error: BaseException | None = None
        """The unexpected error that ended the thread."""
        self.committed = ("", 0)
        """Segment and position up to which rows are in the store; valid if `open`."""
        self.open = False
        """Whether the store was opened by this run."""
        self.hindrance = ""
        """Why the store's file cannot be kept small now, "" if it can."""
        self.beat = time.monotonic()
        """When it last came to look for log, or began to wait for the store."""
        self.commits = 0
        """Transactions that were committed."""
        self.gaps = 0
        """Serials that were not seen, since the start."""
        self._gaps_before = 0
        self._store_error = ""
        self._since: float | None = None
        """When the current work with the store began; None without any."""
        self._begin = begin
        self._load: Load | None = None
        self._batch_bytes = batch_bytes
        self._latency = latency
        self._arrived = arrived
        self._busy = busy
        self._waiting = waiting
        self._upkeep = upkeep
        self._beside = beside
        self._keeps = keeps
        self._finishing = threading.Event()
        self._leaving = threading.Event()
        self._tried = threading.Event()
        self._refusable = True

    @property
    def store_error(self) -> str:
        """Why rows cannot be stored now, "" if they can."""
        since = self._since
        if self._store_error or since is None or time.monotonic() - since < STALLED_SECONDS:
            return self._store_error
        return f"the store has not answered for more than {STALLED_SECONDS:g} s"

    @property
    def asks(self) -> bool:
        """Whether it waits for the store now."""
        return self._since is not None

    @property
    def tried(self) -> bool:
        """Whether the store was opened or failed to open, or the thread has ended."""
        return self._tried.is_set()

    def await_store(self, patience: float) -> None:
        """Wait until the store was opened or failed to open, for at most `patience` seconds.

        Raises the error that ended the thread: up to now, a foreign store is refused. Later
        that is an error like others, as collecting has begun.
        """
        self._tried.wait(patience)
        self._refusable = False
        if self.error is not None:
            raise self.error
        if not self._tried.is_set():
            self._store_error = "the store has not answered yet"

    def finish(self, patience: float, longest: float = math.inf) -> None:
        """Load the rest of the log, then end; waits until that is done.

        Stops waiting, with the reason in `store_error`, if nothing was committed for `patience`
        seconds: the database does not answer and does not close the connection. After `longest`
        seconds it ends as `leave` does: much was waiting.
        """
        self._finishing.set()
        self._arrived.set()
        since = time.monotonic()
        ends, commits = since + longest, self.commits
        while True:
            self.join(max(0.0, min(since + patience, ends) - time.monotonic()))
            now = time.monotonic()
            if not self.is_alive():
                return
            if self.commits != commits:
                since, commits = now, self.commits
            elif now >= since + patience:
                self._store_error = f"the store has not answered for {patience:g} s"
                return
            if now >= ends:
                self.leave(min(patience, STALLED_SECONDS))
                ends = math.inf

    def leave(self, patience: float) -> None:
        """End after the current transaction; what is not loaded then is for the next run."""
        self._leaving.set()
        self._finishing.set()
        self._arrived.set()
        self.join(patience)

    def run(self) -> None:
        """Load; an unexpected error ends the thread and is kept in `error`."""
        give_way()  # the collector's thread does not
        try:
            drop_in_thread(self._keeps)
            self._run()
        except BaseException as error:  # noqa: BLE001 (handed to the service, which ends the run)
            self.error = error
        finally:
            self._tried.set()
            self._close()

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
                pause = pause if self._store_error else _RETRY_FIRST
                was_well = self._load is not None and not self._store_error
                self._store_error = str(error)
                self._tried.set()
                self._close()
                if self._finishing.is_set():
                    # Perhaps it was only this connection: opened anew, it may go on.
                    if was_well and not self._leaving.is_set():
                        continue
                    return
                self._finishing.wait(pause)  # when stopping, try once more
                pause = min(pause * 2, _RETRY_MOST)
            else:
                return

    def _open(self) -> None:
        with self._asking():
            self._load = self._begin()
        self.committed = self._load.log.checkpoint()
        if not self.open:
            self._store_error = ""
        self.open = True
        self._tried.set()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Record when a step of work with the store begins."""
        self._since = self.beat = time.monotonic()
        try:
            yield
        finally:
            self.beat = time.monotonic()
            self._since = None

    def _pump(self, load: Load) -> None:
        due = 0.0
        while True:
            if self._leaving.is_set():
                with suppress(StoreError):  # what was asked for is its end
                    self._do_beside(load, is_last=True)
                return
            self.beat = time.monotonic()
            finishing = self._finishing.is_set()
            if not finishing:
                self._pause_while_busy()
            self._arrived.clear()
            got = load.step()
            now = time.monotonic()
            if load.is_full(self._batch_bytes) or (load.dirty and now >= due):
                self._commit(load)
                if not finishing:
                    self._keep_up(load, is_idle=False)
                due = time.monotonic() + self._latency
            elif not got and finishing:
                load.finish()
                if self._commit(load):
                    self._do_beside(load, is_last=True)
                    return
            elif not got and load.dirty:
                self._finishing.wait(due - now)
            elif not got:
                self._store_error = ""  # nothing waits
                self._settle(load)
                self._relieve(load)
                more = self._keep_up(load, is_idle=True)
                self._arrived.wait(_SHORT if more else _POLL)

    def _commit(self, load: Load) -> bool:
        with self._asking():
            done = load.commit()
        self.commits += 1
        self.gaps = self._gaps_before + load.gap
        self.committed = load.log.checkpoint()
        self._store_error = ""
        self._settle(load)
        self._relieve(load)
        return done

    def _settle(self, load: Load) -> None:
        with self._asking():
            load.store.settle(is_busy=self._busy())

    def _relieve(self, load: Load) -> None:
        with self._asking():
            self.hindrance = load.store.relieve()

    def _do_beside(self, load: Load, *, is_last: bool) -> None:
        if self._beside is not None:
            with self._asking():
                self._beside(load.store, is_last)

    def _keep_up(self, load: Load, *, is_idle: bool) -> bool:
        self._do_beside(load, is_last=False)
        with self._asking():
            return self._upkeep.step(load.store, is_idle=is_idle)

    def _pause_while_busy(self) -> None:
        while self._busy() and not self._finishing.is_set():
            if self._waiting() > MAX_WAITING_BYTES:
                return
            self.beat = time.monotonic()
            time.sleep(0.01)

    def _close(self) -> None:
        if self._load is not None:
            self._gaps_before += self._load.gap
            self._load.close()
            self._load.store.close()
            self._load = None
