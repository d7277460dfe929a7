"""Index of rules in order: finds the first one that includes another rule.

    add(rule, position), ... -> first(rule) -> position

The result is that of cover.includes for each pair, in time that hardly grows with the number
of rules. A rule includes another only if that one implies each of its conditions. So rules
are indexed by the values that must be equal: paths, permissions, machines and numbers with
one value. Rules that agree in all of these may differ in the range of one number; these are
found by bisection. All other tests (`!=`, bits, further ranges) are compared one by one:
few rules of a file differ only in these.

Contradictory conditions within one rule are not handled here.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.rule import fields
from auditsvc.rule.model import FilterList
from auditsvc.ruleset import quantities, ranges
from auditsvc.ruleset.conflict import can_match_on_list
from auditsvc.ruleset.cover import (
    by_inode,
    containing,
    implied,
    includes_for_any_call,
    mask,
    tested,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from auditsvc.rule.model import Condition, Rule

_ORDER: Final = frozenset(
    (ranges.EQUAL, ranges.LESS, ranges.LESS_EQUAL, ranges.GREATER, ranges.GREATER_EQUAL)
)
_ALL_PERMS: Final = 15
_MOST_SUBSETS: Final = 6  # up to so many conditions, all subsets are looked up

Kind = tuple[str, int, int]
"""A key that is looked up by equality: how it is compared, field, operator."""
Range = tuple[int, int]


class CoverIndex:
    """The added rules, indexed."""

    def __init__(self) -> None:
        self._shapes: dict[Hashable, dict[_Shape, dict[tuple[Hashable, ...], _Group]]] = {}
        self._others: list[tuple[Rule, int]] = []

    def add(self, rule: Rule, position: int) -> None:
        """Add a rule; positions must be ascending."""
        if not can_match_on_list(rule):
            return
        if rule.filter_list is FilterList.FILESYSTEM:
            self._others.append((rule, position))
            return
        wide = _Wide.of(rule)
        kinds = tuple(kind for kind, _ in wide.equal)
        values = tuple(value for _, value in wide.equal)
        shape = _Shape(kinds, tuple(each for each, _ in wide.ranges))
        groups = self._shapes.setdefault(_which(rule), {}).setdefault(shape, {})
        groups.setdefault(values, _Group()).add(wide, mask(rule), position)

    def first(self, rule: Rule, calls: int | None = None) -> int | None:
        """Give the position of the first rule that includes this one.

        `calls`: a mask of calls that replaces that of the rule.
        """
        wanted = mask(rule) if calls is None else calls
        narrow = _Narrow(rule)
        found = (
            group.first(narrow, shape.ranges, wanted)
            for shape, groups in self._shapes.get(_which(rule), {}).items()
            for values in narrow.values(shape)
            if (group := groups.get(values)) is not None
        )
        others = (position for wide, position in self._others if includes_for_any_call(wide, rule))
        return min((each for each in (*found, *others) if each is not None), default=None)


def _which(rule: Rule) -> Hashable:
    """Give the key that two rules must share to be comparable."""
    uring = rule.filter_list is FilterList.IO_URING
    return rule.filter_list, uring and by_inode(rule)


@dataclass(frozen=True, slots=True)
class _Shape:
    """The form of a rule's conditions without values: its equalities, and numbers with a range."""

    kinds: tuple[Kind, ...]
    ranges: tuple[int, ...]


