"""The numbers that conditions test, as the kernel compares them. Pure.

    condition -> tests (ranges.Test) of one number of the call

From audit_filter_rules in kernel/auditsc.c and audit_filter in kernel/auditfilter.c
(Linux 6.18). Some conditions do not mean what they seem to:

- `auid=unset`, with any operator, compares whether a login uid is set (0 or 1): no call
  meets `auid<unset`, and every call meets `auid>=unset`.
- `success`, with any operator, compares with 1 (success) or 2 (failure).
- `gid=` and `egid=` are also met by a supplementary group, and `!=` only if no
  supplementary group is equal; not so on the lists user and exclude.
- Devices, inodes and owners are those of any file that the call names: two such conditions
  may be met by two files. If the rule was found by `path=` or `inode=`, they are those of
  that file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.record.fields import UNSET
from auditsvc.rule import fields
from auditsvc.rule.model import FilterList
from auditsvc.ruleset import ranges

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from auditsvc.rule.model import Condition
    from auditsvc.ruleset.ranges import Test

EXIT: Final = 103
SUCCESS: Final = 104

GROUPS: Final = frozenset({5, 6})
"""gid and egid."""

SINGLE: Final = frozenset(
    (*range(13), 18, 25, 26, EXIT, SUCCESS, fields.SADDR_FAM, 200, 201, 202, 203)
)
"""Fields that have one number in a call, or none."""

_EVER: Final = frozenset((*range(11), 25))
"""Fields that every task has: pid, ids, personality, session."""

SEVERAL: Final = frozenset({100, 101, fields.INODE, 109, 110})
"""Fields that have one number for each file that a call names."""

FIRST_ERROR: Final = 0xFFFFF001
"""The smallest result that is an error: -4095 (MAX_ERRNO)."""

_SUCCEEDED, _FAILED = 1, 2  # AUDITSC_SUCCESS, AUDITSC_FAILURE
_LARGEST_PID: Final = 4 << 20  # PID_MAX_LIMIT
_BOUNDS: Final[dict[int, tuple[Test, ...]]] = (
    dict.fromkeys((0, 18), ((ranges.LESS_EQUAL, _LARGEST_PID),))
    | dict.fromkeys((*range(1, 9), 109, 110), ((ranges.LESS, UNSET),))
    | {
        SUCCESS: ((ranges.GREATER_EQUAL, _SUCCEEDED), (ranges.LESS_EQUAL, _FAILED)),
        fields.SADDR_FAM: ((ranges.LESS_EQUAL, 0xFFFF),),
    }
)
_NONE: Final = (ranges.LESS, 0)
_UNSET: Final[dict[int, tuple[Test, ...]]] = {
    ranges.EQUAL: ((ranges.EQUAL, UNSET),),
    ranges.NOT_EQUAL: ((ranges.NOT_EQUAL, UNSET),),
    ranges.LESS: (_NONE,),
    ranges.LESS_EQUAL: ((ranges.EQUAL, UNSET),),
    ranges.GREATER: ((ranges.NOT_EQUAL, UNSET),),
    ranges.GREATER_EQUAL: (),
}


def limits(field: int) -> tuple[Test, ...]:
    """Give the tests that a field's number passes in every call."""
    return _BOUNDS.get(field, ())


def necessary(condition: Condition, which: FilterList) -> tuple[Test, ...]:
    """Give the tests that the number passes whenever the condition is met."""
    tests = _tests(condition)
    if _by_groups(condition, which) and condition.operator == ranges.EQUAL:
        return ()
    return tests


def sufficient(condition: Condition, which: FilterList) -> tuple[Test, ...] | None:
    """Give tests that are enough to meet the condition; None if there are none."""
    if _by_groups(condition, which) and condition.operator == ranges.NOT_EQUAL:
        return None
    return _tests(condition)


def _tests(condition: Condition) -> tuple[Test, ...]:
    operator, value = condition.operator, int(condition.value)
    if condition.field == fields.AUID and value == UNSET:
        return _UNSET.get(operator, ())
    if condition.field == SUCCESS:
        return ((operator, _SUCCEEDED if value else _FAILED),)
    return ((operator, value),)


def _by_groups(condition: Condition, which: FilterList) -> bool:
    return condition.field in GROUPS and which not in (FilterList.USER, FilterList.EXCLUDE)


def implied(wanted: Condition, given: Collection[Condition], which: FilterList) -> bool:
    """Whether calls that meet all of `given` also meet `wanted`.

    A call need not have a number for every field. Where it may have several, a single
    condition of `given` must imply `wanted`.
    """
    needed = sufficient(wanted, which)
    if needed is None:
        return False
    field = wanted.field
    if field in SEVERAL:
        own = (each for each in given if each.field == field)
        return any(_imply([*limits(field), *necessary(each, which)], needed) for each in own)
    tests = known(field, given, which)
    return tests is not None and _imply(tests, needed)


def known(field: int, given: Collection[Condition], which: FilterList) -> list[Test] | None:
    """Give the tests that a field's number passes in calls that meet all of `given`.

    None: such a call may have no number for the field.
    """
    own = [each for each in given if each.field == field]
    if not (own or _is_there(field, given, which)):
        return None
    tests = [test for each in own for test in necessary(each, which)]
    return [*limits(field), *tests, *_linked(field, given)]


def _is_there(field: int, given: Collection[Condition], which: FilterList) -> bool:
    """Whether a call has a number for the field, although no condition tests it."""
    if field in (EXIT, SUCCESS):
        return any(each.field in (EXIT, SUCCESS) for each in given)
    return field in _EVER and which not in (FilterList.USER, FilterList.EXCLUDE)


def _imply(given: list[Test], needed: Iterable[Test]) -> bool:
    return all(ranges.implies(given, test) for test in needed)


def _linked(field: int, given: Collection[Condition]) -> list[Test]:
    """Give the tests of `exit` that follow from `success`, and the other way round.

    A result in the range of errors can be a success, an offset or an address, as only 32
    bits are compared.
    """
    if field == EXIT:
        outcomes = outcomes_of(given)
        return [(ranges.GREATER_EQUAL, FIRST_ERROR)] if outcomes == {_FAILED} else []
    if field == SUCCESS:
        results = [(each.operator, int(each.value)) for each in given if each.field == EXIT]
        if results and not ranges.possible([*results, (ranges.GREATER_EQUAL, FIRST_ERROR)]):
            return [(ranges.EQUAL, _SUCCEEDED)]
    return []


def outcomes_of(given: Collection[Condition]) -> set[int]:
    """Give which of success (1) and failure (2) the conditions on `success` allow."""
    tests = [
        test for each in given if each.field == SUCCESS for test in necessary(each, FilterList.EXIT)
    ]
    return {
        outcome
        for outcome in (_SUCCEEDED, _FAILED)
        if ranges.possible([*tests, (ranges.EQUAL, outcome)])
    }


def results_of(outcome: int) -> Test:
    """Give the test of the result that follows from success (1) or failure (2)."""
    failed = outcome == _FAILED
    return (ranges.GREATER_EQUAL if failed else ranges.LESS, FIRST_ERROR)
