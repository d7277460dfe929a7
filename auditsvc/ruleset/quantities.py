"""What conditions say of the numbers that the kernel compares. Pure.

    condition -> tests (ranges.Test) of one number of the call

From audit_filter_rules in kernel/auditsc.c and audit_filter in kernel/auditfilter.c
(Linux 6.18), where a condition is not what it looks like:

- `auid=unset` asks whether a login uid is set (0 or 1), by any operator: no call meets
  `auid<unset`, and every call `auid>=unset`.
- `success` asks for 1 (success) or 2 (failure), by any operator.
- `gid` and `egid` are met by `=` for a supplementary group too, and by `!=` only if no
  supplementary group is the one; on the lists user and exclude they are not.
- Devices, inodes and owners are those of any file that the call named: of two such
  conditions each may be met by another file. Where a `path=` or `inode=` found the rule,
  they are that file's.
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
"""Fields of which a call has one number, or none."""

_EVER: Final = frozenset((*range(11), 25))
"""Those that each task has: pid, ids, personality, session."""

SEVERAL: Final = frozenset({100, 101, fields.INODE, 109, 110})
"""Fields of which a call has a number for every file that it names."""

FIRST_ERROR: Final = 0xFFFFF001
"""The least result that is an error: -4095 (MAX_ERRNO)."""

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
    """Give what is true of a field's number in every call that has one."""
    return _BOUNDS.get(field, ())


def said(condition: Condition, which: FilterList) -> tuple[Test, ...]:
    """Give what is true of the number if the condition is met."""
    tests = _tests(condition)
    if _by_groups(condition, which) and condition.operator == ranges.EQUAL:
        return ()
    return tests


def enough(condition: Condition, which: FilterList) -> tuple[Test, ...] | None:
    """Give the tests that meet the condition if the number passes all; None if none do."""
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
    """Whether calls that meet all of `given` meet `wanted`.

    A call need not have a number of every field. Where it has several, one condition of
    `given` must do alone.
    """
    needed = enough(wanted, which)
    if needed is None:
        return False
    field = wanted.field
    if field in SEVERAL:
        own = (each for each in given if each.field == field)
        return any(_imply([*limits(field), *said(each, which)], needed) for each in own)
    tests = known(field, given, which)
    return tests is not None and _imply(tests, needed)


def known(field: int, given: Collection[Condition], which: FilterList) -> list[Test] | None:
    """Give what is true of a field's one number in calls that meet all of `given`.

    None: they may have none.
    """
    own = [each for each in given if each.field == field]
    if not (own or _is_there(field, given, which)):
        return None
    tests = [test for each in own for test in said(each, which)]
    return [*limits(field), *tests, *_linked(field, given)]


def _is_there(field: int, given: Collection[Condition], which: FilterList) -> bool:
    """Whether a call has such a number, though no condition asks for it."""
    if field in (EXIT, SUCCESS):
        return any(each.field in (EXIT, SUCCESS) for each in given)
    return field in _EVER and which not in (FilterList.USER, FilterList.EXCLUDE)


def _imply(given: list[Test], needed: Iterable[Test]) -> bool:
    return all(ranges.implies(given, test) for test in needed)


def _linked(field: int, given: Collection[Condition]) -> list[Test]:
    """Give what success tells of the result, and the other way round.

    A result that reads as an error can be a success, as only 32 bits are compared: an
    offset or an address.
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
    """Give which of success (1) and failure (2) conditions on `success` leave."""
    tests = [
        test for each in given if each.field == SUCCESS for test in said(each, FilterList.EXIT)
    ]
    return {
        outcome
        for outcome in (_SUCCEEDED, _FAILED)
        if ranges.possible([*tests, (ranges.EQUAL, outcome)])
    }


def results_of(outcome: int) -> Test:
    """Give the results that go with success (1) or failure (2)."""
    failed = outcome == _FAILED
    return (ranges.GREATER_EQUAL if failed else ranges.LESS, FIRST_ERROR)
