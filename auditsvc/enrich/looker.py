"""A thread that looks up what the records of a batch do not say, so that nobody waits for it.

A lookup may take long: a directory server may let it wait, or the kernel. Whoever hands work over
(`_new_work`) goes on at once; `look` runs in this thread, when there is work and every `every`
seconds.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from auditsvc.decode.batch import Batch

DAY: Final = 86_400
_STOP_SECONDS: Final = 2.0


class Looker(threading.Thread, ABC):
    """Looks until `finish` is called."""

    def __init__(self, name: str, every: float) -> None:
        super().__init__(name=name, daemon=True)
        self.error: BaseException | None = None
        """The unexpected error that ended the thread."""
        self._every = every
        self._lock = threading.Lock()
        """Of what `seen` hands over."""
        self._wake = threading.Event()
        self._stopping = threading.Event()

    @abstractmethod
    def seen(self, batch: Batch) -> None:
        """Take a batch; the loader's thread."""

    @abstractmethod
    def look(self) -> None:
        """Look once."""

    def finish(self) -> None:
        """Record what is still to be recorded; not for long, as a lookup may not end."""
        self._stopping.set()
        self._wake.set()
        if self.is_alive():
            self.join(_STOP_SECONDS)

    def run(self) -> None:
        """Look; an unexpected error ends the thread and is kept in `error`."""
        try:
            is_last = False
            while not is_last:
                self._wake.wait(self._every)
                self._wake.clear()
                is_last = self._stopping.is_set()  # a look that begins after that sees it all
                self.look()
        except BaseException as error:  # noqa: BLE001 - handed to the service, which ends the run
            self.error = error