@dataclass(slots=True)
class _Wide:
    """The conditions of an added rule, prepared for the index."""

    equal: list[tuple[Kind, Hashable]] = field(default_factory=list)
    ranges: list[tuple[int, Range]] = field(default_factory=list)
    rest: frozenset[Condition] = frozenset()

    @classmethod
    def of(cls, rule: Rule) -> _Wide:
        """Classify the conditions of a rule; those that every call meets are left out."""
        which = rule.filter_list
        wide = cls()
        rest: list[Condition] = []
        numbers: dict[int, list[ranges.Test]] = {}
        for each in dict.fromkeys(tested(rule)):
            tests = _order_tests(each, which)
            if tests is not None:
                numbers.setdefault(each.field, []).extend(tests)
            elif (equal := _equality(each)) is not None:
                wide.equal.append(equal)
            elif not implied(each, (), which):
                rest.append(each)
        for number, ordered in numbers.items():
            low, high = ranges.bounds(ordered)
            known = quantities.known(number, (), which)
            if known is not None and _within(ranges.bounds(known), (low, high)):
                continue
            if low == high:
                wide.equal.append((("number", number, 0), low))
            else:
                wide.ranges.append((number, (low, high)))
        wide.equal.sort(key=lambda each: (each[0], str(each[1])))
        wide.ranges.sort()
        wide.rest = frozenset(rest)
        return wide


def _order_tests(condition: Condition, which: FilterList) -> tuple[ranges.Test, ...] | None:
    """Give the tests of a number that define a range; None for other conditions."""
    if condition.field not in quantities.SINGLE or _is_of_groups(condition, which):
        return None
    tests = quantities.sufficient(condition, which)
    ordered = tests is not None and all(operator in _ORDER for operator, _ in tests)
    return tests if ordered else None


def _is_of_groups(condition: Condition, which: FilterList) -> bool:
    """Whether a supplementary group can meet the condition."""
    return condition.operator == ranges.EQUAL and not quantities.necessary(condition, which)


def _equality(condition: Condition) -> tuple[Kind, Hashable] | None:
    number, operator, value = condition.field, condition.operator, condition.value
    if operator == ranges.EQUAL and number in (fields.DIR, fields.PERM):
        where = containing(str(value))[0] if number == fields.DIR else value
        return ("within", number, 0), where
    if operator == ranges.EQUAL and number in quantities.GROUPS:
        return ("group", number, 0), value
    numeric = number in quantities.SINGLE | quantities.SEVERAL
    if numeric and (number, operator) != (fields.INODE, ranges.EQUAL):
        return None
    return ("same", number, operator), value


def _within(inner: Range, outer: Range) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


class _Narrow:
    """A rule that is searched for: the values under which a rule that includes it may be."""

    def __init__(self, rule: Rule) -> None:
        self.which = rule.filter_list
        self.given = tested(rule)
        self.conditions = frozenset(self.given)
        self._values: dict[Kind, tuple[Hashable, ...]] = {}
        self._ranges: dict[int, Range | None] = {}

    def values(self, shape: _Shape) -> Iterator[tuple[Hashable, ...]]:
        """Yield the values of equalities that this rule implies."""
        if any(self.range(number) is None for number in shape.ranges):
            return iter(())
        return itertools.product(*map(self._of, shape.kinds))

    def range(self, number: int) -> Range | None:
        """Give the smallest and the largest number that the rule's calls can have."""
        if number not in self._ranges:
            tests = quantities.known(number, self.given, self.which)
            self._ranges[number] = None if tests is None else ranges.bounds(tests)
        return self._ranges[number]

    def _of(self, kind: Kind) -> tuple[Hashable, ...]:
        if kind not in self._values:
            self._values[kind] = tuple(dict.fromkeys(self._find(kind)))
        return self._values[kind]

    def _find(self, kind: Kind) -> Iterator[Hashable]:
        how, number, operator = kind
        if how in ("number", "group"):
            between = self.range(number)
            if between is not None and between[0] == between[1]:
                yield between[0]
        for each in self.given:
            if how == "within" and number == fields.DIR:
                if each.field in (fields.DIR, fields.PATH):
                    yield from containing(str(each.value))
            elif each.field != number:
                continue
            elif how == "within":
                yield from (
                    perms for perms in range(_ALL_PERMS + 1) if not int(each.value) & ~perms
                )
            elif each.operator == (operator if how == "same" else ranges.EQUAL):
                yield each.value


