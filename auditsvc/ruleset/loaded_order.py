"""The loaded rules in the kernel's order: finds those that include or overlap a given rule.

    loaded rules -> position of the first that includes a rule; those that overlap it

The results are those of cover.includes and cover.overlap, without comparing every pair: two
rules can overlap only if the fields for which both require one value have the same value,
and if their files are the same or one is in the folder of the other.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from auditsvc.rule import fields
from auditsvc.rule.model import Action, FilterList
from auditsvc.ruleset import quantities, ranges
from auditsvc.ruleset.cover import CALL_LISTS, containing, is_not_normal, mask, overlap, tested
from auditsvc.ruleset.cover_index import CoverIndex

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from auditsvc.rule.model import Rule

Key = tuple["Hashable", ...]
_FILE: Final = -1  # used as a field number for the path= or dir= of a rule


class LoadedOrder:
    """The loaded rules in the kernel's order."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self.positions = {rule: position for position, rule in reversed(list(enumerate(rules)))}
        self._covers = {action: CoverIndex() for action in Action}
        self._near = {action: _Near() for action in Action}
        for position, rule in enumerate(rules):
            self._covers[rule.action].add(rule, position)
            self._near[rule.action].add(rule, position)

    def first(self, rule: Rule, action: Action) -> int | None:
        """Give the position of the first rule with an action that includes `rule`.

        A rule includes itself, even if no call can match it.
        """
        own = self.positions.get(rule) if rule.action is action else None
        found = self._covers[action].first(rule)
        return min((each for each in (own, found) if each is not None), default=None)

    def meeting(self, rule: Rule, action: Action, end: int) -> Iterator[Rule]:
        """Yield the rules with an action before position `end` that may overlap `rule`."""
        for position in self._near[action].of(rule):
            if position >= end:
                break
            if overlap(self._rules[position], rule):
                yield self._rules[position]


class _Near:
    """Rules indexed by the fields for which they require one value."""

    def __init__(self) -> None:
        self._rules: dict[tuple[int, ...], list[tuple[_Points, int]]] = defaultdict(list)
        self._points: dict[int, _Points] = {}
        self._found: dict[tuple[tuple[int, ...], tuple[int, ...]], dict[Key, list[int]]] = {}

    def add(self, rule: Rule, position: int) -> None:
        """Add a rule, before the first search; positions must be ascending."""
        points = _Points(rule)
        self._rules[points.kinds].append((points, position))
        self._points[position] = points

    def of(self, rule: Rule) -> Iterator[int]:
        """Yield the positions of rules that may overlap a rule, in order."""
        points = _Points(rule)
        found: list[list[int]] = []
        for kinds in self._rules:
            shared = tuple(kind for kind in kinds if kind in points.kinds)
            by_key = self._by_key(kinds, shared)
            found += (by_key.get(key, []) for key in points.keys(shared, found=False))
        merged = heapq.merge(*found)
        return (
            position
            for position, _ in itertools.groupby(merged)
            if not points.apart(self._points[position])
        )

    def _by_key(self, kinds: tuple[int, ...], shared: tuple[int, ...]) -> dict[Key, list[int]]:
        if (kinds, shared) not in self._found:
            by_key: dict[Key, list[int]] = defaultdict(list)
            for points, position in self._rules[kinds]:
                for key in points.keys(shared, found=True):
                    by_key[key].append(position)
            self._found[kinds, shared] = by_key
        return self._found[kinds, shared]


class _Points:
    """The values that a rule requires: its list, its numbers with one value, its path."""

    def __init__(self, rule: Rule) -> None:
        self._values: dict[int, Hashable] = {}
        self.ranges: dict[int, tuple[int, int]] = {}
        self.calls = mask(rule)
        self._list = rule.filter_list
        given = tested(rule)
        for each in given if rule.filter_list is not FilterList.FILESYSTEM else ():
            number = each.field
            if number in (fields.PATH, fields.DIR) and not is_not_normal(str(each.value)):
                self._values[_FILE] = str(each.value)
            elif number in quantities.SINGLE and number not in self.ranges:
                tests = quantities.known(number, given, rule.filter_list) or ()
                low, high = self.ranges[number] = ranges.bounds(tests)
                if low == high:
                    self._values[number] = low
        self.kinds = tuple(sorted(self._values))

    def apart(self, other: _Points) -> bool:
        """Whether they have no call in common, or no value in the range of a number."""
        if self._list in CALL_LISTS and not self.calls & other.calls:
            return True
        return any(
            low > between[1] or between[0] > high
            for number, (low, high) in self.ranges.items()
            if (between := other.ranges.get(number)) is not None
        )

    def keys(self, kinds: tuple[int, ...], *, found: bool) -> Iterator[Key]:
        """Yield the keys under which the rule is found, or, if not `found`, those to search."""
        values = ([self._values[kind]] for kind in kinds if kind != _FILE)
        files: list[Hashable] = [None]
        if _FILE in kinds:
            here, *above = containing(str(self._values[_FILE]))
            if found:
                files = [("at", here), *(("below", each) for each in above)]
            else:
                files = [*(("at", each) for each in (here, *above)), ("below", here)]
        return itertools.product([self._list], files, *values)
