"""Conditions that no call can meet: they exclude each other, or a list does not support them.

    conditions, filter list -> the fewest that exclude each other, empty if calls may meet all
    rule -> the conditions that its list does not support

Pure functions. A contradiction is reported only where the kernel's own comparison cannot be
true (ruleset/quantities.py), with two exceptions: a result in the range of errors counts as
a failure, although the low 32 bits of an offset or an address, which are all that the
kernel compares, may have such a value; and two names of a type of SELinux count as two types,
although one may be an alias of the other.
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
_SUBJ_USER, _SUBJ_ROLE, _SUBJ_TYPE = (
    fields.BY_NAME[f"subj_{n}"].number for n in ("user", "role", "type")
)
_IDENTITY: Final = frozenset({fields.EXE, _FILETYPE, _SUBJ_USER, _SUBJ_ROLE, _SUBJ_TYPE, *GROUPS})
"""Fields for which `!=` is exactly the opposite of `=`."""
_ONE_NAME: Final = frozenset({_SUBJ_USER, _SUBJ_TYPE})
"""Fields whose value is one name. Not the role, which AppArmor takes for a label: one of a stack
is met by several."""

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
        or _two_names(conditions)
        or any(_never_met(each, which) for each in conditions)
        or any(not ranges.possible(tests) for tests in _numbers(conditions, which))
        or _cannot_differ(conditions, which)
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


def _two_names(conditions: tuple[Condition, ...]) -> bool:
    """Whether a field that is one name has to be two."""
    wanted: dict[int, object] = {}
    return any(
        wanted.setdefault(each.field, each.value) != each.value
        for each in conditions
        if each.field in _ONE_NAME and each.operator == ranges.EQUAL
    )


def _cannot_differ(conditions: tuple[Condition, ...], which: FilterList) -> bool:
    """Whether `-C` requires two ids to differ that have to be the same number."""
    pairs = [
        _pair(each)
        for each in conditions
        if each.field == fields.COMPARE
        and each.operator == ranges.NOT_EQUAL
        and each.value in _OF_TASK
    ]
    if not pairs:
        return False
    joined = _joined(conditions)
    return any(
        second in joined.get(first, ())
        or (
            (only := _only(joined.get(first, {first}), conditions, which)) is not None
            and only == _only(joined.get(second, {second}), conditions, which)
        )
        for first, second in pairs
    )


def _only(group: set[int], conditions: tuple[Condition, ...], which: FilterList) -> int | None:
    """Give the number that these fields must have, if there is only one."""
    low, high = ranges.bounds(_tests(group, conditions, which))
    return low if low == high else None


def _pair(condition: Condition) -> tuple[int, int]:
    """Give the fields that `-C` compares."""
    first, second = fields.COMPARISONS[int(condition.value)]
    return fields.BY_NAME[first].number, fields.BY_NAME[second].number


def _never_met(condition: Condition, which: FilterList) -> bool:
    if condition.field not in SEVERAL:
        return False
    return not ranges.possible([*limits(condition.field), *necessary(condition, which)])


def _numbers(conditions: tuple[Condition, ...], which: FilterList) -> Iterator[list[ranges.Test]]:
    """Yield the tests of each number; ids that `-C` requires to be equal are one number."""
    for group in {min(group): group for group in _joined(conditions).values()}.values():
        yield _tests(group, conditions, which)


def _joined(conditions: tuple[Condition, ...]) -> dict[int, set[int]]:
    """Give for each field with one number in a call the fields with the same number."""
    of: dict[int, set[int]] = {}
    for each in conditions:
        if each.field in SINGLE:
            of.setdefault(each.field, {each.field})
    for each in conditions:
        if each.field == fields.COMPARE and each.operator == ranges.EQUAL:
            if each.value not in _OF_TASK:
                continue
            joined = set().union(*(of.get(field, {field}) for field in _pair(each)))
            of |= dict.fromkeys(joined, joined)
    return of


def _tests(
    group: set[int], conditions: tuple[Condition, ...], which: FilterList
) -> list[ranges.Test]:
    """Give the tests that the number of these fields passes."""
    return [test for field in group for test in limits(field)] + [
        test for each in conditions if each.field in group for test in necessary(each, which)
    ]


def _outcome_excluded(conditions: tuple[Condition, ...], which: FilterList) -> bool:
    results = [test for each in conditions if each.field == EXIT for test in necessary(each, which)]
    if not results or not any(each.field == SUCCESS for each in conditions):
        return False
    return not any(
        ranges.possible([*results, results_of(outcome)]) for outcome in outcomes_of(conditions)
    )
