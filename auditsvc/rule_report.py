"""Control by control: is what a rule set wants there, in force, and has it been seen. Pure.

What comes in: the controls of the sets (`auditsvc.rule_sets`), what the kernel has, what
the store counted, what share of tasks is covered. Each but the first may be unknown, and
then the answer says so. What goes out is a Report, which `as_json` turns into values and
`auditsvc.rule_page` into a page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from auditsvc.rule import Action, FilterList
from auditsvc.rule.cover import takes_in
from auditsvc.rule.loaded_order import LoadedOrder
from auditsvc.rule.reach import never_task
from auditsvc.rule_sets import Control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from auditsvc.rule import Line, Rule, Set


class State(StrEnum):
    """What the kernel makes of a rule, or of a control's rules together."""

    LOADED = "loaded"
    """The kernel has it and asks it."""
    COVERED = "covered"
    """A broader rule logs the same calls, under its own key."""
    PARTLY = "partly"
    """Of a control: some of its rules are in force, some not."""
    HIDDEN = "hidden"
    """A `never` rule that stands before it takes all its calls out."""
    MISSING = "missing"
    """The kernel has neither it nor a broader one."""
    ABSENT = "absent"
    """The host has not what it watches."""
    NO_RULE = "no rule"
    """Of a control: the sets have no rule for it."""
    SETTING = "setting"
    """Of a control: it asks for a setting of the kernel, not for a rule."""
    UNKNOWN = "not known"


IN_FORCE: Final = frozenset({State.LOADED, State.COVERED})
_PROVEN: Final = IN_FORCE | {State.ABSENT, State.SETTING}


_THE_MORE: Final = {"enabled", "failure", "backlog_limit", "loginuid_immutable"}


@dataclass(frozen=True)
class Kernel:
    """What the kernel said: its rules in its order, and its settings by the names of `Set`."""

    rules: tuple[Rule, ...]
    settings: dict[str, int]

    @cached_property
    def order(self) -> LoadedOrder:
        """The rules, to be asked which come before another."""
        return LoadedOrder(self.rules)


@dataclass(frozen=True, slots=True)
class Share:
    """How many tasks of the host are covered; `unknown` ones may or may not be."""

    covered: int
    not_covered: int
    unknown: int

    def __str__(self) -> str:
        whole = self.covered + self.not_covered + self.unknown
        return f"all {whole:,}" if self.covered == whole else f"{self.covered:,} of {whole:,}"


@dataclass(frozen=True, slots=True)
class Seen:
    """Events of a control since the beginning of the time asked about."""

    count: int
    last: int | None
    """Second of the last one, which may be earlier than that time; None if there is none."""
    by: str = "key"
    """How they were told: by `key`, or by `calls` too, where another rule may have logged them."""
    uncounted: int = 0
    """Rules of the control whose calls cannot be told from the rows without their key."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one rule."""

    line: Line
    rule: Rule
    state: State
    by: Rule | None = None
    """The broader rule that covers or hides it."""
    exceptions: tuple[Rule, ...] = ()
    """`never` rules before it that may take some of its calls out."""
    shared: bool = False
    """Whether a rule before it may log some of its calls under another key."""
    lacking: str | None = None
    """The folder that the host has not."""
    loaded: bool = False
    """Whether the kernel has the rule, asked or not."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A setting that a control asks for; `now` is what the kernel has, None if not known."""

    setting: Set
    now: int | None

    @property
    def met(self) -> bool | None:
        """Whether the kernel is set so, or more strictly."""
        if self.now is None:
            return None
        if self.setting.name in _THE_MORE:
            return self.now >= self.setting.value
        return self.now == self.setting.value


@dataclass(frozen=True, slots=True)
class Judged:
    """One control: what the sets have for it and what became of that."""

    control: Control
    state: State
    findings: tuple[Finding, ...]
    settings: tuple[Asked, ...]
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A rule file that was read."""

    name: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told. Times are seconds since 1970."""

    made: int
    host: str
    release: str
    """The kernel's release and machine."""
    version: str
    """Of auditsvc."""
    store: str
    days: int
    sources: tuple[Source, ...]
    controls: tuple[Judged, ...]
    kernel: Kernel | None
    share: Share | None = None
    unknown: dict[str, str] = field(default_factory=dict)
    """Why something is not known: by `kernel`, `store`, `coverage`."""

    @property
    def warnings(self) -> list[str]:
        """What makes the rules' being there worth less, a line each."""
        if self.kernel is None:
            return []
        found = []
        if not self.kernel.settings.get("enabled", 1):
            found.append("Audit is off: no rule is asked. `auditsvc run` switches it on.")
        found += [
            f"Tasks that start now are not audited: `{rule}` stands."
            for rule in never_task(self.kernel.rules)
        ]
        if self.share is not None and self.share.not_covered:
            found.append(
                f"{self.share.not_covered} tasks are not audited at all, whatever the rules say:"
                " see `auditsvc coverage`."
            )
        return found

    @property
    def remarks(self) -> list[str]:
        """The warnings, and what is not known and why."""
        unknown = [f"Not known, {what}: {why}" for what, why in self.unknown.items()]
        return self.warnings + unknown

    @property
    def proven(self) -> bool:
        """Whether audit is on and every control's rules are in force."""
        on = self.kernel is not None and bool(self.kernel.settings.get("enabled"))
        return on and not self.open

    @property
    def open(self) -> list[Judged]:
        """Controls whose rules are not, or not all, in force."""
        return [each for each in self.controls if each.state not in _PROVEN]

    def tally(self) -> dict[State, int]:
        """How many controls are in which state, in the order of State; none is left out for 0."""
        states = [each.state for each in self.controls]
        return {state: states.count(state) for state in State if state in states}


