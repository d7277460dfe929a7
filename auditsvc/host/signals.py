"""Receives signals that end or rotate a run, with their senders.

A thread receives them and waits without a timeout. Python's sigtimedwait cannot be used:
if it is interrupted and its time is then over, it returns uninitialised memory as a
siginfo, so a signal that nobody sent (Modules/signalmodule.c; SIGSTOP and then SIGCONT
can do that).
"""

from __future__ import annotations

import queue
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import FrameType

OF_RUN: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""What says to `auditsvc run` to end, to reload, or to make place for the next run."""


def block_of_run() -> None:
    """Keep these signals until `Signals` takes them; the first thing that `run` does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, OF_RUN)


@contextmanager
def alarm(seconds: float, error: BaseException) -> Iterator[None]:
    """Raise `error` in the block when it takes longer, also in a write that waits; 0: never.

    In the main thread. What waits in C without giving Python its turn is ended after that.
    """
    has_rung = threading.Event()

    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        has_rung.set()
        raise error

    if not seconds:
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except BaseException as other:
        # SQLite, in whose callback it may ring, passes on an error of its own.
        if other is error or not has_rung.is_set():
            raise
        raise error from other
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Signals:
    """Blocks the signals, for later threads too, and gives them in the order of arrival."""

    def __init__(self, numbers: Collection[signal.Signals]) -> None:
        """Block the signals; call this in the main thread before other threads are made."""
        self._numbers = numbers
        self._received: queue.SimpleQueue[signal.struct_siginfo] = queue.SimpleQueue()
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        threading.Thread(target=self._receive, name="signals", daemon=True).start()

    def wait(self, timeout: float) -> signal.struct_siginfo | None:
        """Give the next signal, or None when none arrived for `timeout` seconds."""
        try:
            return self._received.get(timeout=timeout)
        except queue.Empty:
            return None

    def _receive(self) -> None:
        while True:
            self._received.put(signal.sigwaitinfo(self._numbers))
