"""A task that makes one cheap system call after another, each with its number in it.

The call is getpgid(FIRST + n): it only reads, and no process has such a high number, so it
returns ESRCH at once. Its record has n (as a0), and a page shared with the task has the
times when call n began and ended by CLOCK_MONOTONIC. So it is known for each call whether
it has a record, and when it was made: the time in a record is only exact to a jiffy.

The task reads the clock to keep its rate (no system call on usual hardware) and ends after
LIMIT calls, so that it does not run much longer than the process that started it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

CALL: Final = "getpgid"
FIRST: Final = 1 << 30
"""Above every pid (PID_MAX_LIMIT is 2^22) and within pid_t."""
PERIOD_NS: Final = 50_000
LIMIT: Final = 100_000
"""Calls; they take five seconds."""

_SLOT: Final = 2  # begin and end of one call, i64 nanoseconds each
_STOP, _COUNT, _CALLS = 0, 1, 2  # words of the page


class Probe:
    """A forked task that makes calls until `stop`; as a context manager, ends with it."""

    def __init__(self) -> None:
        """Fork it: it has the audit flag if any task forked now has it."""
        self._page = mmap.mmap(-1, (_CALLS + _SLOT * LIMIT) * 8)
        self._words = memoryview(self._page).cast("q")
        self._running = True
        self.pid = os.fork()
        if self.pid == 0:
            self._run_task()

    def _run_task(self) -> None:
        """Never returns: no code of the program that forked may run twice."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            _call(self._words)
        finally:
            os._exit(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def calls(self) -> int:
        """Calls that have begun; they are numbered from 0."""
        return self._words[_COUNT]

    def began(self, number: int) -> int:
        """When a call began, CLOCK_MONOTONIC in nanoseconds."""
        return self._words[_CALLS + _SLOT * number]

    def ended(self, number: int) -> int:
        """When a call ended; 0 if it has not."""
        return self._words[_CALLS + _SLOT * number + 1]

    def stop(self) -> int:
        """End the task after its current call; gives the number of its calls."""
        if self._running:
            self._running = False
            self._words[_STOP] = 1
            os.waitpid(self.pid, 0)
        return self.calls


def _call(words: memoryview) -> None:
    due = 0
    for number in range(LIMIT):
        while (now := time.monotonic_ns()) < due:
            if words[_STOP]:
                return
        if words[_STOP]:
            return
        due = now + PERIOD_NS
        slot = _CALLS + _SLOT * number
        words[slot] = now
        words[_COUNT] = number + 1
        with contextlib.suppress(ProcessLookupError):
            os.getpgid(FIRST + number)
        words[slot + 1] = time.monotonic_ns()
