"""The archive of `run`: a thread that makes a pass now and then.

It reads the store by a connection of its own and uploads files, which may take minutes: the
loader waits for none of this, except for the short transactions that note what was archived.
An error is kept in `problem`, and the next pass tries again. Nothing of Arrow is imported
before a pass begins.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc import arrow
from auditsvc.errors import AuditsvcError
from auditsvc.plural import counted
from auditsvc.store import open_store

if TYPE_CHECKING:
    from auditsvc.config import Settings

log = structlog.get_logger()

_NICE: Final = 10
_FIRST_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 600.0
_LEAST_PAUSE: Final = 0.03
_STOP_SECONDS: Final = 10.0


class Archiving(threading.Thread):
    """Makes passes from `start` to `finish`."""

    def __init__(
        self, settings: Settings, *, first: float = _FIRST_SECONDS, every: float = _LOOK_SECONDS
    ) -> None:
        """`first`, `every`: seconds until the first pass, and between two."""
        super().__init__(name="archive", daemon=True)
        self.problem = ""
        """Why nothing can be archived, "" if it can."""
        self._settings = settings
        self._first, self._every = first, every
        self._stopping = threading.Event()

    def run(self) -> None:
        """Make passes until `finish`."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        pause = self._first
        while not self._stopping.wait(pause):
            pause = self._every
            try:
                self._pass()
            except AuditsvcError as error:
                self.problem = str(error)
            except Exception as error:  # noqa: BLE001 - a thread that ended would archive no more, unseen
                self.problem = f"archive: {type(error).__name__}: {error}"
            else:
                self.problem = ""

    def _pass(self) -> None:
        made = arrow.use("auditsvc.archive.job")
        with open_store(self._settings.store, create=False) as store:
            job = made.Job(store.database, self._settings)
            begun = time.monotonic()
            for _ in job.steps():
                if self._stopping.wait(max(_LEAST_PAUSE, (time.monotonic() - begun) / 2)):
                    return
                begun = time.monotonic()
        if job.events:
            events, days = sum(job.events.values()), counted(len(job.events), "day")
            log.info("archived", days=days, events=events, bytes=job.bytes)
        if job.dropped:
            log.info("deleted from the archive", days=len(job.dropped))

    def finish(self) -> None:
        """End, after the step that is just done."""
        self._stopping.set()
        if self.is_alive():
            self.join(_STOP_SECONDS)
