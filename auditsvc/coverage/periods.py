"""What is known of this boot: since when audit was on, and when `never,task` rules stood.

From kernel/auditsc.c (`audit_alloc`): a task gets the audit flag when it is forked, if
audit was ever on before and no `never` rule of the task list matches it; never later.
So all that matters of the past is these two things, at the moment of a fork.

They are known from looks at the kernel, and between two looks from the CONFIG_CHANGE
records that came: the kernel writes one for every change of the rules while audit is on.
Where neither tells, a moment is not known, and nobody is called covered for it.

Times are seconds since boot. Pure but for `load` and `save`.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.errors import AuditsvcError
from auditsvc.files import read_file, replace_file
from auditsvc.rule import Action, FilterList, fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditsvc.rule import Rule

_NAME: Final = "coverage.json"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_COMMAND_LINE: Final = Path("/proc/cmdline")

# A fork asks the task list before the new task's start is taken: between them it copies
# the memory's tables. The start is cut to a clock tick.
_BEFORE, _AFTER = 0.1, 0.02
_MOST_MARKS: Final = 2000


class Stand(StrEnum):
    """What stood on the task list at some time."""

    CLEAR = "clear"
    """No `never` rule."""
    SOME = "some"
    """A `never` rule with conditions: some tasks only."""
    ALL = "all"
    """A `never` rule without conditions."""
    CHANGING = "changing"
    """Something was changed, and what stood is not known."""
    UNWATCHED = "unwatched"
    """Nobody heard of changes."""


class Birth(StrEnum):
    """What follows from when a task was forked."""

    COVERED = "forked_covered"
    BEFORE_AUDIT = "before_audit"
    NEVER_TASK = "never_task"
    BEFORE_WATCH = "before_watch"
    UNWATCHED = "unwatched"
    CHANGING = "changing"
    CONDITIONAL = "never_task_some"


_BIRTHS: Final = {
    Stand.CLEAR: Birth.COVERED,
    Stand.ALL: Birth.NEVER_TASK,
    Stand.SOME: Birth.CONDITIONAL,
    Stand.CHANGING: Birth.CHANGING,
    Stand.UNWATCHED: Birth.UNWATCHED,
}


def stands(rules: Iterable[Rule]) -> Stand:
    """Tell what a list of loaded rules does to new tasks (`audit_filter_task`: no mask is asked).

    The first rule that matches decides.
    """
    some = spared = False
    for rule in rules:
        if rule.filter_list is not FilterList.TASK:
            continue
        for_all = all(condition.field == fields.KEY for condition in rule.conditions)
        if rule.action is Action.NEVER and for_all:
            return Stand.SOME if spared else Stand.ALL
        if for_all:
            break
        some |= rule.action is Action.NEVER
        spared |= rule.action is Action.ALWAYS
    return Stand.SOME if some else Stand.CLEAR


@dataclass(slots=True)
class Periods:
    """One boot, from the first look to the last; `note` tells what a look saw."""

    boot: str
    """The kernel's boot id."""
    on_at_boot: bool
    """Whether the boot parameter `audit=1` switched audit on."""
    first: float | None = None
    """When the first look was."""
    off: float | None = None
    """When audit was last seen off, before it was ever seen on."""
    on: float | None = None
    """When audit was first seen on."""
    until: float = 0.0
    """When the last look was."""
    last: str = Stand.UNWATCHED
    """What it saw."""
    marks: list[tuple[float, str]] = field(default_factory=list)
    """From when on what stood, up to the next mark."""
    silent: list[tuple[int, int]] = field(default_factory=list)
    """(tid, ticks) of threads that the running service found to make calls without records."""

    def note(
        self,
        now: float,
        enabled: bool,
        stand: Stand,
        *,
        watched: bool = False,
        changes: Sequence[tuple[float, float]] = (),
    ) -> None:
        """Take a look: what is on and stands at `now`.

        `watched`: every change of the task list since the last look was heard of; each
        of `changes` happened between its two times. Without it the time since the last
        look is not known.
        """
        if enabled and self.on is None:
            self.on = now
        elif self.on is None:
            self.off = now
        if self.first is None:
            self.first = self.until = now
            self.marks = [(now, stand)]
        begin, now = self.until, max(now, self.until)
        ends = max((high for _, high in changes), default=0.0)
        if not watched:
            self._paint(begin, now, Stand.UNWATCHED)
        else:
            if changes:
                self._paint(min(low for low, _ in changes), min(ends, now), Stand.CHANGING)
            if self.last != stand and ends <= begin:
                self._paint(begin, now, Stand.CHANGING)
            elif begin < ends < now:
                self._paint(ends, now, stand)
        # From here on, until the next look says otherwise.
        self._paint(now, now, stand)
        self.until, self.last = now, stand

    def birth(self, began: float, on_by: float | None = None) -> Birth:
        """Judge a task that was forked at `began`; `on_by`: audit had been on by then at least."""
        low, high = began - _BEFORE, began + _AFTER
        if began <= self.until:
            high = min(high, self.until)
        known = [when for when in (self.on, on_by) if when is not None]
        was_on = self.on_at_boot or any(when <= low for when in known)
        stood = self._between(low, high)
        if not was_on and self.off is not None and high <= self.off:
            return Birth.BEFORE_AUDIT if on_by is None or high < on_by else Birth.BEFORE_WATCH
        if stood == {Stand.ALL}:
            return Birth.NEVER_TASK
        if self.first is None or low < self.first:
            return Birth.BEFORE_WATCH
        if not was_on:
            return Birth.CHANGING
        if len(stood) > 1:
            return Birth.UNWATCHED if Stand.UNWATCHED in stood else Birth.CHANGING
        return _BIRTHS[stood.pop()]

    def _between(self, low: float, high: float) -> set[Stand]:
        """What stood at some time from `low` to `high`; nothing watched is known outside."""
        if not self.marks or low < self.marks[0][0]:
            return {Stand.UNWATCHED}
        found = {Stand.UNWATCHED} if high > self.until else set()
        begin = bisect_right(self.marks, low, key=lambda mark: mark[0]) - 1
        for when, stand in self.marks[begin:]:
            if when > high:
                break
            found.add(Stand(stand))
        return found

    def _paint(self, begin: float, end: float, stand: Stand) -> None:
        """Say that `stand` was so from `begin` to `end`, and leave what is said of later."""
        begin = max(begin, self.marks[0][0])
        if end < begin:
            return
        after = self.marks[bisect_right(self.marks, end, key=lambda mark: mark[0]) - 1][1]
        marks = [mark for mark in self.marks if mark[0] < begin]
        marks.append((begin, stand))
        if end > begin:
            marks.append((end, after))
        marks += [mark for mark in self.marks if mark[0] > end]
        self.marks = [mark for n, mark in enumerate(marks) if n == 0 or mark[1] != marks[n - 1][1]]
        if len(self.marks) > _MOST_MARKS:  # somebody plays with rules: the oldest is forgotten
            begins = self.marks[0][0]
            self.marks = [(begins, Stand.CHANGING), *self.marks[-_MOST_MARKS // 2 :]]


def on_at_boot(command_line: str) -> bool:
    """Whether the kernel was booted with audit on (`audit_enable` in kernel/audit.c).

    The last `audit=` counts; what follows `--` is for init.
    """
    value = ""
    for word in command_line.split():
        if word == "--":
            break
        name, _, text = word.partition("=")
        if name == "audit":
            value = text.strip('"')
    return bool(value) and value.lower() not in {"0", "off"}


def nothing() -> Periods:
    """What is known of this boot before the first look."""
    boot = _BOOT_ID.read_text().strip()
    return Periods(boot, on_at_boot(_COMMAND_LINE.read_text(errors="replace")))


def load(directory: Path) -> Periods:
    """Read what is known of this boot; nothing if nobody has looked yet in it.

    AuditsvcError if the file is another user's secret.
    """
    fresh, path = nothing(), directory / _NAME
    try:
        values = json.loads(read_file(path))
        values["marks"] = [(float(when), Stand(stand)) for when, stand in values["marks"]]
        values["silent"] = [(int(tid), int(ticks)) for tid, ticks in values["silent"]]
        known = Periods(**values)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return fresh
    except OSError as error:
        raise AuditsvcError(f"{path}: {error.strerror}", "ask as root") from error
    return known if known.boot == fresh.boot else fresh


def save(directory: Path, periods: Periods) -> None:
    """Replace the file; OSError if that cannot be done."""
    replace_file(directory / _NAME, json.dumps(asdict(periods)))
