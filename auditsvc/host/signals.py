"""Signals that end or rotate a run, with who sent them.

They are taken by a thread that waits without a timeout: Python's sigtimedwait gives the
siginfo that happens to lie on its stack, and so a signal that nobody sent, when it is
interrupted and its time is over (Modules/signalmodule.c; every SIGSTOP and SIGCONT of
some length does that).
"""

from __future__ import annotations

import queue
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import FrameType


@contextmanager
def alarm(seconds: float, error: BaseException) -> Iterator[None]:
    """Raise `error` in the block when it takes longer, also in a write that waits; 0: never.

    In the main thread. What waits in C without giving Python its turn is ended after that.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise error

    if not seconds:
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Signals:
    """Blocks the signals, for threads made later too, and hands them over in their order."""

    def __init__(self, numbers: Collection[signal.Signals]) -> None:
        """Begin; make it in the main thread before any other."""
        self._numbers = numbers
        self._came: queue.SimpleQueue[signal.struct_siginfo] = queue.SimpleQueue()
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        threading.Thread(target=self._take, name="signals", daemon=True).start()

    def wait(self, timeout: float) -> signal.struct_siginfo | None:
        """Give the next signal, or None when none came for `timeout` seconds."""
        try:
            return self._came.get(timeout=timeout)
        except queue.Empty:
            return None

    def _take(self) -> None:
        while True:
            self._came.put(signal.sigwaitinfo(self._numbers))
