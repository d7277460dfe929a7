"""Pruning by `run`: single steps of a job in the loader's thread, between two commits.

Invariants: the loader is never kept longer than one step takes, which is short; while rows
wait to be stored, steps have only a share of the time; during a burst, in which the loader
pauses, there are none. An error of pruning is no error of loading: it is kept in `problem`, and
the next look tries again.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.errors import AuditsvcError, SupersededError
from auditsvc.plural import counted
from auditsvc.retention.job import Job, is_due, note_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditsvc.config import RetentionSettings
    from auditsvc.store import Store
    from auditsvc.store.database import Database

log = structlog.get_logger()

_LOOK_SECONDS: Final = 600.0
_FIRST_LOOK_SECONDS: Final = 5.0
_SIZE_SECONDS: Final = 3600.0
_PAUSE_SECONDS: Final = 0.2
"""Between two steps while rows wait: a quarter of the time at most."""


class Upkeep:
    """Prunes one store after the other, as they are opened."""

    def __init__(
        self,
        retention: RetentionSettings,
        *,
        announce: Callable[[Database, int], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`announce` is called with each day before the first of its events is deleted."""
        self.retention = retention
        """May be replaced at any time; counts from the next look on."""
        self.problem = ""
        """Why the store cannot be pruned, "" if it can."""
        self._announce = announce
        self._clock = clock
        self._store: Store | None = None
        self._job: Job | None = None
        self._steps: Iterator[None] = iter(())
        self._next_look = self._next_size = self._next_step = 0.0

    def step(self, store: Store, *, is_idle: bool) -> bool:
        """Do at most one step; gives whether there are more to do now."""
        now = self._clock()
        if store is not self._store:
            self._store, self.problem = store, ""
            self._drop()
            self._next_look = now + _FIRST_LOOK_SECONDS
            self._next_size = now
        try:
            if self._job is not None:
                if is_idle or now >= self._next_step:
                    self._go_on(self._job)
                    self._next_step = self._clock() + _PAUSE_SECONDS
            elif is_idle and now >= self._next_size:
                self._next_size = now + _SIZE_SECONDS
                with store.database.begin(alone=True) as connection:
                    note_size(connection, time.time())
            elif now >= self._next_look:
                self._look(store)
        except SupersededError:
            self._drop()
        except AuditsvcError as error:
            self.problem = str(error)
            self._drop()
        return self._job is not None

    def _look(self, store: Store) -> None:
        self._next_look = self._clock() + _LOOK_SECONDS
        if self.retention.is_limited and is_due(store.database, self.retention, time.time()):
            announce = None if self._announce is None else partial(self._announce, store.database)
            self._job = Job(store.database, self.retention, announce=announce)
            self._steps = self._job.steps()
        self.problem = ""

    def _go_on(self, job: Job) -> None:
        if next(self._steps, self) is not self:
            return
        events, held = sum(job.events.values()), len(job.held)
        if events or job.lines:
            days = counted(len(job.events), "day")
            log.info("pruned", days=days, events=events, lines=job.lines, freed=job.freed)
        if held:
            log.warning("not pruned: a reader has not had it", days=held)
        self._drop()

    def _drop(self) -> None:
        self._job, self._steps = None, iter(())
