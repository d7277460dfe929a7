"""The values of the rules report: findings for each rule, controls, the report.

Each part except the controls may be unknown; the report then says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final

from auditsvc.rule import printing
from auditsvc.ruleset.loaded_order import LoadedOrder
from auditsvc.ruleset.reach import never_task

if TYPE_CHECKING:
    from auditsvc.rule import Line, Rule, Set
    from auditsvc.ruleset.controls import Control


class ControlState(StrEnum):
    """The state of a rule in the kernel, or of all rules of a control."""

    LOADED = "loaded"
    """The kernel has it and applies it."""
    COVERED = "covered"
    """A broader rule logs the same calls, with its own key."""
    PARTLY = "partly"
    """Of a control: some of its rules are in force, some not."""
    HIDDEN = "hidden"
    """An earlier `never` rule excludes all its calls."""
    MISSING = "missing"
    """The kernel has neither it nor a broader one."""
    ABSENT = "absent"
    """What it watches does not exist on the host."""
    NO_RULE = "no rule"
    """Of a control: the sets have no rule for it."""
    SETTING = "setting"
    """Of a control: it asks for a setting of the kernel, not for a rule."""
    UNKNOWN = "not known"


REVIEW_DAYS: Final = 30
"""So many days back it is counted on how many of them the log was reviewed."""

IN_FORCE: Final = frozenset({ControlState.LOADED, ControlState.COVERED})


_PROVEN: Final = IN_FORCE | {ControlState.ABSENT, ControlState.SETTING}


_HIGHER_IS_STRICTER: Final = {"enabled", "failure", "backlog_limit", "loginuid_immutable"}


@dataclass(frozen=True)
class KernelState:
    """The kernel's rules in its order, and its settings by the names of `Set`."""

    rules: tuple[Rule, ...]
    settings: dict[str, int]

    @cached_property
    def order(self) -> LoadedOrder:
        """The rules in order, for finding those before another one."""
        return LoadedOrder(self.rules)


@dataclass(frozen=True, slots=True)
class Share:
    """Numbers of the host's tasks; `unknown` ones may be covered or not."""

    covered: int
    not_covered: int
    unknown: int

    def __str__(self) -> str:
        total = self.covered + self.not_covered + self.unknown
        return f"all {total:,}" if self.covered == total else f"{self.covered:,} of {total:,}"


@dataclass(frozen=True, slots=True)
class Seen:
    """Events of a control in the period of the report."""

    count: int
    last: int | None
    """Second of the last one, which may be before that period; None if there is none."""
    by: str = "key"
    """How they were found: by `key`, or also by `calls`, as another rule may have logged them."""
    uncounted: int = 0
    """Rules of the control whose calls cannot be found in the rows without their key."""


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """The state of one rule, and why."""

    line: Line
    rule: Rule
    state: ControlState
    by: Rule | None = None
    """The broader rule that covers or hides it."""
    exceptions: tuple[Rule, ...] = ()
    """Earlier `never` rules that may exclude some of its calls."""
    shared: bool = False
    """Whether an earlier rule may log some of its calls with another key."""
    lacking: str | None = None
    """The folder that the host lacks."""
    loaded: bool = False
    """Whether the kernel has the rule, in force or not."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A setting that a control requires; `now` is the kernel's value, None if unknown."""

    setting: Set
    now: int | None

    @property
    def met(self) -> bool | None:
        """Whether the kernel has this value, or a stricter one."""
        if self.now is None:
            return None
        if self.setting.name in _HIGHER_IS_STRICTER:
            return self.now >= self.setting.value
        return self.now == self.setting.value


@dataclass(frozen=True, slots=True)
class Judged:
    """One control: its rules and settings in the sets, and their state."""

    control: Control
    state: ControlState
    findings: tuple[RuleFinding, ...]
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
    """The report. Times are seconds since 1970."""

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
    kernel: KernelState | None
    share: Share | None = None
    unknown: dict[str, str] = field(default_factory=dict)
    """Why something is unknown: by `kernel`, `store`, `coverage`."""

    @property
    def warnings(self) -> list[str]:
        """Why loaded rules may log less than they seem to, a line each."""
        if self.kernel is None:
            return []
        found = []
        if not self.kernel.settings.get("enabled", 1):
            found.append(
                "Audit is off: no rule is applied. `auditsvc run` switches it on, or `auditsvc on`"
                " after `auditsvc off`."
            )
        found += [
            f"Tasks that start now are not audited: `{printing.text(rule)}` is loaded."
            for rule in never_task(self.kernel.rules)
        ]
        if self.share is not None and self.share.not_covered:
            found.append(
                f"Tasks that no rule can log: {self.share.not_covered}. See `auditsvc coverage`."
            )
        return found

    @property
    def remarks(self) -> list[str]:
        """The warnings, and what is unknown and why."""
        unknown = [f"Unknown ({what}): {why}" for what, why in self.unknown.items()]
        return self.warnings + unknown

    @property
    def proven(self) -> bool:
        """Whether audit is on and every control's rules are in force."""
        on = self.kernel is not None and bool(self.kernel.settings.get("enabled"))
        return on and not self.open

    @property
    def open(self) -> list[Judged]:
        """Controls with rules that are not in force."""
        return [each for each in self.controls if each.state not in _PROVEN]

    def tally(self) -> dict[ControlState, int]:
        """Number of controls in each state that occurs, in the order of ControlState."""
        states = [each.state for each in self.controls]
        return {state: states.count(state) for state in ControlState if state in states}


def moment(second: int) -> str:
    """Write a time as UTC, `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
