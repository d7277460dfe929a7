"""Plans the changes after which the kernel has the wanted rules in the wanted order.

    wanted (lines of rule files), loaded (the kernel's order) -> changes, in order

The kernel appends at the tail or prepends at the head of a filter list, refuses a rule that
is already loaded, and cannot move rules (audit_add_rule in kernel/auditfilter.c; `prio`
there makes the listed order that of the first match, for watches too). So one run of wanted
rules that is already in the right order stays: the one that needs the most requests to
move. Rules before it are prepended and rules after it appended; a wanted rule that is
loaded elsewhere is deleted and added again.

Invariants:

- The wanted rules end up in the order that auditctl would give them: `-A` lines first,
  the last of them at the head, then `-a` and `-w` lines in order; a repeated rule is at
  the position of its first line.
- Foreign rules (neither wanted nor removable) are not changed. Relative to foreign rules of
  the opposite action (an `always` and a `never`; rules of the same action can only change
  the key of a record) the file decides as with auditctl: `-A` rules go before all of them,
  `-a` rules never go before one. So a `never` that is to exclude something from a foreign
  `always` must be an `-A` line; as an `-a` line it has no effect there.
- What is logged both before and after is logged at every step in between. While an `always`
  rule moves, a stand-in is at the head: the same rule with one more key. `never` rules are
  deleted first and added last: in between, more is logged.
  One exception cannot be avoided: an `-A` line's `always` before an `-A` line's `never`, if
  that `never` or an `-A` line after it has to go before a foreign rule. What both match is
  not logged between the two requests.
- All requests that the kernel may refuse come before any unwanted rule is deleted.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from auditsvc.rule import fields
from auditsvc.rule.model import (
    KEY_SEPARATOR,
    MAX_CONDITIONS,
    MAX_KEY,
    Action,
    Condition,
    FilterList,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from auditsvc.rule.commands import Add

STAND_IN: Final = "auditsvc-stand-in"
"""Key of rules that replace another one while it moves; if found later, a crash left it."""

ORDERLESS: Final = frozenset({FilterList.EXCLUDE, FilterList.FILESYSTEM})
"""Lists on which the order does not matter (audit_filter, __audit_inode_child)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One request: add a rule at the end or at the head of its list, or delete it."""

    verb: Literal["append", "prepend", "delete"]
    rule: Rule


def effective(wanted: Iterable[Add]) -> list[Add]:
    """Give the wanted rules, each once, in the order that a kernel without rules would have."""
    order: deque[Add] = deque()
    known: set[Rule] = set()
    for each in wanted:
        if each.rule not in known:
            known.add(each.rule)
            if each.prepend:
                order.appendleft(each)
            else:
                order.append(each)
    return list(order)


def plan(
    wanted: Sequence[Add], loaded: Sequence[Rule], removable: Collection[Rule] = ()
) -> list[Change]:
    """Give the changes that lead to the wanted rules; empty if they are loaded already.

    `loaded` in the kernel's order. `removable` loaded rules are deleted unless they are
    wanted, and so are stand-ins that a crash left.
    """
    order = effective(wanted)
    going = unwanted(order, loaded, removable)
    building: list[Change] = []
    clearing: list[Change] = []
    for which in FilterList:
        part = _ListPlan(
            [each for each in order if each.rule.filter_list is which],
            [rule for rule in loaded if rule.filter_list is which],
            [rule for rule in going if rule.filter_list is which],
        )
        building += part.building()
        clearing += part.clearing()
    return building + clearing


def unwanted(
    wanted: Iterable[Add], loaded: Iterable[Rule], removable: Collection[Rule] = ()
) -> list[Rule]:
    """Give the loaded rules that `plan` deletes for good."""
    keep = {each.rule for each in wanted}
    may_go = frozenset(removable)
    return [
        rule for rule in loaded if rule not in keep and (rule in may_go or STAND_IN in rule.keys)
    ]


def stand_in(rule: Rule, taken: Collection[Rule] = ()) -> Rule:
    """Give a rule that matches all that this one does, and is not equal to one in `taken`."""
    others = [condition for condition in rule.conditions if condition.field != fields.KEY]
    for count in itertools.count(1):
        extra = [STAND_IN] * count
        keys = KEY_SEPARATOR.join([*rule.keys, *extra])
        if len(keys.encode(errors="surrogateescape")) > MAX_KEY:
            keys = KEY_SEPARATOR.join(extra)
        # With one condition less it matches more, which is harmless for a short time.
        key = Condition(fields.KEY, fields.EQUAL, keys)
        found = replace(rule, conditions=(*others[: MAX_CONDITIONS - 1], key))
        if found not in taken:
            return found
    raise AssertionError


def _requests(each: Add) -> int:
    """Number of requests to move a rule: delete and add, for an `always` also its stand-in."""
    return 4 if each.rule.action is Action.ALWAYS else 2


class _ListPlan:
    """The plan for one filter list: rules to prepend, a run that stays, rules to append."""

    def __init__(self, wanted: list[Add], loaded: list[Rule], going: list[Rule]) -> None:
        self._at = {rule: place for place, rule in enumerate(loaded)}
        self._going = going
        ours = {each.rule for each in wanted}.union(going)
        foreign = [rule for rule in loaded if rule not in ours]
        # Positions of the foreign rules whose order relative to this action matters.
        self._opposite = {
            action: [self._at[rule] for rule in foreign if rule.action is not action]
            for action in Action
        }
        if wanted and wanted[0].rule.filter_list in ORDERLESS:
            missing = [each for each in wanted if each.rule not in self._at]
            self._before = [each.rule for each in missing if each.prepend]
            self._behind = [each.rule for each in missing if not each.prepend]
        else:
            start, end = self._staying(wanted)
            self._before = [each.rule for each in wanted[:start]]
            self._behind = [each.rule for each in wanted[end:]]
        self._moving = [rule for rule in (*self._before, *self._behind) if rule in self._at]
        self._stand_ins = self._make_stand_ins()

    def building(self) -> list[Change]:
        """Give the changes that put every wanted rule into its position."""
        return [
            *(Change("prepend", rule) for rule in self._stand_ins),
            *(Change("delete", rule) for rule in self._moving),
            *(Change("prepend", rule) for rule in self._before[::-1]),
            *(Change("append", rule) for rule in self._behind),
        ]

    def clearing(self) -> list[Change]:
        """Give the changes that delete unwanted rules and stand-ins.

        An unwanted `never` may be before a rule that has moved, so it is deleted before the
        stand-ins. An unwanted `always` is deleted last, when all rules are in position.
        """
        return [
            *(Change("delete", rule) for rule in self._going if rule.action is Action.NEVER),
            *(Change("delete", rule) for rule in self._stand_ins),
            *(Change("delete", rule) for rule in self._going if rule.action is Action.ALWAYS),
        ]

    def _make_stand_ins(self) -> list[Rule]:
        moving = (rule for rule in self._moving if rule.action is Action.ALWAYS)
        return list(dict.fromkeys(stand_in(rule, self._at) for rule in moving))

    def _staying(self, wanted: list[Add]) -> tuple[int, int]:
        """Give start and end of the run of wanted rules that stays: the costliest to move."""
        heads = sum(each.prepend for each in wanted)
        # An -A rule should not be appended after any foreign rule, and must not be
        # appended after one of the other action.
        needed = max(
            (k + 1 for k in range(heads) if self._opposite[wanted[k].rule.action]), default=0
        )
        gapless, possible = self._largest_starts(wanted)
        runs = self._runs(wanted)
        ahead = heads if any(self._opposite.values()) else 0
        for least_end, largest_start in (
            (ahead, gapless),
            (needed, gapless),
            (needed, possible),
        ):
            split = min(heads, largest_start)
            usable = [
                (start, end)
                for start, end in (*runs, (split, split))
                if start <= largest_start and end >= least_end
            ]
            if usable:
                break
        return max(usable, key=lambda run: sum(map(_requests, wanted[slice(*run)])))

    def _largest_starts(self, wanted: list[Add]) -> tuple[int, int]:
        """Give how many wanted rules may be prepended: without a gap in logging, and at all.

        A rule that is not an `-A` line must not be put before a foreign one of the other
        action. An `always` before a `never` leaves a gap, as the `never` is prepended first.
        """
        possible = 0
        for each in wanted:
            if not each.prepend and self._opposite[each.rule.action]:
                break
            possible += 1
        gapless = 0
        actions = [each.rule.action for each in wanted[:possible]]
        for action in actions:
            if action is Action.NEVER and Action.ALWAYS in actions[:gapless]:
                break
            gapless += 1
        return gapless, possible

    def _runs(self, wanted: list[Add]) -> list[tuple[int, int]]:
        """Give the runs of wanted rules that are loaded in the right order, as (start, end)."""
        runs: list[tuple[int, int]] = []
        last = None
        for place, each in enumerate(wanted):
            at = self._at.get(each.rule)
            if at is not None and each.prepend:
                opposite = self._opposite[each.rule.action]
                at = None if opposite and opposite[0] < at else at  # in the kernel's order
            if at is not None and last is not None and last < at:
                runs[-1] = (runs[-1][0], place + 1)
            elif at is not None:
                runs.append((place, place + 1))
            last = at
        return runs
