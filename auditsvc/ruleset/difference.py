"""Wanted against loaded: what is missing, in the wrong place, or too much, and the changes.

    Want, loaded rules, whose they are, settings -> Difference

Whose a loaded rule is decides what becomes of it when it is not wanted: one that an
earlier load added goes, one that a running service holds stays, and so does a foreign
one, unless the wanted rules shall be the only ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.rule.commands import Add
from auditsvc.rule.model import Action, FilterList, Rule
from auditsvc.ruleset.plan import STAND_IN, Change, effective, plan

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from auditsvc.rule.commands import Setting
    from auditsvc.ruleset.wanted import Want

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
    """Whose loaded rules are: `ours` an earlier load's, `held` a running service's."""

    ours: frozenset[Rule] = frozenset()
    held: frozenset[Rule] = frozenset()


@dataclass(frozen=True, slots=True)
class SettingDifference:
    """A setting that the kernel has otherwise."""

    name: Setting
    now: int
    wanted: int

    def __str__(self) -> str:
        """As a line of a rule file."""
        return _OPTIONS[self.name].format(self.wanted)


@dataclass(frozen=True, slots=True)
class Difference:
    """How the kernel differs from what is wanted; `changes` make the rules equal."""

    missing: list[Rule]
    misplaced: list[Rule]
    """Wanted and loaded, but to be asked earlier or later."""
    unwanted: list[Rule]
    """Loaded, not wanted, and to be deleted."""
    foreign: list[Rule]
    """Loaded by others, not wanted, and left alone."""
    held: list[Rule]
    """Of the running service, not wanted, and left alone."""
    settings: list[SettingDifference]
    changes: list[Change]

    @property
    def equal(self) -> bool:
        """Whether nothing has to be changed."""
        return not (self.changes or self.settings)


def difference(
    wanted: Want,
    loaded: Sequence[Rule],
    owners: Owners,
    settings: Mapping[Setting, int],
    *,
    exclusive: bool = False,
) -> Difference:
    """Compare; `loaded` in the kernel's order, `settings` as the kernel has them now.

    `exclusive`: foreign rules go too.
    """
    named = {each.rule for each in wanted.rules}
    deleted = frozenset(wanted.deleted)
    removable = {
        rule
        for rule in loaded
        if rule not in owners.held
        and (exclusive or rule in owners.ours or rule in deleted or STAND_IN in rule.keys)
    }
    lines = [*wanted.rules, *_ahead(loaded, owners.held - named)]
    changes = plan(lines, loaded, removable)
    there = set(loaded)
    moved = there.intersection(change.rule for change in changes if change.verb == "delete")
    order = [each.rule for each in effective(wanted.rules)]
    left = [rule for rule in loaded if rule not in named and rule not in removable]
    return Difference(
        missing=[rule for rule in order if rule not in there],
        misplaced=[rule for rule in order if rule in moved],
        unwanted=[rule for rule in loaded if rule not in named and rule in removable],
        foreign=[rule for rule in left if rule not in owners.held],
        held=[rule for rule in left if rule in owners.held],
        settings=[
            SettingDifference(name, settings[name], value)
            for name, value in wanted.settings.items()
            if settings[name] != value
        ],
        changes=changes,
    )


def _ahead(loaded: Sequence[Rule], held: Collection[Rule]) -> list[Add]:
    """Give the service's exceptions at the heads of the lists, as lines that keep them there.

    They leave out the store's own server: behind an `always` of somebody's `-A` line they
    would do nothing, and the server would feed itself.
    """
    ahead: list[Rule] = []
    for which in FilterList:
        for rule in loaded:
            if rule.filter_list is not which:
                continue
            if rule not in held or rule.action is not Action.NEVER:
                break
            ahead.append(rule)
    return [Add(rule, prepend=True) for rule in reversed(ahead)]
