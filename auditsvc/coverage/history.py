"""What is known of this boot: since when audit was on, and when `never,task` rules were loaded.

From kernel/auditsc.c (`audit_alloc`): a task gets the audit flag when it is forked, if
audit was ever on before and no `never` rule of the task list matches it; never later.
So only these two facts matter, at the moment of a fork.

There are two kinds of evidence. A look at the kernel shows the task list at one instant.
CONFIG_CHANGE records show when it changed: the kernel writes one for every change of the
rules while audit is on. So time is divided into spans. A change, known only to lie between
two times, makes a span of doubt, and so does a time in which changes may have been missed.
In the other spans nothing changed, and one look is valid for the entire span.

What must hold: a look shows nothing about the time before an earlier change, also if the
record of that change is received after the look. Therefore a span keeps its first and its
last look, as it may be divided later, and a look counts only when all changes before it are
known. Where the evidence is not sufficient, a moment is unknown, and no task is called
covered or not covered for it. The model in `tests/fixtures/coverage_model.py` tests this.

Times are seconds since boot. Pure, except `load` and `save`.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, nextafter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.errors import AuditsvcError
from auditsvc.host.files import read_file, replace_file
from auditsvc.rule import Action, FilterList, fields
from auditsvc.value_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditsvc.rule import Rule

_NAME: Final = "coverage.json"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_COMMAND_LINE: Final = Path("/proc/cmdline")

# A fork checks the task list before the new task's start time is set: between them it copies
# the page tables. The start time is rounded down to a clock tick.
_BEFORE, _AFTER = 0.1, 0.02
# Limits of what is kept: what exceeds them is deleted, and is then unknown.
_MOST_SPANS: Final = 600
_MOST_PENDING: Final = 100
_MOST_CHANGES: Final = 100


class TaskListState(StrEnum):
    """What was on the task list at some time."""

    CLEAR = "clear"
    """No `never` rule."""
    SOME = "some"
    """A `never` rule with conditions: some tasks only."""
    ALL = "all"
    """A `never` rule without conditions."""
    CHANGING = "changing"
    """Something was changed, and the content is unknown."""
    UNWATCHED = "unwatched"
    """Changes may have been missed."""
    UNSEEN = "unseen"
    """Nothing changed, but no look shows the content."""


class Birth(StrEnum):
    """What follows from the time at which a task was forked."""

    COVERED = "forked_covered"
    BEFORE_AUDIT = "before_audit"
    NEVER_TASK = "never_task"
    BEFORE_WATCH = "before_watch"
    UNWATCHED = "unwatched"
    CHANGING = "changing"
    CONDITIONAL = "never_task_some"


_BIRTHS: Final = {
    TaskListState.CLEAR: Birth.COVERED,
    TaskListState.ALL: Birth.NEVER_TASK,
    TaskListState.SOME: Birth.CONDITIONAL,
    TaskListState.CHANGING: Birth.CHANGING,
    TaskListState.UNSEEN: Birth.CHANGING,
    TaskListState.UNWATCHED: Birth.UNWATCHED,
}
_DOUBT: Final = frozenset({TaskListState.CHANGING, TaskListState.UNWATCHED})


def task_list_state(rules: Iterable[Rule]) -> TaskListState:
    """Give what loaded rules do to new tasks (`audit_filter_task` checks no syscall mask).

    The first rule that matches decides.
    """
    some = spared = False
    for rule in rules:
        if rule.filter_list is not FilterList.TASK:
            continue
        for_all = all(condition.field == fields.KEY for condition in rule.conditions)
        if rule.action is Action.NEVER and for_all:
            return TaskListState.SOME if spared else TaskListState.ALL
        if for_all:
            break
        some |= rule.action is Action.NEVER
        spared |= rule.action is Action.ALWAYS
    return TaskListState.SOME if some else TaskListState.CLEAR


class Seen(NamedTuple):
    """One look: the task list was in this state at some instant from `asked` to `noted`."""

    asked: float
    noted: float
    task_list: TaskListState


class Span(NamedTuple):
    """A time in which the task list did not change, or one of doubt; up to the next span."""

    begin: float
    task_list: TaskListState
    first: Seen | None = None
    """The first look in it; None where nothing is known."""
    last: Seen | None = None
    """The last look in it."""

    def before(self, when: float) -> Span:
        """Give its part before `when`: unseen, if no look is certainly before."""
        if self.first is None or self.last is None or self.first.noted >= when:
            return Span(self.begin, TaskListState.UNSEEN)
        last = self.last if self.last.noted < when else self.first
        return Span(self.begin, self.task_list, self.first, last)

    def after(self, when: float) -> Span:
        """Give its part from `when` on: unseen, if no look is certainly after."""
        if self.first is None or self.last is None or self.last.asked < when:
            return Span(when, TaskListState.UNSEEN)
        first = self.first if self.first.asked >= when else self.last
        return Span(when, self.task_list, first, self.last)


@dataclass(slots=True)
class Periods:
    """One boot, from the first look to the last; `note` adds a look."""

    boot: str
    """The kernel's boot id."""
    on_at_boot: bool
    """Whether the boot parameter `audit=1` switched audit on."""
    first: float | None = None
    """Time of the first look."""
    off: float | None = None
    """Time of the last look that found audit off, before any found it on."""
    on: float | None = None
    """Time of the first look that found audit on."""
    until: float = 0.0
    """Time of the last look."""
    known_to: float = 0.0
    """Time up to which all changes are known, except those in spans of doubt."""
    spans: list[Span] = field(default_factory=list)
    """In order and without gaps; the last one is open."""
    pending: list[Seen] = field(default_factory=list)
    """Looks after `known_to`: the record of a change before them may still arrive."""
    silent: list[tuple[int, int]] = field(default_factory=list)
    """(tid, ticks) of threads that the running service found to make calls without records."""

    def note(
        self,
        now: float,
        enabled: bool,
        task_list: TaskListState,
        *,
        asked: float | None = None,
        watched: bool = False,
        changes: Sequence[tuple[float, float]] = (),
        known_to: float | None = None,
    ) -> None:
        """Add a look: switch and task list at some instant from `asked` (or `now`) to `now`.

        Each of `changes` happened between its two times. `watched`: no change was missed.
        Without it nothing is known from the last look's `known_to` to `now`. `known_to`
        (or `asked`): the records of all changes up to then were received.
        """
        asked = now if asked is None else asked
        if enabled and self.on is None:
            self.on = now
        elif self.on is None:
            self.off = asked
        if self.first is None:
            self.first = self.known_to = asked
            self.spans = [Span(asked, TaskListState.UNSEEN)]
        if len(changes) > _MOST_CHANGES:
            changes = [(min(low for low, _ in changes), max(high for _, high in changes))]
        for low, high in changes:
            self._doubt(low, high, TaskListState.CHANGING)
        if not watched:
            self._doubt(nextafter(self.known_to, inf), now, TaskListState.UNWATCHED)
        self.until = max(self.until, asked)
        self.known_to = max(self.known_to, asked if known_to is None else min(known_to, asked))
        self.pending.append(Seen(asked, now, task_list))
        while self.pending and self.pending[0].noted <= self.known_to:
            self._count(self.pending.pop(0))
        del self.pending[:-_MOST_PENDING]
        if len(self.spans) > _MOST_SPANS:  # very many changes: the oldest spans are deleted
            kept = self.spans[-_MOST_SPANS // 2 :]
            self.spans = [Span(self.spans[0].begin, TaskListState.CHANGING), *kept]

    def birth(self, began: float, on_by: float | None = None) -> Birth:
        """Judge a task that was forked at `began`, and existed before the last look.

        `on_by`: when a task that has the flag was forked; audit had been on by then.
        """
        low, high = began - _BEFORE, began + _AFTER
        if began <= self.until:
            high = min(high, self.until)
        known = [self.on] if on_by is None else [self.on, on_by + _AFTER]
        was_on = self.on_at_boot or any(when is not None and when <= low for when in known)
        found = self._between(low, high)
        if not was_on and self.off is not None and self.first is not None and high <= self.first:
            return Birth.BEFORE_AUDIT if on_by is None or high < on_by else Birth.BEFORE_WATCH
        if found == {TaskListState.ALL}:
            return Birth.NEVER_TASK
        if self.first is None or low < self.first:
            return Birth.BEFORE_WATCH
        if not was_on:
            # Between two looks that found it off, audit may have been on for some time.
            seen_off = self.off is not None and high <= self.off
            return Birth.BEFORE_WATCH if seen_off else Birth.CHANGING
        if len(found) > 1:
            return Birth.UNWATCHED if TaskListState.UNWATCHED in found else Birth.CHANGING
        return _BIRTHS[found.pop()]

    def _between(self, low: float, high: float) -> set[TaskListState]:
        """Give all states of the task list from `low` to `high`; outside nothing is known."""
        if not self.spans or low < self.spans[0].begin:
            return {TaskListState.UNWATCHED}
        found = {TaskListState.UNWATCHED} if high > self.known_to else set()
        for span in self.spans[self._index(low) :]:
            if span.begin > high:
                break
            found.add(span.task_list)
        return found

    def _index(self, when: float) -> int:
        """Give the index of the span that contains `when`, which is not before the first."""
        return bisect_right(self.spans, when, key=lambda span: span.begin) - 1

    def _end(self, index: int) -> float:
        return self.spans[index + 1].begin if index + 1 < len(self.spans) else inf

    def _doubt(self, low: float, high: float, kind: TaskListState) -> None:
        """Note that something changed, or may have changed, at some time from `low` to `high`.

        What was known of a span stays valid on the side on which it has a look of its own.
        """
        low = max(low, self.spans[0].begin)
        if high < low:
            return
        begin, end = self._index(low), self._index(high) + 1
        spans: list[Span] = []
        for index in range(begin, end):
            span, ends = self.spans[index], self._end(index)
            if span.begin < low:
                spans.append(span if span.task_list in _DOUBT else span.before(low))
            inside = max(span.begin, low)
            if inside < min(ends, high):
                spans.append(
                    Span(
                        inside,
                        span.task_list if span.task_list is TaskListState.UNWATCHED else kind,
                    )
                )
            if span.begin <= high < ends:
                after = max(span.begin, high)
                spans.append(
                    Span(after, span.task_list) if span.task_list in _DOUBT else span.after(after)
                )
        self.spans[begin:end] = spans
        self._join(max(0, begin - 1), begin + len(spans) + 1)

    def _join(self, begin: int, end: int) -> None:
        """Join adjacent spans of the same kind of doubt."""
        near = self.spans[begin:end]
        self.spans[begin:end] = [
            span
            for n, span in enumerate(near)
            if n == 0 or span.task_list not in _DOUBT or span.task_list is not near[n - 1].task_list
        ]

    def _count(self, look: Seen) -> None:
        """Apply a look to its span; all changes before it are known."""
        index = self._index(look.asked)
        span = self.spans[index]
        if span.task_list in _DOUBT or look.noted >= self._end(index):
            return
        if span.last is None:
            self.spans[index] = Span(span.begin, look.task_list, look, look)
        elif span.task_list is look.task_list:
            self.spans[index] = span._replace(last=look)
        else:  # a change was missed although the caller said `watched`
            self._doubt(nextafter(span.last.asked, inf), look.noted, TaskListState.CHANGING)
            if look.asked == look.noted:
                self._count(look)


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


def no_history() -> Periods:
    """Give what is known of this boot before the first look."""
    boot = _BOOT_ID.read_text().strip()
    return Periods(boot, on_at_boot(_COMMAND_LINE.read_text(errors="replace")))


def load(directory: Path) -> Periods:
    """Read what is known of this boot; `no_history` if there was no look yet.

    AuditsvcError if the file may not be read.
    """
    fresh, path = no_history(), directory / _NAME
    try:
        values = parse_json(read_file(path))
        values["spans"] = [_read_span(*each) for each in values["spans"]]
        values["pending"] = [_read_look(each) for each in values["pending"]]
        values["silent"] = [(int(tid), int(ticks)) for tid, ticks in values["silent"]]
        known = Periods(**values)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return fresh
    except OSError as error:
        raise AuditsvcError(f"{path}: {error.strerror}", "run as root") from error
    return known if known.boot == fresh.boot else fresh


def save(directory: Path, periods: Periods) -> None:
    """Replace the file; OSError if that is not possible."""
    values = {name: getattr(periods, name) for name in periods.__slots__}
    replace_file(directory / _NAME, json.dumps(values))


def _read_span(
    begin: float, task_list: str, first: list[Any] | None, last: list[Any] | None
) -> Span:
    return Span(
        float(begin),
        TaskListState(task_list),
        None if first is None else _read_look(first),
        None if last is None else _read_look(last),
    )


def _read_look(values: list[Any]) -> Seen:
    asked, noted, task_list = values
    return Seen(float(asked), float(noted), TaskListState(task_list))
