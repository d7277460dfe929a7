"""Restorer: knows the wanted state of the kernel and restores it, at a limited rate.

Wanted are: the rules loaded at the beginning, in their order; the service's own changes;
rules that others added and that do not reduce coverage (they may delete these again); the
settings at the beginning, or better ones.

Two programs may undo each other's changes without end. Therefore: five times at once, then
once in ten seconds.
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
    """The kernel's state after restoring, and what it refused."""

    rules: list[Rule]
    settings: Settings
    failed_rules: set[Rule] = field(default_factory=set)
    failed_settings: set[str] = field(default_factory=set)


class Restorer:
    """Changes the kernel only in `put_back`."""

    def __init__(self, control: Control, rules: Sequence[Rule], settings: Settings) -> None:
        """Take the current state as the wanted one."""
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
        """Accept harmless and sanctioned changes, and better limits.

        `others` are rules that somebody added and may delete again; `loads` are changes
        by `rules load`.
        """
        gone = self._adopted.union(loads.gone).difference(rules)
        # One of ours that somebody else adds again is still ours.
        theirs = set(others).difference(self.rules)
        self._adopted = (self._adopted | theirs).difference(gone, loads.rules)
        leaving = gone | loads.placed.intersection(rules)
        kept = [rule for rule in self.rules if rule not in leaving]
        sanctioned = loads.rules.union(others, loads.placed)
        self.rules = adopt(kept, rules, sanctioned.intersection(rules).difference(kept))
        for name, wanted, now in zip(Settings._fields, self.settings, settings, strict=True):
            harmless = not is_harmful(name, wanted, now) or loads.settings.get(name) == now
            if name != "enabled" and harmless:
                self.settings = self.settings._replace(**{name: now})

    def accept_all(self, rules: Sequence[Rule], settings: Settings) -> None:
        """Accept the current state: nothing can be changed any more."""
        self.rules, self.settings = list(rules), settings

    def is_wanted(self, rule: Rule | None) -> bool:
        """Whether a rule should be loaded."""
        return rule in self.rules

    def differs(self, rules: Sequence[Rule], settings: Settings) -> bool:
        """Whether there is something to restore."""
        return settings != self.settings or bool(self._plan(self.rules, rules))

    def put_back(self, rules: Sequence[Rule], settings: Settings) -> Result | None:
        """Restore the wanted state; None if that was done too often recently.

        What the kernel refuses is no longer wanted: otherwise it would be tried forever.
        """
        if not self._may_put_back():
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
                log.error("a setting cannot be restored", why=str(error))  # noqa: TRY400 - no traceback
                failed.add(name)
        return failed

    def _rules_back(self, loaded: Sequence[Rule]) -> set[Rule]:
        """Load exactly the wanted rules; gives the rules that failed."""
        failed: set[Rule] = set()

        def skip(rule: Rule, error: KernelError) -> None:
            log.error("a rule cannot be restored", why=str(error))
            failed.add(rule)

        try:
            # One refused rule (what it watches was deleted) must not stop the others.
            apply(self._control, self._plan(self.rules, loaded), skip)
        except KernelError as error:
            log.error("the rules cannot be restored", why=str(error))  # noqa: TRY400 - no traceback
            return set(self.rules).symmetric_difference(self._control.rules())
        return failed

    def _plan(self, wanted: Sequence[Rule], loaded: Sequence[Rule]) -> list[Change]:
        return plan([Add(rule) for rule in wanted], loaded, loaded)

    def _may_put_back(self) -> bool:
        now = time.monotonic()
        filled = self._tokens + (now - self._filled_at) / AGAIN_SECONDS
        self._tokens, self._filled_at = min(filled, AT_ONCE), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
