"""When an alert begins and when it is over; no I/O, and the clock is an argument.

    transitions = Transitions(quiet=300.0, store_away=300.0)
    transitions.step(now, facts) -> [Change(cause, begins, text)]

What must hold:

* Begin and end of a cause alternate: one message when it begins, one when it is over.
* It begins with the first step at which it is seen; the store must have been away for
  `store_away` seconds. It is over when it was not seen for `quiet` seconds.
* A counter is seen when it has grown since the step before, a state while it lasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.config import Cause
from auditsvc.plural import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_COUNTERS: Final = (
    ("lost", Cause.LOST, "record", "lost"),
    ("gaps", Cause.GAP, "serial", "missing in the log"),
    ("tamper", Cause.TAMPER, "change", "of rules or settings by others"),
    ("crashes", Cause.WATCHDOG, "", "the run before this one was killed or crashed"),
    ("stalls", Cause.WATCHDOG, "", "the service stood still"),
)
"""Fact, cause, noun and words."""
_STATES: Final = (Cause.SPACE, Cause.COVERAGE, Cause.VERIFY, Cause.WATCHDOG)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at a moment. Numbers count since the start; a text is a state, "" if well."""

    lost: int = 0
    """Records that the kernel or the spool lost."""
    gaps: int = 0
    """Serials that are missing."""
    tamper: int = 0
    """Findings of the guard."""
    crashes: int = 0
    """Earlier runs that ended without stopping: killed by the watchdog, by the kernel, a crash."""
    stalls: int = 0
    """How often the main thread stood still for long."""
    space: str = ""
    store: str = ""
    coverage: str = ""
    verify: str = ""
    watchdog: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that begins, or is over."""

    cause: Cause
    begins: bool
    text: str


class Transitions:
    """The causes that are active now."""

    def __init__(
        self, *, quiet: float, store_away: float, active: Mapping[Cause, str] | None = None
    ) -> None:
        """`active`: what an earlier run has told and has not ended, with its text."""
        self.active = dict(active or {})
        """The causes that were told, with their last text."""
        self._quiet = quiet
        self._store_away = store_away
        self._before = Facts()
        self._seen: dict[Cause, float] = {}
        self._away_since: float | None = None

    def step(self, now: float, facts: Facts) -> list[Change]:
        """Take the facts at a time (monotonic, in seconds); gives what begins and what is over."""
        seen = dict(self._seen_now(now, facts))
        self._before = facts
        changes = []
        for cause, text in seen.items():
            self._seen[cause] = now
            if cause not in self.active:
                changes.append(Change(cause, begins=True, text=text))
            self.active[cause] = text
        for cause in list(self.active):
            # One that an earlier run has begun counts as seen at the first step.
            if now - self._seen.setdefault(cause, now) >= self._quiet:
                del self._seen[cause]
                changes.append(Change(cause, begins=False, text=self.active.pop(cause)))
        return changes

    def _seen_now(self, now: float, facts: Facts) -> Iterator[tuple[Cause, str]]:
        for name, cause, noun, what in _COUNTERS:
            if (new := getattr(facts, name) - getattr(self._before, name)) > 0:
                yield cause, what if not noun else f"{counted(new, noun)} {what}"
        for cause in _STATES:
            if text := getattr(facts, cause):
                yield cause, text
        if not facts.store:
            self._away_since = None
            return
        if self._away_since is None:
            self._away_since = now
        if Cause.STORE in self.active or now - self._away_since >= self._store_away:
            yield Cause.STORE, facts.store
