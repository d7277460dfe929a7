"""A thread of `run` that makes a pass over the store now and then: the archive's, the fleet's.

It reads the store by a connection of its own and uploads files, which may take minutes: the loader
waits for none of this, except for the short transactions that note what was done. An error is kept
in `problem`, and a later pass tries again. What a pass needs is imported when it begins.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from auditsvc.errors import AuditsvcError
from auditsvc.host.priority import give_way

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST_PAUSE: Final = 0.03
_STOP_SECONDS: Final = 10.0


class Passes(threading.Thread):
    """Makes passes from `start` to `finish`; `make_pass` is the subclass's."""

    def __init__(self, name: str, *, first: float, every: float, rest: float = 0.5) -> None:
        """`first`, `every`: seconds until the first pass, and between two.

        `rest`: of the CPU time of a step, this part is a pause after it. A thread that gives way
        takes longer where others work, which is pause enough.
        """
        super().__init__(name=name, daemon=True)
        self.problem = ""
        """Why nothing can be done, "" if it can."""
        self._first, self._every, self._rest = first, every, rest
        self._failures = 0
        self._stopping = threading.Event()

    def make_pass(self) -> None:
        """Make one pass; AuditsvcError."""
        raise NotImplementedError

    def after_failure(self, failures: int) -> float:
        """Give the seconds until the next pass after so many that failed."""
        del failures
        return self._every

    def run(self) -> None:
        """Make passes until `finish`."""
        give_way()
        pause = self._first
        while not self._stopping.wait(pause):
            try:
                self.make_pass()
            except AuditsvcError as error:
                self.problem = str(error)
            except Exception as error:  # noqa: BLE001 - a thread that ended would do no more, unseen
                self.problem = f"{self.name}: {type(error).__name__}: {error}"
            else:
                self.problem = ""
            self._failures = self._failures + 1 if self.problem else 0
            pause = self.after_failure(self._failures) if self.problem else self._every

    def take(self, steps: Iterator[None]) -> bool:
        """Take steps, with pauses; False if the thread is to end first."""
        begun = time.thread_time()
        for _ in steps:
            pause = max(_LEAST_PAUSE, (time.thread_time() - begun) * self._rest)
            if self._stopping.wait(pause):
                return False
            begun = time.thread_time()
        return True

    def finish(self) -> None:
        """End, after the step that is just done."""
        self._stopping.set()
        if self.is_alive():
            self.join(_STOP_SECONDS)