class _Group:
    """Rules with the same equalities: by their other tests, by their calls, by the range."""

    def __init__(self) -> None:
        self._by_rest: dict[frozenset[Condition], dict[int, _Positions]] = {}
        self._fields: set[int] = set()
        self._unequal = True
        """Whether the rules' other tests are all `!=` of numbers."""

    def add(self, wide: _Wide, calls: int, position: int) -> None:
        """Add a rule."""
        self._fields.update(each.field for each in wide.rest)
        self._unequal = self._unequal and all(map(_is_unequal, wide.rest))
        by_calls = self._by_rest.setdefault(wide.rest, {})
        if calls not in by_calls:
            by_calls[calls] = _Nested() if len(wide.ranges) == 1 else _Listed()
        by_calls[calls].add([each for _, each in wide.ranges], position)

    def first(self, narrow: _Narrow, numbers: tuple[int, ...], calls: int) -> int | None:
        """Give the first position of a rule that includes `narrow`."""
        between = [narrow.range(number) or (0, ranges.LARGEST) for number in numbers]
        found = (
            positions.first(between)
            for rest in self._implied(narrow)
            for own, positions in self._by_rest[rest].items()
            if not calls & ~own
        )
        return min((each for each in found if each is not None), default=None)

    def _implied(self, narrow: _Narrow) -> Iterable[frozenset[Condition]]:
        """Give the sets of other tests that `narrow` implies."""
        about = [each for each in narrow.given if each.field in self._fields]
        if self._unequal and len(about) <= _MOST_SUBSETS and all(map(_is_unequal, about)):
            subsets = itertools.chain.from_iterable(
                itertools.combinations(about, size) for size in range(len(about) + 1)
            )
            return {rest for each in subsets if (rest := frozenset(each)) in self._by_rest}
        return [
            rest
            for rest in self._by_rest
            if all(implied(each, narrow.given, narrow.which) for each in rest - narrow.conditions)
        ]


def _is_unequal(condition: Condition) -> bool:
    return condition.operator == ranges.NOT_EQUAL and condition.field in quantities.SINGLE


class _Listed:
    """Positions of rules with no range, or with several; searched one after the other."""

    def __init__(self) -> None:
        self._entries: dict[tuple[Range, ...], int] = {}

    def add(self, own: list[Range], position: int) -> None:
        """Add a rule with its ranges."""
        self._entries.setdefault(tuple(own), position)

    def first(self, between: list[Range]) -> int | None:
        """Give the first position of a rule whose ranges contain these."""
        if not between:
            return self._entries.get(())
        ((low, high), *others) = between
        return next(
            (
                position
                for (own, *more), position in self._entries.items()
                if own[0] <= low and high <= own[1] and all(map(_within, others, more))
            ),
            None,
        )


class _Nested:
    """Positions of rules with one range: a Fenwick tree over the smallest number.

    Each node has the rules for some smallest numbers, and of these only the rules whose
    largest number is greater than those of all earlier rules.
    """

    def __init__(self) -> None:
        self._nodes: dict[int, tuple[list[int], list[int]]] = {}

    def add(self, own: list[Range], position: int) -> None:
        """Add a rule with its range."""
        ((low, high),) = own
        node = low + 1
        while node <= ranges.LARGEST + 1:
            highs, positions = self._nodes.setdefault(node, ([], []))
            if not highs or highs[-1] < high:
                highs.append(high)
                positions.append(position)
            node += node & -node

    def first(self, between: list[Range]) -> int | None:
        """Give the first position of a rule whose range contains this one."""
        ((low, high),) = between
        best = None
        node = low + 1
        while node:
            highs, positions = self._nodes.get(node, ((), ()))
            at = bisect_left(highs, high)
            if at < len(highs) and (best is None or positions[at] < best):
                best = positions[at]
            node -= node & -node
        return best


_Positions = _Listed | _Nested
