"""Compares wanted with loaded rules: which are missing, misplaced or unwanted; and the changes.

    Wanted, loaded rules, owners, settings -> Difference

What happens to a loaded rule that is not wanted depends on who added it: a rule of an
earlier load is deleted; a rule that a running service holds stays; a foreign rule stays,
unless the wanted rules are to be the only ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.rule.commands import Add
from auditsvc.rule.model import Action, FilterList, Rule
from auditsvc.ruleset.plan import STAND_IN, Change, effective, plan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from auditsvc.rule.commands import Setting
    from auditsvc.ruleset.wanted import Wanted

_OPTIONS: Final[dict[Setting, str]] = {
    "enabled": "-e {}",
    "failure": "-f {}",
    "rate_limit": "-r {}",
    "backlog_limit": "-b {}",
    "backlog_wait_time": "--backlog_wait_time {}",
    "loginuid_immutable": "--loginuid-immutable",
}


@dataclass(frozen=True, slots=True)
class Owners:
    """Who added loaded rules: `ours` an earlier load, `held` a running service."""

    ours: frozenset[Rule] = frozenset()
    held: frozenset[Rule] = frozenset()
    backlog: int = 0
    """The backlog limit that a running service needs at least."""


@dataclass(frozen=True, slots=True)
class SettingDifference:
    """A setting with another value in the kernel than the wanted one."""

    name: Setting
    now: int
    wanted: int

    def __str__(self) -> str:
        """Give it as a line of a rule file."""
        return _OPTIONS[self.name].format(self.wanted)


@dataclass(frozen=True, slots=True)
class Difference:
    """How the kernel differs from what is wanted; `changes` make the rules equal."""

    missing: list[Rule]
    misplaced: list[Rule]
    """Wanted and loaded, but at the wrong position."""
    unwanted: list[Rule]
    """Loaded, not wanted, and to be deleted."""
    foreign: list[Rule]
    """Loaded by others, not wanted, and kept."""
    held: list[Rule]
    """Of the running service, not wanted, and kept."""
    settings: list[SettingDifference]
    changes: list[Change]
    kept: list[SettingDifference] = field(default_factory=list)
    """Lower than the running service needs: they count when that stops."""

    @property
    def equal(self) -> bool:
        """Whether nothing has to be changed."""
        return not (self.changes or self.settings)


def difference(
    wanted: Wanted,
    loaded: Sequence[Rule],
    owners: Owners,
    settings: Mapping[Setting, int],
    *,
    exclusive: bool = False,
) -> Difference:
    """Compare; `loaded` in the kernel's order, `settings` as they are in the kernel now.

    `exclusive`: foreign rules are deleted too.
    """
    named = {each.rule for each in wanted.rules}
    deleted = frozenset(wanted.deleted)
    removable = {
        rule
        for rule in loaded
        if rule not in owners.held
        and (exclusive or rule in owners.ours or rule in deleted or STAND_IN in rule.keys)
    }
    lines = [*wanted.rules, *_ahead(loaded, owners.held - named, wanted.rules)]
    changes = plan(lines, loaded, removable)
    there = set(loaded)
    moved = there.intersection(change.rule for change in changes if change.verb == "delete")
    order = [each.rule for each in effective(wanted.rules)]
    left = [rule for rule in loaded if rule not in named and rule not in removable]
    least = _least(wanted, owners)
    return Difference(
        missing=[rule for rule in order if rule not in there],
        misplaced=[rule for rule in order if rule in moved],
        unwanted=[rule for rule in loaded if rule not in named and rule in removable],
        foreign=[rule for rule in left if rule not in owners.held],
        held=[rule for rule in left if rule in owners.held],
        settings=[
            SettingDifference(name, settings[name], value)
            for name, value in (wanted.settings | least).items()
            if settings[name] != value
        ],
        changes=changes,
        kept=[SettingDifference(name, least[name], wanted.settings[name]) for name in least],
    )


def _least(wanted: Wanted, owners: Owners) -> dict[Setting, int]:
    """Give the service's backlog limit where a lower one is wanted; 0 is no limit."""
    if 0 < wanted.settings.get("backlog_limit", 0) < owners.backlog:
        return {"backlog_limit": owners.backlog}
    return {}


def _ahead(loaded: Sequence[Rule], held: Collection[Rule], wanted: Iterable[Add]) -> list[Add]:
    """Give the service's `never` rules that no `always` precedes, as lines that keep them there.

    They exclude processes that would be fed with their own calls: the loader's, the store's
    server. After an `always` of an `-A` line they would have no effect. Without such a line they
    stay where they are: among `never` rules the order does not matter.
    """
    pressed = {each.rule.filter_list for each in wanted if _goes_ahead(each)}
    ahead: list[Rule] = []
    for which in FilterList:
        for rule in loaded:
            if rule.filter_list is not which or which not in pressed:
                continue
            if rule.action is not Action.NEVER:
                break
            if rule in held:
                ahead.append(rule)
    return [Add(rule, prepend=True) for rule in reversed(ahead)]


def _goes_ahead(each: Add) -> bool:
    return each.prepend and each.rule.action is Action.ALWAYS
