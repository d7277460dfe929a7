"""What a flip came to; times are microseconds from the moment that the kernel was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Probed:
    """What became of a probe's calls; it makes one every 50 us, so sharp are the times."""

    forked: Literal["before", "after"]
    """Whether it was forked before the flip or after it."""
    calls: int
    """Calls that must have a record: from the first that has one on (at `off`: to the last)."""
    missing: int
    """Those among them that have none."""
    late: int
    """Calls that began after the kernel's answer and were not yet traced (at `off`: still
    were). The times below also hold what the probe had to wait for a processor; this does not."""
    first_call_us: float | None = None
    """At `on`: when the first call with a record began."""
    last_call_us: float | None = None
    """At `off`: when the last call with a record began; below 0 it was before we asked."""
    ceased_us: float | None = None
    """At `off`: when the first call without a record began."""


@dataclass(slots=True)
class Flip:
    """One flip as it went; None is what could not be seen, and a note says why."""

    enabled: int
    changed: bool
    """False: it was so already, and nothing was measured."""
    traces: str
    """What the loaded rules trace while audit is on, in words."""
    switch_us: float | None = None
    """Until the kernel answered."""
    covers_running_tasks: bool | None = None
    """Whether a task that was forked before the flip is traced."""
    probe: Probed | None = None
    in_flight: int | None = None
    """At `off`: calls of any task that ended after it, while we looked, and have their record."""
    still_in_calls: int | None = None
    """At `off`: so many tasks at most are still in a call, which has a record when it ends."""
    notes: list[str] = field(default_factory=list)
