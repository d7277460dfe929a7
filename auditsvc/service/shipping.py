"""The fleet's half of `run`: looks often whether a batch is due, and ships it.

While the object store is away it tries again after growing pauses; the store keeps what is not
shipped, and nobody waits.
"""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from auditsvc import arrow
from auditsvc.service.passes import Passes
from auditsvc.store import open_store

if TYPE_CHECKING:
    from auditsvc.config import Settings

_FIRST_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 5.0
_LOOKS: Final = 5
"""Looks in the time after which a batch goes."""
_PAUSE, _MOST_PAUSE = 1.0, 60.0
_REST: Final = 0.25


class Shipping(Passes):
    """Ships from `start` to `finish`."""

    def __init__(self, settings: Settings, *, first: float = _FIRST_SECONDS) -> None:
        """`first`: seconds until the first look."""
        every = min(_LOOK_SECONDS, settings.fleet.interval / _LOOKS)
        super().__init__("fleet", first=first, every=every, rest=_REST)
        self.batches = self.events = self.bytes = 0
        """What this run has put into the inbox."""
        self._settings = settings
        self._open = ExitStack()
        self._shipper: Any = None

    def make_pass(self) -> None:
        """See `Passes`; the store stays open from one to the next."""
        try:
            if self._shipper is None:
                make = arrow.use("auditsvc.fleet.ship").Shipper
                store = self._open.enter_context(open_store(self._settings.store, create=False))
                self._shipper = make(store, self._settings)
            self.take(self._shipper.steps())
        except BaseException:
            self._count()
            self._shipper = None
            self._open.close()
            raise
        self._count()

    def after_failure(self, failures: int) -> float:
        """See `Passes`."""
        pause: float = min(_MOST_PAUSE, _PAUSE * 2 ** min(failures, 10))
        return pause * random.uniform(0.5, 1)  # noqa: S311 - so that not all hosts come at once

    def _count(self) -> None:
        made = self._shipper
        if made is not None:
            self.batches += made.batches
            self.events += made.events
            self.bytes += made.bytes
            made.batches = made.events = made.bytes = 0
