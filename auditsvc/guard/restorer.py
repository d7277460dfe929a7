"""Restorer: knows what should be in the kernel, and puts it back, though not without end.

What should be: the rules that were there at the beginning, in their order, the
service's own changes, and what others added that takes no cover (that is theirs to
delete again); the settings as they were, or better.

Two who undo each other must not spin: five times at once, then once in ten seconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.errors import KernelError
from auditsvc.guard.rule_changes import adopt
from auditsvc.kernel.apply_plan import apply
from auditsvc.kernel.settings import Settings, is_harmful
from auditsvc.rule import Add
from auditsvc.ruleset.plan import plan

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from auditsvc.guard.sanctioned import Loads
    from auditsvc.kernel.control import Control
    from auditsvc.rule import Rule
    from auditsvc.ruleset.plan import Change

log = structlog.get_logger()

AT_ONCE: Final = 5
AGAIN_SECONDS: Final = 10.0


@dataclass(slots=True)
class Result:
    """What the kernel holds after putting back, and what it refused."""

    rules: list[Rule]
    settings: Settings
    failed_rules: set[Rule] = field(default_factory=set)
    failed_settings: set[str] = field(default_factory=set)


class Restorer:
    """Changes the kernel only in `put_back`."""

    def __init__(self, control: Control, rules: Sequence[Rule], settings: Settings) -> None:
        """Take what is now for what should be."""
        self.rules = list(rules)
        self.settings = settings
        self._control = control
        self._adopted: set[Rule] = set()
        self._tokens, self._filled_at = float(AT_ONCE), time.monotonic()

    def accept(
        self,
        rules: Sequence[Rule],
        settings: Settings,
        *,
        others: Collection[Rule],
        loads: Loads,
    ) -> None:
        """Take in what does no harm, and what is meant; better limits too.

        `others` are rules that somebody added, theirs to delete again; `loads` what
        `rules load` answers for.
        """
        gone = self._adopted.union(loads.gone).difference(rules)
        # One of ours that somebody else adds again is ours for all that.
        theirs = set(others).difference(self.rules)
        self._adopted = (self._adopted | theirs).difference(gone, loads.rules)
        leaving = gone | loads.placed.intersection(rules)
        kept = [rule for rule in self.rules if rule not in leaving]
        meant = loads.rules.union(others, loads.placed)
        self.rules = adopt(kept, rules, meant.intersection(rules).difference(kept))
        for name, wanted, now in zip(Settings._fields, self.settings, settings, strict=True):
            harmless = not is_harmful(name, wanted, now) or loads.settings.get(name) == now
            if name != "enabled" and harmless:
                self.settings = self.settings._replace(**{name: now})

    def surrender(self, rules: Sequence[Rule], settings: Settings) -> None:
        """Take what is for what should be: nothing can be changed any more."""
        self.rules, self.settings = list(rules), settings

    def is_wanted(self, rule: Rule | None) -> bool:
        """Whether a rule should be there."""
        return rule in self.rules

    def differs(self, rules: Sequence[Rule], settings: Settings) -> bool:
        """Whether there is something to put back."""
        return settings != self.settings or bool(self._plan(self.rules, rules))

    def put_back(self, rules: Sequence[Rule], settings: Settings) -> Result | None:
        """Make the kernel hold what it should; None if that was done too often of late.

        What the kernel refuses is wanted no more: else it would be tried for ever.
        """
        if not self._may():
            return None
        failed_settings = self._set_back(settings)
        failed_rules = self._rules_back(rules)
        self.rules = [rule for rule in self.rules if rule not in failed_rules]
        if failed_settings:
            self.settings = Settings.from_status(self._control.status())
        now = self._control.rules() if failed_rules else list(self.rules)
        return Result(now, self.settings, failed_rules, failed_settings)

    def _set_back(self, now: Settings) -> set[str]:
        failed = set()
        for name, value in self.settings._asdict().items():
            if getattr(now, name) == value:
                continue
            try:
                self._control.set(**{name: value})
            except KernelError as error:
                log.error("a setting cannot be put back", why=str(error))  # noqa: TRY400 - no traceback
                failed.add(name)
        return failed

    def _rules_back(self, loaded: Sequence[Rule]) -> set[Rule]:
        """Load what is wanted and nothing else; gives the rules that could not be put right."""
        failed: set[Rule] = set()

        def skip(rule: Rule, error: KernelError) -> None:
            log.error("a rule cannot be put back", why=str(error))
            failed.add(rule)

        try:
            # One that is refused (what it watches is gone) must not keep the others out.
            apply(self._control, self._plan(self.rules, loaded), skip)
        except KernelError as error:
            log.error("the rules cannot be put back", why=str(error))  # noqa: TRY400 - no traceback
            return set(self.rules).symmetric_difference(self._control.rules())
        return failed

    def _plan(self, wanted: Sequence[Rule], loaded: Sequence[Rule]) -> list[Change]:
        return plan([Add(rule) for rule in wanted], loaded, loaded)

    def _may(self) -> bool:
        now = time.monotonic()
        filled = self._tokens + (now - self._filled_at) / AGAIN_SECONDS
        self._tokens, self._filled_at = min(filled, AT_ONCE), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
