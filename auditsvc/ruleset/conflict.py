"""Conditions that no call can meet: they exclude each other, or a list does not support them.

    conditions, filter list -> the fewest that exclude each other, empty if calls may meet all
    rule -> the conditions that its list does not support

Pure functions. A contradiction is reported only where the kernel's own comparison cannot be
true (ruleset/quantities.py), with one exception: a result in the range of errors counts as
a failure, although the low 32 bits of an offset or an address, which are all that the
kernel compares, may have such a value.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from auditsvc.rule import fields
from auditsvc.rule.model import FilterList
from auditsvc.ruleset import ranges
from auditsvc.ruleset.quantities import (
    EXIT,
    GROUPS,
    SEVERAL,
    SINGLE,
    SUCCESS,
    limits,
    necessary,
    outcomes_of,
    results_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from auditsvc.rule.model import Condition, Rule

_OF_TASK: Final = range(10, 26)
"""AUDIT_COMPARE_*: pairs of two ids of the task; the others compare with the owner of a file."""

_FILETYPE: Final = fields.BY_NAME["filetype"].number
_IDENTITY: Final = frozenset({fields.EXE, _FILETYPE, *GROUPS})
"""Fields for which `!=` is exactly the opposite of `=`."""

_MESSAGES: Final = (FilterList.USER, FilterList.EXCLUDE)
_OF_MESSAGES: Final = frozenset((0, 1, 5, 9, *range(12, 18), fields.EXE))
"""Fields that audit_filter() in kernel/auditfilter.c supports."""


def unsupported(rule: Rule) -> tuple[Condition, ...]:
    """Give the conditions (also keys) that make the rule never match on its list.

    On user and exclude the kernel then does not ask the rules after it either.
    """
    if rule.filter_list in _MESSAGES:
        return tuple(each for each in rule.conditions if each.field not in _OF_MESSAGES)
    if rule.filter_list is FilterList.TASK:  # at a fork there is no call yet
        return tuple(each for each in rule.conditions if each.field == fields.ARCH)
    return ()


def can_match_on_list(rule: Rule) -> bool:
    """Whether the rule can match on its list; on user and exclude it needs a condition."""
    return not unsupported(rule) and bool(rule.conditions or rule.filter_list not in _MESSAGES)


def exclude_each_other(
    conditions: Collection[Condition], which: FilterList
) -> tuple[Condition, ...]:
    """Give the conditions that exclude each other; empty where a call may meet all.

    The result may be a single condition that no call meets.
    """
    asked = tuple(dict.fromkeys(each for each in conditions if each.field != fields.KEY))
    if not excluded(asked, which):
        return ()
    for size in (1, 2):
        for some in itertools.combinations(asked, size):
            if excluded(some, which):
                return some
    for each in asked:  # three or more: remove those that are not needed
        without = tuple(one for one in asked if one != each)
        asked = without if excluded(without, which) else asked
    return asked


def excluded(conditions: tuple[Condition, ...], which: FilterList) -> bool:
    """Whether no call meets all of these conditions."""
    return (
        _opposed(conditions)
        or any(_never_met(each, which) for each in conditions)
        or any(not ranges.possible(tests) for tests in _numbers(conditions, which))
        or _outcome_excluded(conditions, which)
    )


def _opposed(conditions: tuple[Condition, ...]) -> bool:
    """Whether one condition is the opposite of another."""
    equal = {(each.field, each.value) for each in conditions if each.operator == ranges.EQUAL}
    return any(
        each.operator == ranges.NOT_EQUAL
        and (each.field, each.value) in equal
        and (each.field in _IDENTITY or (each.field == fields.COMPARE and each.value in _OF_TASK))
        for each in conditions
    )


def _never_met(condition: Condition, which: FilterList) -> bool:
    if condition.field not in SEVERAL:
        return False
    return not ranges.possible([*limits(condition.field), *necessary(condition, which)])


def _numbers(conditions: tuple[Condition, ...], which: FilterList) -> Iterator[list[ranges.Test]]:
    """Yield the tests of each number; ids that `-C` requires to be equal are one number."""
    of: dict[int, set[int]] = {}
    for each in conditions:
        if each.field in SINGLE:
            of.setdefault(each.field, {each.field})
    for each in conditions:
        if each.field == fields.COMPARE and each.operator == ranges.EQUAL:
            if each.value not in _OF_TASK:
                continue
            pair = [fields.BY_NAME[name].number for name in fields.COMPARISONS[int(each.value)]]
            joined = set().union(*(of.get(field, {field}) for field in pair))
            of |= dict.fromkeys(joined, joined)
    for joined in {min(group): group for group in of.values()}.values():
        tests = [test for field in joined for test in limits(field)]
        yield tests + [
            test for each in conditions if each.field in joined for test in necessary(each, which)
        ]


def _outcome_excluded(conditions: tuple[Condition, ...], which: FilterList) -> bool:
    results = [test for each in conditions if each.field == EXIT for test in necessary(each, which)]
    if not results or not any(each.field == SUCCESS for each in conditions):
        return False
    return not any(
        ranges.possible([*results, results_of(outcome)]) for outcome in outcomes_of(conditions)
    )
