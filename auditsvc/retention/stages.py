"""How full the log's disk is, in two stages, and when it will be in the second; no I/O.

    stages = Stages(warn=75.0, act=95.0)
    stages.step(used) -> Stage      # used: percent
    trend = Trend()
    trend.note(now, used); trend.says(95.0)

A stage begins at its percentage and ends one percent below, so that it does not change with
each record.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final

_BELOW: Final = 1.0
_EVERY: Final = 60.0
"""Seconds between two values that a trend keeps."""
_MOST: Final = 24 * 60
_LEAST_SECONDS: Final = 600.0
"""Over less time nothing is told."""
_HOUR, _DAY = 3600.0, 86400.0


class Stage(StrEnum):
    """How full it is."""

    ENOUGH = "enough"
    WARN = "warn"
    ACT = "act"


class Stages:
    """The current stage."""

    def __init__(self, *, warn: float, act: float) -> None:
        self.stage = Stage.ENOUGH
        self._from = {Stage.ACT: act, Stage.WARN: warn}

    def step(self, used: float) -> Stage:
        """Take the percentage in use; gives the stage."""
        for stage, least in self._from.items():
            stays = self.stage is stage or self.stage is Stage.ACT
            if used >= (least - _BELOW if stays else least):
                self.stage = stage
                return stage
        self.stage = Stage.ENOUGH
        return self.stage


class Trend:
    """The percentage in use over the last day."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=_MOST)

    def note(self, now: float, used: float) -> None:
        """Take the percentage at a time (monotonic, in seconds)."""
        if not self._seen or now - self._seen[-1][0] >= _EVERY:
            self._seen.append((now, used))

    def seconds_until(self, percent: float) -> float | None:
        """Give when it will be reached at the mean rate; None: never, or it is not known yet."""
        if not self._seen or self._seen[-1][0] - self._seen[0][0] < _LEAST_SECONDS:
            return None
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        rate = (last - first) / (ended - began)
        return max(0.0, percent - last) / rate if rate > 0 else None

    def says(self, percent: float) -> str:
        """Give the forecast in words."""
        if not self._seen or self._seen[-1][0] - self._seen[0][0] < _LEAST_SECONDS:
            return "unknown until `run` has watched the disk for ten minutes"
        seconds = self.seconds_until(percent)
        if seconds is None:
            return "never: it does not fill"
        if seconds < 2 * _DAY:
            return f"{percent:g} % in {seconds / _HOUR:.1f} hours"
        return f"{percent:g} % in {seconds / _DAY:.0f} days"
