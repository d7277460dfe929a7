"""What the rules report is made of: findings by rule, controls, the report. Values alone.

Each part but the controls may be unknown; the report then says why.
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
            f"Tasks that start now are not audited: `{printing.text(rule)}` stands."
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


def moment(second: int) -> str:
    """Write a time as UTC, `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
