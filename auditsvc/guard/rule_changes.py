"""What became of the loaded rules: two lists in the kernel's order in, what differs out. Pure."""

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
    """Rules that went, that came, and that stand elsewhere among those that stayed."""

    deleted: list[Rule]
    added: list[Rule]
    moved: list[Rule]


def differences(before: Sequence[Rule], now: Sequence[Rule]) -> Differences:
    """Compare; the kernel holds no rule twice, and asks each list by itself."""
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
    """Give as few rules as explain the new order; of two that swapped, the one that stands later.

    What stayed is a longest rising run of the old places (patience sorting).
    """
    places = {rule: place for place, rule in enumerate(before)}
    ends: list[int] = []  # the lowest old place that a run of each length can end with
    lengths: list[int] = []  # of the longest run that ends with each rule
    for rule in now:
        at = bisect_left(ends, places[rule])
        ends[at : at + 1] = [places[rule]]
        lengths.append(at + 1)
    stayed: set[Rule] = set()
    wanted, bound = len(ends), len(before)
    while wanted:
        # The first rule that ends such a run: whoever is added again mostly comes last.
        at = next(
            n for n, length in enumerate(lengths) if length == wanted and places[now[n]] < bound
        )
        stayed.add(now[at])
        wanted, bound = wanted - 1, places[now[at]]
    return [rule for rule in now if rule not in stayed]


def adopt(order: Sequence[Rule], now: Sequence[Rule], new: Collection[Rule]) -> list[Rule]:
    """Put the rules `new`, which `now` holds, into `order`: each behind what it stands behind."""
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