def joined(controls: Iterable[Control]) -> list[Control]:
    """Join what several files say of the same control; the first one's title and notes stay.

    Frameworks come in their order, the controls of each by their ids.
    """
    found: dict[str, Control] = {}
    for control in controls:
        other = found.get(control.name)
        found[control.name] = control if other is None else _both(other, control)
    frameworks = list(dict.fromkeys(each.framework for each in found.values()))
    return sorted(
        found.values(), key=lambda each: (frameworks.index(each.framework), _ordered(each.id))
    )


def _ordered(text: str) -> list[tuple[int, str]]:
    """Part a text so that 10.2.1.9 comes before 10.2.1.10."""
    parts = re.split(r"([0-9]+)", text)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _both(one: Control, other: Control) -> Control:
    settings = one.settings + tuple(each for each in other.settings if each not in one.settings)
    note = one.note or other.note
    return Control(one.framework, one.id, one.title, one.lines + other.lines, settings, note)


def judge(
    control: Control, kernel: Kernel | None, lacking: Callable[[Rule], object | None]
) -> Judged:
    """Judge one control; `lacking` gives the folder that a rule needs and the host has not."""
    findings = tuple(
        _find(line, rule, kernel, lacking)
        for line, rule in zip(control.lines, control.rules, strict=True)
    )
    settings = tuple(
        Asked(each, None if kernel is None else kernel.settings.get(each.name))
        for each in control.settings
    )
    return Judged(control, _state(findings, settings), findings, settings)


def _find(
    line: Line, rule: Rule, kernel: Kernel | None, lacking: Callable[[Rule], object | None]
) -> Finding:
    if kernel is None:
        return Finding(line, rule, State.UNKNOWN, shared=True)
    order = kernel.order
    loaded = rule in order.positions
    first = order.first(rule, rule.action)
    never = order.first(rule, Action.NEVER) if rule.action is not Action.NEVER else None
    if never is not None and (first is None or never < first):
        return Finding(line, rule, State.HIDDEN, kernel.rules[never], loaded=loaded)
    end = len(kernel.rules) if first is None else first
    shared = any(True for _ in order.meeting(rule, rule.action, end))
    exceptions: tuple[Rule, ...] = ()
    if rule.action is not Action.NEVER:
        exceptions = tuple(order.meeting(rule, Action.NEVER, end))
    if first is not None:
        by = kernel.rules[first]
        if by.keys == rule.keys and (by == rule or takes_in(rule, by)):
            return Finding(line, rule, State.LOADED, None, exceptions, shared=shared, loaded=loaded)
        return Finding(line, rule, State.COVERED, by, exceptions, shared=True, loaded=loaded)
    folder = lacking(rule)
    if folder is not None:
        return Finding(line, rule, State.ABSENT, lacking=str(folder))
    return Finding(line, rule, State.MISSING, exceptions=exceptions, shared=shared)


def _state(findings: Sequence[Finding], settings: Sequence[Asked]) -> State:
    states = {each.state for each in findings}
    if not states:
        return State.SETTING if settings else State.NO_RULE
    if len(states) > 1:
        states.discard(State.ABSENT)
    if len(states) == 1:
        return states.pop()
    if states <= IN_FORCE:
        return State.COVERED
    return State.PARTLY if states & IN_FORCE else State.MISSING


def keys(control: Control) -> tuple[str, ...]:
    """Give the keys under which a control's events are stored: several keys of a rule as one."""
    return tuple(dict.fromkeys(",".join(rule.keys) for rule in control.rules if rule.keys))


def by_calls(judged: Judged) -> tuple[Rule, ...]:
    """Give the rules whose events may stand under another rule's key."""
    return tuple(
        each.rule
        for each in judged.findings
        if each.rule.action is Action.ALWAYS
        and each.rule.filter_list is FilterList.EXIT
        and (each.shared or not each.rule.keys)
    )


def as_json(report: Report) -> dict[str, Any]:
    """Give the report as JSON values; times are UTC."""
    return {
        "made": moment(report.made),
        "host": report.host,
        "kernel": report.release,
        "version": report.version,
        "store": report.store,
        "days": report.days,
        "proven": report.proven,
        "warnings": report.warnings,
        "unknown": report.unknown,
        "covered": None if report.share is None else _share(report.share),
        "sets": [
            {"name": each.name, "path": each.path, "sha256": each.sha256} for each in report.sources
        ],
        "tally": {str(state): count for state, count in report.tally().items()},
        "controls": [_control(each) for each in report.controls],
    }


def _share(share: Share) -> dict[str, int]:
    return {
        "covered": share.covered,
        "not_covered": share.not_covered,
        "unknown": share.unknown,
    }


def _control(judged: Judged) -> dict[str, Any]:
    control, seen = judged.control, judged.seen
    return {
        "framework": control.framework,
        "id": control.id,
        "title": control.title,
        "state": str(judged.state),
        "rules": [_finding(each) for each in judged.findings],
        "settings": [
            {
                "name": each.setting.name,
                "asked": each.setting.value,
                "now": each.now,
                "met": each.met,
            }
            for each in judged.settings
        ],
        "events": None if seen is None else seen.count,
        "last_seen": None if seen is None or seen.last is None else moment(seen.last),
        "counted_by": None if seen is None else seen.by,
        "rules_not_counted": 0 if seen is None else seen.uncounted,
        "note": control.note,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": str(finding.rule),
        "where": f"{finding.line.filename}:{finding.line.number}",
        "state": str(finding.state),
        "by": None if finding.by is None else str(finding.by),
        "but_for": [str(each) for each in finding.exceptions],
        "loaded": finding.loaded,
        "lacking": finding.lacking,
    }


def moment(second: int) -> str:
    """Write a time as UTC, `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
