"""Looks at the room for the log once a second, and does what the settings say for each stage.

    space = SpaceWatch(settings, parts)
    space.look(now)

An action of a stage begins with the stage and ends with it (`hold`, `drop-loaded`, `drop`), or
is done once when it begins (`log`, `exec`, `stop`, `halt`). The second stage has the first one's
actions too. Programs are started by a thread of their own.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.alert.channels import run
from auditsvc.alert.message import Message
from auditsvc.alert.sender import Sender
from auditsvc.collect.collector import RecordCollector
from auditsvc.errors import SpoolError
from auditsvc.host.disk import used_percent
from auditsvc.retention.stages import Stage, Stages, Trend
from auditsvc.spool.segments import sizes

if TYPE_CHECKING:
    from auditsvc.config import Settings
    from auditsvc.service.wiring import Parts

log = structlog.get_logger()

_EVERY: Final = 1.0
_LAST_SECONDS: Final = 5.0


class SpaceWatch:
    """The stages of one run."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self.used = 0.0
        """Percent in use."""
        self.stops = False
        """Whether the service is to end."""
        self.keep_bytes = settings.spool.keep_bytes
        """Bytes of segments that are kept when they are in the store; a reload sets it."""
        self._settings = settings
        self._parts = parts
        wanted = settings.space
        self._stages = Stages(warn=wanted.warn, act=wanted.act)
        self._trend = Trend()
        warn = frozenset(wanted.warn_actions)
        self._actions: dict[Stage, frozenset[str]] = {
            Stage.ENOUGH: frozenset(),
            Stage.WARN: warn,
            Stage.ACT: warn | frozenset(wanted.act_actions),
        }
        self._on: frozenset[str] = frozenset()
        self._looked_at = -_EVERY
        self._programs: Sender | None = None
        self._halting: Sender | None = None

    @property
    def keep(self) -> int:
        """Give how many bytes of segments that are in the store are kept now."""
        return 0 if "drop-loaded" in self._on else self.keep_bytes

    @property
    def stage(self) -> str:
        """Give the current stage."""
        return self._stages.stage.value

    @property
    def forecast(self) -> str:
        """Give when the second stage will be reached, in words."""
        return self._trend.says(self._settings.space.act)

    @property
    def text(self) -> str:
        """Say how full it is, "" in no stage."""
        if self._stages.stage is Stage.ENOUGH:
            return ""
        return f"{self.used:.0f} % of the room for the log are used ({self.stage})"

    def look(self, now: float) -> None:
        """Look, if that is due (monotonic); a folder that cannot be read is the spool's error."""
        if self._parts.sink is None or now - self._looked_at < _EVERY:
            return
        self._looked_at = now
        try:
            self.used = self._measure()
        except (OSError, SpoolError):
            return
        self._trend.note(now, self.used)
        before = self._stages.stage
        stage = self._stages.step(self.used)
        if stage is not before:
            self._change(before, stage)

    def finish(self) -> None:
        """End what a stage has begun; programs are waited for."""
        self._switch(frozenset())
        for each in (self._programs, self._halting):
            if each is not None:
                each.finish(_LAST_SECONDS)

    def _measure(self) -> float:
        """Give the larger part, in percent, of the disk and of what may wait for the store."""
        limit = self._settings.spool.limit_bytes
        disk = os.statvfs(self._settings.spool_directory)
        used = used_percent(disk)
        if limit is not None:
            have = sum(sizes(self._settings.spool_directory).values())
            # Up to `keep_bytes` the segments are kept on purpose; a reload may raise it to the
            # limit, which changes only at a restart.
            kept = self.keep_bytes if self.keep_bytes < limit else 0
            used = max(used, 100.0 * (have - kept) / (limit - kept))
        return used

    def _change(self, before: Stage, stage: Stage) -> None:
        actions, on_before = self._actions[stage], self._on
        self._switch(actions)  # first: what the log says is in effect
        if "log" in actions | on_before:
            say = log.warning if stage is not Stage.ENOUGH else log.info
            say("room for the log", stage=stage.value, used=round(self.used, 1))
        new = actions - on_before
        if "exec" in actions | on_before:
            self._programs = self._start(self._programs, self._settings.space.exec, stage)
        if "halt" in new:
            log.error("the host is switched off: there is no room for the log")
            self._halting = self._start(self._halting, self._settings.space.halt, stage)
        if "stop" in new:
            log.error("stopping: there is no room for the log", before=before.value)
            self.stops = True

    def _switch(self, actions: frozenset[str]) -> None:
        """Begin and end what lasts as long as its stage."""
        changed, self._on = actions ^ self._on, actions
        sink, collector = self._parts.sink, self._parts.collector
        if "drop" in changed and sink is not None:
            sink.freeze(on="drop" in actions)
        if "hold" in changed and isinstance(collector, RecordCollector):
            collector.hold(on="hold" in actions)

    def _start(self, sender: Sender | None, command: tuple[str, ...], stage: Stage) -> Sender:
        """Have a program run with the stage."""
        if sender is None:
            sender = Sender([lambda each: run(command, each.as_json(), each.as_variables())])
            sender.start()
        text = f"{self.used:.0f} % used"
        sender.offer(Message("space", stage.value, text, self._settings.host, time.time()))
        return sender
