"""What is known of this boot: since when audit was on, and when `never,task` rules stood.

From kernel/auditsc.c (`audit_alloc`): a task gets the audit flag when it is forked, if
audit was ever on before and no `never` rule of the task list matches it; never later.
So all that matters of the past is these two things, at the moment of a fork.

The evidence is of two kinds. A look at the kernel tells what stood at one instant. The
CONFIG_CHANGE records tell when it changed: the kernel writes one for every change of the
rules while audit is on. So time is cut into spans. A change, known only to lie between
two times, makes a span of doubt, and so does time of which changes may have been missed.
In the other spans nothing changed, and one look tells what stood in the whole of it.

What must hold: a look tells nothing of the time before a change that lies between, also
if that change is heard after the look. Therefore a span keeps its first and its last
look, as it may be cut later, and a look counts only when all changes before it are heard.
Where the evidence does not tell, a moment is not known, and nobody is called covered or
not covered for it. The model in `tests/fixtures/coverage_model.py` tests this.

Times are seconds since boot. Pure but for `load` and `save`.
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditsvc.rule import Rule

_NAME: Final = "coverage.json"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_COMMAND_LINE: Final = Path("/proc/cmdline")

# A fork asks the task list before the new task's start is taken: between them it copies
# the memory's tables. The start is cut to a clock tick.
_BEFORE, _AFTER = 0.1, 0.02
# Bounds of what is kept: what exceeds them is forgotten, and then it is not known.
_MOST_SPANS: Final = 600
_MOST_PENDING: Final = 100
_MOST_CHANGES: Final = 100


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
    """Changes may have been missed."""
    UNSEEN = "unseen"
    """Nothing changed, and no look tells what stood."""


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
    Stand.UNSEEN: Birth.CHANGING,
    Stand.UNWATCHED: Birth.UNWATCHED,
}
_DOUBT: Final = frozenset({Stand.CHANGING, Stand.UNWATCHED})


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


class Seen(NamedTuple):
    """One look: `stand` was so at some instant from `asked` to `noted`."""

    asked: float
    noted: float
    stand: Stand


class Span(NamedTuple):
    """A time in which the task list did not change, or one of doubt; up to the next span."""

    begin: float
    stand: Stand
    first: Seen | None = None
    """The first look in it; None where nothing is known."""
    last: Seen | None = None
    """The last look in it."""

    def before(self, when: float) -> Span:
        """Give what is left of it before `when`: unseen, if no look is certainly before."""
        if self.first is None or self.last is None or self.first.noted >= when:
            return Span(self.begin, Stand.UNSEEN)
        last = self.last if self.last.noted < when else self.first
        return Span(self.begin, self.stand, self.first, last)

    def after(self, when: float) -> Span:
        """Give what is left of it from `when` on: unseen, if no look is certainly after."""
        if self.first is None or self.last is None or self.last.asked < when:
            return Span(when, Stand.UNSEEN)
        first = self.first if self.first.asked >= when else self.last
        return Span(when, self.stand, first, self.last)


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
    heard_to: float = 0.0
    """Up to when all changes are known, but for those in spans of doubt."""
    spans: list[Span] = field(default_factory=list)
    """In order and without gaps; the last one is open."""
    pending: list[Seen] = field(default_factory=list)
    """Looks after `heard_to`: a change before them may still be heard."""
    silent: list[tuple[int, int]] = field(default_factory=list)
    """(tid, ticks) of threads that the running service found to make calls without records."""

    def note(
        self,
        now: float,
        enabled: bool,
        stand: Stand,
        *,
        asked: float | None = None,
        watched: bool = False,
        changes: Sequence[tuple[float, float]] = (),
        heard_to: float | None = None,
    ) -> None:
        """Take a look: what was on and stood at some instant from `asked` (or `now`) to `now`.

        Each of `changes` happened between its two times. `watched`: no change was missed.
        Without it nothing is known from the last look's `heard_to` to `now`. `heard_to`
        (or `asked`): no change up to then is still to be heard.
        """
        asked = now if asked is None else asked
        if enabled and self.on is None:
            self.on = now
        elif self.on is None:
            self.off = asked
        if self.first is None:
            self.first = self.heard_to = asked
            self.spans = [Span(asked, Stand.UNSEEN)]
        if len(changes) > _MOST_CHANGES:
            changes = [(min(low for low, _ in changes), max(high for _, high in changes))]
        for low, high in changes:
            self._doubt(low, high, Stand.CHANGING)
        if not watched:
            self._doubt(nextafter(self.heard_to, inf), now, Stand.UNWATCHED)
        self.until = max(self.until, asked)
        self.heard_to = max(self.heard_to, asked if heard_to is None else min(heard_to, asked))
        self.pending.append(Seen(asked, now, stand))
        while self.pending and self.pending[0].noted <= self.heard_to:
            self._count(self.pending.pop(0))
        del self.pending[:-_MOST_PENDING]
        if len(self.spans) > _MOST_SPANS:  # somebody plays with rules: the oldest is forgotten
            kept = self.spans[-_MOST_SPANS // 2 :]
            self.spans = [Span(self.spans[0].begin, Stand.CHANGING), *kept]

    def birth(self, began: float, on_by: float | None = None) -> Birth:
        """Judge a task that was forked at `began`, and was there before the last look.

        `on_by`: when a task was forked that has the flag, so that audit had been on.
        """
        low, high = began - _BEFORE, began + _AFTER
        if began <= self.until:
            high = min(high, self.until)
        known = [self.on] if on_by is None else [self.on, on_by + _AFTER]
        was_on = self.on_at_boot or any(when is not None and when <= low for when in known)
        stood = self._between(low, high)
        if not was_on and self.off is not None and self.first is not None and high <= self.first:
            return Birth.BEFORE_AUDIT if on_by is None or high < on_by else Birth.BEFORE_WATCH
        if stood == {Stand.ALL}:
            return Birth.NEVER_TASK
        if self.first is None or low < self.first:
            return Birth.BEFORE_WATCH
        if not was_on:
            # Between two looks that found it off, audit may have been on for a while.
            seen_off = self.off is not None and high <= self.off
            return Birth.BEFORE_WATCH if seen_off else Birth.CHANGING
        if len(stood) > 1:
            return Birth.UNWATCHED if Stand.UNWATCHED in stood else Birth.CHANGING
        return _BIRTHS[stood.pop()]

    def _between(self, low: float, high: float) -> set[Stand]:
        """What stood at some time from `low` to `high`; nothing is known outside."""
        if not self.spans or low < self.spans[0].begin:
            return {Stand.UNWATCHED}
        found = {Stand.UNWATCHED} if high > self.heard_to else set()
        for span in self.spans[self._place(low) :]:
            if span.begin > high:
                break
            found.add(span.stand)
        return found

    def _place(self, when: float) -> int:
        """Give the index of the span that `when`, which is not before the first, is in."""
        return bisect_right(self.spans, when, key=lambda span: span.begin) - 1

    def _end(self, place: int) -> float:
        return self.spans[place + 1].begin if place + 1 < len(self.spans) else inf

    def _doubt(self, low: float, high: float, kind: Stand) -> None:
        """Say that something changed, or may have, at some time from `low` to `high`.

        What was known of a span stays on the side on which it has a look of its own.
        """
        low = max(low, self.spans[0].begin)
        if high < low:
            return
        begin, end = self._place(low), self._place(high) + 1
        made: list[Span] = []
        for place in range(begin, end):
            span, ends = self.spans[place], self._end(place)
            if span.begin < low:
                made.append(span if span.stand in _DOUBT else span.before(low))
            inside = max(span.begin, low)
            if inside < min(ends, high):
                made.append(Span(inside, span.stand if span.stand is Stand.UNWATCHED else kind))
            if span.begin <= high < ends:
                after = max(span.begin, high)
                made.append(Span(after, span.stand) if span.stand in _DOUBT else span.after(after))
        self.spans[begin:end] = made
        self._join(max(0, begin - 1), begin + len(made) + 1)

    def _join(self, begin: int, end: int) -> None:
        """Join neighbours of the same doubt."""
        near = self.spans[begin:end]
        self.spans[begin:end] = [
            span
            for n, span in enumerate(near)
            if n == 0 or span.stand not in _DOUBT or span.stand is not near[n - 1].stand
        ]

    def _count(self, look: Seen) -> None:
        """Let a look tell what stood in its span; all changes before it are known."""
        place = self._place(look.asked)
        span = self.spans[place]
        if span.stand in _DOUBT or look.noted >= self._end(place):
            return
        if span.last is None:
            self.spans[place] = Span(span.begin, look.stand, look, look)
        elif span.stand is look.stand:
            self.spans[place] = span._replace(last=look)
        else:  # a change was missed that `watched` denied
            self._doubt(nextafter(span.last.asked, inf), look.noted, Stand.CHANGING)
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
        values["spans"] = [_read_span(*each) for each in values["spans"]]
        values["pending"] = [_read_look(each) for each in values["pending"]]
        values["silent"] = [(int(tid), int(ticks)) for tid, ticks in values["silent"]]
        known = Periods(**values)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return fresh
    except OSError as error:
        raise AuditsvcError(f"{path}: {error.strerror}", "ask as root") from error
    return known if known.boot == fresh.boot else fresh


def save(directory: Path, periods: Periods) -> None:
    """Replace the file; OSError if that cannot be done."""
    values = {name: getattr(periods, name) for name in periods.__slots__}
    replace_file(directory / _NAME, json.dumps(values))


def _read_span(begin: float, stand: str, first: list[Any] | None, last: list[Any] | None) -> Span:
    return Span(
        float(begin),
        Stand(stand),
        None if first is None else _read_look(first),
        None if last is None else _read_look(last),
    )


def _read_look(values: list[Any]) -> Seen:
    asked, noted, stand = values
    return Seen(float(asked), float(noted), Stand(stand))
