"""The result of a flip; times are microseconds from the request to the kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe's calls. It makes one every 50 us: the times are as exact as that."""

    forked: Literal["before", "after"]
    """Whether it was forked before the flip or after it."""
    calls: int
    """Calls that must have a record: from the first that has one (at `off`: up to the last)."""
    missing: int
    """Those of them that have none."""
    late: int
    """Calls that began after the kernel's answer and were not yet traced (at `off`: still
    traced). Unlike the times below, it does not depend on how long the probe waited for a CPU."""
    first_call_us: float | None = None
    """At `on`: when the first call with a record began."""
    last_call_us: float | None = None
    """At `off`: when the last call with a record began; negative: before the request."""
    ceased_us: float | None = None
    """At `off`: when the first call without a record began."""


@dataclass(slots=True)
class Flip:
    """One flip; None is what could not be measured, and a note says why."""

    enabled: int
    changed: bool
    """False: audit was in this state already, and nothing was measured."""
    traces: str
    """What the loaded rules trace while audit is on, as text."""
    switch_us: float | None = None
    """Time until the kernel answered."""
    covers_running_tasks: bool | None = None
    """Whether a task that was forked before the flip is traced."""
    probe: Probed | None = None
    in_flight: int | None = None
    """At `off`: calls of any task that ended after it, while we measured, and have a record."""
    still_in_calls: int | None = None
    """At `off`: at most so many tasks are still in a call, which has a record when it ends."""
    notes: list[str] = field(default_factory=list)
