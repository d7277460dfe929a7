"""A thread that sees when an alert begins or is over, from facts that the service notes.

    watch = AlertWatch(settings, crashes=0)
    watch.note(facts)          # twice a second, by the service's main thread; never waits

If the facts are not noted any more, the main thread stands still: that is an alert too
(`watchdog`). Which alerts are active is in the runtime directory, so that a restart neither
tells them again nor forgets to tell their end; what was not sent yet is there too, and is sent by
the next run (again, if this one was killed before it had noted that it was).
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.alert.channels import channels
from auditsvc.alert.message import Message
from auditsvc.alert.sender import Sender
from auditsvc.alert.transitions import Facts, Transitions
from auditsvc.errors import of_system
from auditsvc.host.files import replace_file
from auditsvc.runtime.active_alerts import (
    NAME,
    active_alerts,
    remember_unsent,
    unsent_alerts,
)

if TYPE_CHECKING:
    from auditsvc.alert.transitions import Change
    from auditsvc.config import Cause, Settings

log = structlog.get_logger()

STALLED_SECONDS: Final = 30.0
_TICK: Final = 1.0
_LAST_SECONDS: Final = 5.0


class AlertWatch(threading.Thread):
    """Watches until `finish`."""

    def __init__(self, settings: Settings, *, crashes: int) -> None:
        """`crashes`: whether the run before this one ended without stopping, as 1."""
        super().__init__(name="alerts", daemon=True)
        self._settings = settings
        self._file = settings.runtime_directory / NAME
        self._crashes = crashes
        self._facts: Facts | None = None
        self._noted_at = time.monotonic()
        self._stalls = 0
        self._stopping = threading.Event()
        self._file_problem = ""
        self._sender = Sender(channels(settings.alert))
        self._unsent: list[Message] = []
        self._transitions = Transitions(
            quiet=settings.alert.quiet,
            store_away=settings.alert.store_away,
            active=self._left(),
        )

    @property
    def problem(self) -> str:
        """Why alerts cannot be sent, or remembered; "" if they can."""
        return self._sender.problem or self._file_problem

    def note(self, facts: Facts) -> None:
        """Take the facts as they are now."""
        now = time.monotonic()
        self._stalls += now - self._noted_at >= STALLED_SECONDS  # this thread may have stood too
        self._facts, self._noted_at = facts, now

    def run(self) -> None:
        """Look once a second."""
        self._sender.start()
        for message in self._left_unsent():
            self._sender.offer(message)
        while not self._stopping.wait(_TICK):
            self.look(time.monotonic())
            self._remember_unsent()

    def finish(self) -> None:
        """End; alerts that are active stay so for the next run."""
        self._stopping.set()
        if self.is_alive():
            self.join(_LAST_SECONDS)
            self.look(time.monotonic())
            self._sender.finish(_LAST_SECONDS)
            self._remember_unsent()

    def look(self, now: float) -> None:
        """See what begins and what is over, and have it sent."""
        facts = self._facts
        if facts is None:
            return
        if (silent := now - self._noted_at) >= STALLED_SECONDS:
            facts = replace(facts, watchdog=f"the service stands still for {silent:.0f} s")
        facts = replace(facts, crashes=self._crashes, stalls=self._stalls)
        changes = self._transitions.step(now, facts)
        for change in changes:
            self._tell(change)
        if changes:
            self._remember()

    def _tell(self, change: Change) -> None:
        if change.cause not in self._settings.alert.on:
            return
        state = "begin" if change.begins else "over"
        (log.error if change.begins else log.info)(
            "alert", cause=change.cause.value, state=state, why=change.text
        )
        self._sender.offer(
            Message(change.cause.value, state, change.text, self._settings.host, time.time())
        )

    def _left(self) -> dict[Cause, str]:
        """Give the alerts that an earlier run has told and not ended."""
        try:
            return active_alerts(self._settings.runtime_directory)
        except OSError:
            return {}

    def _left_unsent(self) -> list[Message]:
        """Give what an earlier run has not sent."""
        try:
            found = unsent_alerts(self._settings.runtime_directory)
        except OSError:
            return []
        self._unsent = [each for each in map(Message.from_facts, found) if each is not None]
        return self._unsent

    def _remember_unsent(self) -> None:
        unsent = self._sender.unsent
        if unsent == self._unsent:
            return
        try:
            remember_unsent(self._settings.runtime_directory, [asdict(each) for each in unsent])
        except OSError as error:
            self._file_problem = of_system(error)
        else:
            self._unsent = unsent

    def _remember(self) -> None:
        active = {cause.value: text for cause, text in self._transitions.active.items()}
        self._file_problem = ""
        try:
            replace_file(self._file, json.dumps(active))
        except OSError as error:
            self._file_problem = of_system(error)
