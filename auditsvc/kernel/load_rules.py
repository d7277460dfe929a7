"""Loads the rules and settings of rule files into the kernel: all of them, or none.

    limits -> rules -> -e 0|1 -> what cannot be undone -> -e 2

When the kernel refuses a step, all steps before it are undone as far as possible. The rules
that a load added are written to a file that is valid until the next boot, so that a later
load can delete them when the files no longer name them; foreign rules stay. The file also
holds what the rule files want: a running service that stops leaves these rules and settings.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from auditsvc.errors import KernelError, LockedError
from auditsvc.kernel import apply_plan
from auditsvc.kernel.messages import LOCKED
from auditsvc.kernel.settings import read_settings
from auditsvc.rule import Set
from auditsvc.ruleset.difference import Difference, Owners, difference
from auditsvc.runtime import boot_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from auditsvc.kernel.control import Control
    from auditsvc.rule import Command, Rule
    from auditsvc.ruleset.difference import SettingDifference
    from auditsvc.ruleset.wanted import Wanted

    Skip = Callable[[str], None]


def owners(runtime: Path) -> Owners:
    """Read from the runtime directory what a load or the service added, and what it needs."""
    session = boot_file.recall(runtime / boot_file.SESSION) or {}
    return Owners(
        ours=boot_file.recall_rules(runtime / boot_file.LOADED, "rules"),
        held=boot_file.recall_rules(runtime / boot_file.SESSION, "holds"),
        backlog=int(session.get("needs_backlog", 0)),
    )


def compare(
    control: Control, wanted: Wanted, runtime: Path, *, exclusive: bool = False
) -> Difference:
    """Compare the kernel's rules and settings with the wanted ones."""
    now = read_settings(control, features="loginuid_immutable" in wanted.settings)
    return difference(wanted, control.rules(), owners(runtime), now, exclusive=exclusive)


def load(
    control: Control, wanted: Wanted, found: Difference, runtime: Path, skip: Skip | None = None
) -> Difference:
    """Make the changes in `found`, the result of `compare`; gives the changes that were made.

    KernelError when the kernel refuses a part: the kernel is then as before, or the error
    says what is not. With `skip`, it is called with a line for each refused part, and the
    rest is done. LockedError when audit is locked until the next boot.
    """
    if control.status().enabled == LOCKED:
        if found.equal:
            return found
        raise LockedError(
            "audit is locked (-e 2): no change is possible", "only a reboot unlocks it"
        )
    return _Loading(control, wanted, found, runtime, skip).run()


class _Loading:
    """One load: its steps, and how to undo them."""

    def __init__(
        self,
        control: Control,
        wanted: Wanted,
        found: Difference,
        runtime: Path,
        skip: Skip | None,
    ) -> None:
        self._control = control
        self._wanted = wanted
        self._found = found
        self._memory = runtime / boot_file.LOADED
        self._skip = skip
        self._refused: set[Rule] = set()
        self._set: list[SettingDifference] = []
        self._rules_made = False

    def run(self) -> Difference:
        """Do all steps, or undo them."""
        before = self._control.rules()
        remembered = boot_file.recall(self._memory) or {}
        ours = boot_file.recall_rules(self._memory, "rules").intersection(before)
        missing = set(self._found.missing)
        # Written first: after a crash the rules that were added must still be known as ours.
        self._remember(remembered, ours | missing)
        try:
            for step in self._steps():
                step()
        except KernelError as error:
            left = []
            if self._rules_made:
                left = apply_plan.restore(self._control, before, missing)
            left += self._restore_settings()
            self._remember(remembered, (ours | missing).intersection(self._control.rules()))
            if isinstance(error, LockedError) or not (self._rules_made or left):
                raise
            raise apply_plan.with_outcome(error, left) from error
        added = missing - self._refused
        now = {
            "load": time.time_ns(),
            "wanted": boot_file.as_hex(each.rule for each in self._wanted.rules),
            "settings": remembered.get("settings", {}) | self._settings_as_wanted(),
        }
        self._remember(now, (ours - set(self._found.unwanted)) | added)
        return replace(
            self._found,
            missing=[rule for rule in self._found.missing if rule in added],
            settings=self._set,
        )

    def _settings_as_wanted(self) -> dict[str, int]:
        """Give the settings that are now as the files want; a service that stops leaves them."""
        refused = {each.name for each in self._found.settings if each not in self._set}
        wanted = self._wanted.settings.items()
        return {name: value for name, value in wanted if name not in refused}

    def _steps(self) -> Iterator[Callable[[], None]]:
        settings = sorted(self._found.settings, key=_phase)
        yield from (self._setting(each) for each in settings if _phase(each) == 0)
        yield self._rules
        yield from (self._setting(each) for each in settings if _phase(each) == 1)
        yield from (self._action(each) for each in self._wanted.actions)
        yield from (self._setting(each) for each in settings if _phase(each) > 1)

    def _rules(self) -> None:
        skip = None if self._skip is None else self._skip_rule
        apply_plan.apply(self._control, self._found.changes, skip, self._wanted.where)
        self._rules_made = True

    def _skip_rule(self, rule: Rule, error: KernelError) -> None:
        self._refused.add(rule)
        if self._skip is not None:
            where = self._wanted.where.get(rule)
            self._skip(f"{where}: {error}" if where else str(error))

    def _setting(self, each: SettingDifference) -> Callable[[], None]:
        def change() -> None:
            self._control.apply(Set(each.name, each.wanted))
            self._set.append(each)

        return self._skippable(change)

    def _action(self, command: Command) -> Callable[[], None]:
        return self._skippable(lambda: self._control.apply(command))

    def _skippable(self, step: Callable[[], None]) -> Callable[[], None]:
        def attempt() -> None:
            try:
                step()
            except LockedError:
                raise
            except KernelError as error:
                if self._skip is None:
                    raise
                self._skip(str(error))

        return attempt

    def _restore_settings(self) -> list[str]:
        """Restore the old values of the settings; gives a sentence for each that failed."""
        left = []
        for each in reversed(self._set):
            if each.name == "loginuid_immutable":
                left.append("login uids stay immutable until the next boot")
                continue
            try:
                self._control.apply(Set(each.name, each.now))
            except KernelError as error:
                left.append(error.what)
        return left

    def _remember(self, values: dict[str, Any], rules: Collection[Rule]) -> None:
        boot_file.remember(self._memory, {**values, "rules": boot_file.as_hex(rules)})


def _phase(each: SettingDifference) -> int:
    """Give when a setting is changed: before the rules (0), after them (1), or last (2, 3)."""
    if each.name == "loginuid_immutable":
        return 2
    if each.name == "enabled":
        return 3 if each.wanted == LOCKED else 1
    return 0
