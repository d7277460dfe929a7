"""Compares two lists of rules in the kernel's order. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditsvc.rule import FilterList
from auditsvc.ruleset.plan import ORDERLESS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from auditsvc.rule import Rule


@dataclass(frozen=True, slots=True)
class Differences:
    """Rules that were deleted, added, and that changed their position among the others."""

    deleted: list[Rule]
    added: list[Rule]
    moved: list[Rule]


def differences(before: Sequence[Rule], now: Sequence[Rule]) -> Differences:
    """Compare; the kernel has no rule twice, and applies each list separately."""
    old, new = set(before), set(now)
    return Differences(
        deleted=[rule for rule in before if rule not in new],
        added=[rule for rule in now if rule not in old],
        moved=[
            rule
            for which in FilterList
            if which not in ORDERLESS
            for rule in _moved(
                [rule for rule in before if rule.filter_list is which],
                [rule for rule in now if rule.filter_list is which and rule in old],
            )
        ],
    )


def _moved(before: Sequence[Rule], now: Sequence[Rule]) -> list[Rule]:
    """Give the fewest rules that explain the new order; of two that swapped, the later one.

    The others are a longest increasing sequence of old positions (patience sorting).
    """
    positions = {rule: position for position, rule in enumerate(before)}
    ends: list[int] = []  # the lowest old position that a sequence of each length can end with
    lengths: list[int] = []  # of the longest sequence that ends with each rule
    for rule in now:
        at = bisect_left(ends, positions[rule])
        ends[at : at + 1] = [positions[rule]]
        lengths.append(at + 1)
    stayed: set[Rule] = set()
    wanted, bound = len(ends), len(before)
    while wanted:
        # The first rule that ends such a sequence: a rule that is added again is usually last.
        at = next(
            n for n, length in enumerate(lengths) if length == wanted and positions[now[n]] < bound
        )
        stayed.add(now[at])
        wanted, bound = wanted - 1, positions[now[at]]
    return [rule for rule in now if rule not in stayed]


def adopt(order: Sequence[Rule], now: Sequence[Rule], new: Collection[Rule]) -> list[Rule]:
    """Insert the rules `new` of `now` into `order`, each after the rule before it in `now`."""
    adopted = list(order)
    for which in FilterList:
        last = None
        for rule in (rule for rule in now if rule.filter_list is which):
            if rule in new:
                at = 0 if last is None else adopted.index(last) + 1
                adopted.insert(at, rule)
            if rule in adopted:
                last = rule
    return adopted
