"""The archive of `run`: a pass now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from auditsvc import arrow
from auditsvc.plural import counted
from auditsvc.service.passes import Passes
from auditsvc.store import open_store

if TYPE_CHECKING:
    from auditsvc.config import Settings

log = structlog.get_logger()

_FIRST_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 600.0


class Archiving(Passes):
    """Makes passes from `start` to `finish`."""

    def __init__(
        self, settings: Settings, *, first: float = _FIRST_SECONDS, every: float = _LOOK_SECONDS
    ) -> None:
        """`first`, `every`: seconds until the first pass, and between two."""
        super().__init__("archive", first=first, every=every)
        self._settings = settings

    def make_pass(self) -> None:
        """See `Passes`."""
        made = arrow.use("auditsvc.archive.job")
        with open_store(self._settings.store, create=False) as store:
            job = made.Job(store.database, self._settings)
            if not self.take(job.steps()):
                return
        if job.events:
            events, days = sum(job.events.values()), counted(len(job.events), "day")
            log.info("archived", days=days, events=events, bytes=job.bytes)
        if job.dropped:
            log.info("deleted from the archive", days=len(job.dropped))
