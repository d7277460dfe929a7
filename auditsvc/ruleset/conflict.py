"""What no call can match: conditions that exclude each other, or that a list cannot judge. Pure.

    conditions, filter list -> the fewest that exclude each other, none if calls may meet all
    rule -> the conditions that its list cannot judge

Said only where the kernel's own comparison cannot hold (rule/quantities.py), with one
liberty: a result that reads as an error is taken for a failure, though the low 32 bits of
an offset or an address, which alone are compared, may read so.
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
    outcomes_of,
    results_of,
    said,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from auditsvc.rule.model import Condition, Rule

_OF_TASK: Final = range(10, 26)
"""AUDIT_COMPARE_*: pairs of which a task has one each; the others compare with a file's owner."""

_FILETYPE: Final = fields.BY_NAME["filetype"].number
_IDENTITY: Final = frozenset({fields.EXE, _FILETYPE, *GROUPS})
"""Fields whose `=` is met exactly where their `!=` is not."""

_MESSAGES: Final = (FilterList.USER, FilterList.EXCLUDE)
_OF_MESSAGES: Final = frozenset((0, 1, 5, 9, *range(12, 18), fields.EXE))
"""Fields that audit_filter() in kernel/auditfilter.c knows."""


def unjudged(rule: Rule) -> tuple[Condition, ...]:
    """Give the conditions, keys among them, for which the rule never matches on its list.

    On user and exclude the kernel then asks no rule behind it either.
    """
    if rule.filter_list in _MESSAGES:
        return tuple(each for each in rule.conditions if each.field not in _OF_MESSAGES)
    if rule.filter_list is FilterList.TASK:  # there is no call yet
        return tuple(each for each in rule.conditions if each.field == fields.ARCH)
    return ()


def is_judged(rule: Rule) -> bool:
    """Whether the list can match the rule at all; without a condition, user and exclude do not."""
    return not unjudged(rule) and bool(rule.conditions or rule.filter_list not in _MESSAGES)


def exclude_each_other(
    conditions: Collection[Condition], which: FilterList
) -> tuple[Condition, ...]:
    """Give the conditions that exclude each other; empty where a call may meet all.

    One alone may be met by none.
    """
    asked = tuple(dict.fromkeys(each for each in conditions if each.field != fields.KEY))
    if not excluded(asked, which):
        return ()
    for size in (1, 2):
        for some in itertools.combinations(asked, size):
            if excluded(some, which):
                return some
    for each in asked:  # three and more: none is left that could be missed
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
    """Whether one says of the same what another denies."""
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
    return not ranges.possible([*limits(condition.field), *said(condition, which)])


def _numbers(conditions: tuple[Condition, ...], which: FilterList) -> Iterator[list[ranges.Test]]:
    """Yield what is said of each number; ids that `-C` calls equal are one number."""
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
            test for each in conditions if each.field in joined for test in said(each, which)
        ]


def _outcome_excluded(conditions: tuple[Condition, ...], which: FilterList) -> bool:
    results = [test for each in conditions if each.field == EXIT for test in said(each, which)]
    if not results or not any(each.field == SUCCESS for each in conditions):
        return False
    return not any(
        ranges.possible([*results, results_of(outcome)]) for outcome in outcomes_of(conditions)
    )
