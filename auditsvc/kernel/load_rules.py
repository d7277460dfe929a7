"""Makes the kernel's rules and settings those of the rule files, or leaves them as they were.

    limits -> rules -> -e 0|1 -> what cannot be taken back -> -e 2

A refusal anywhere takes everything back that can be. Which rules are there because an
earlier load added them is remembered until the next boot, so that they go when the files
no longer name them; rules of others stay. Remembered too is what the files want: that
stays when a running service, which may hold the same rules, stops.
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
    from auditsvc.ruleset.wanted import Want

    Skip = Callable[[str], None]


def owners(runtime: Path) -> Owners:
    """Whose the loaded rules are, by the files in the runtime directory."""
    return Owners(
        ours=boot_file.recall_rules(runtime / boot_file.LOADED, "rules"),
        held=boot_file.recall_rules(runtime / boot_file.SESSION, "holds"),
    )


def compare(
    control: Control, wanted: Want, runtime: Path, *, exclusive: bool = False
) -> Difference:
    """Ask the kernel how it differs from what is wanted."""
    now = read_settings(control, features="loginuid_immutable" in wanted.settings)
    return difference(wanted, control.rules(), owners(runtime), now, exclusive=exclusive)


def load(
    control: Control, wanted: Want, found: Difference, runtime: Path, skip: Skip | None = None
) -> Difference:
    """Make the kernel as wanted; `found` is what `compare` said just now. Gives what was made.

    KernelError when the kernel refuses a part: then all is as before, or the error says what
    is not. With `skip`, that is told a line for each refused part and the rest is done.
    LockedError when audit is locked until the next boot.
    """
    if control.status().enabled == LOCKED:
        if found.equal:
            return found
        raise LockedError(
            "audit is locked (-e 2): nothing of this can be changed", "only a reboot unlocks it"
        )
    return _Loading(control, wanted, found, runtime, skip).run()


class _Loading:
    """One load: its steps, and the way back."""

    def __init__(
        self,
        control: Control,
        wanted: Want,
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
        """Make all, or take all back."""
        before = self._control.rules()
        remembered = boot_file.recall(self._memory) or {}
        ours = boot_file.recall_rules(self._memory, "rules").intersection(before)
        missing = set(self._found.missing)
        # Written first: after a crash a rule that we added must be known as ours.
        self._remember(remembered, ours | missing)
        try:
            for step in self._steps():
                step()
        except KernelError as error:
            left = []
            if self._rules_made:
                left = apply_plan.restore(self._control, before, missing)
            left += self._put_back()
            self._remember(remembered, (ours | missing).intersection(self._control.rules()))
            if isinstance(error, LockedError) or not (self._rules_made or left):
                raise
            raise apply_plan.taken_back(error, left) from error
        made = missing - self._refused
        now = {
            "load": time.time_ns(),
            "wanted": boot_file.as_hex(each.rule for each in self._wanted.rules),
            "settings": remembered.get("settings", {}) | self._made(),
        }
        self._remember(now, (ours - set(self._found.unwanted)) | made)
        return replace(
            self._found,
            missing=[rule for rule in self._found.missing if rule in made],
            settings=self._set,
        )

    def _made(self) -> dict[str, int]:
        """Settings that are as the files want them: a service that stops leaves them so."""
        refused = {each.name for each in self._found.settings if each not in self._set}
        wanted = self._wanted.settings.items()
        return {name: value for name, value in wanted if name not in refused}

    def _steps(self) -> Iterator[Callable[[], None]]:
        settings = sorted(self._found.settings, key=_phase)
        yield from (self._setting(each) for each in settings if _phase(each) == 0)
        yield self._rules
        yield from (self._setting(each) for each in settings if _phase(each) == 1)
        yield from (self._doing(each) for each in self._wanted.doings)
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
        def make() -> None:
            self._control.apply(Set(each.name, each.wanted))
            self._set.append(each)

        return self._skippable(make)

    def _doing(self, command: Command) -> Callable[[], None]:
        return self._skippable(lambda: self._control.apply(command))

    def _skippable(self, make: Callable[[], None]) -> Callable[[], None]:
        def attempt() -> None:
            try:
                make()
            except LockedError:
                raise
            except KernelError as error:
                if self._skip is None:
                    raise
                self._skip(str(error))

        return attempt

    def _put_back(self) -> list[str]:
        """Give the settings their old values; a sentence for each that has not got it."""
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
    """When a setting is made: before the rules (0), after them, or last of all."""
    if each.name == "loginuid_immutable":
        return 2
    if each.name == "enabled":
        return 3 if each.wanted == LOCKED else 1
    return 0
