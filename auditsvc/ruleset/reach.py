"""What loaded rules log: whether all calls, and which rules leave tasks without the audit flag.

From kernel/auditsc.c: `audit_alloc` asks the task list when a task is forked;
`audit_filter_syscall` and `audit_filter_uring` ask the exit and io_uring lists from
the head, and the first rule that matches decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.rule import fields
from auditsvc.rule.model import Action, FilterList, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from auditsvc.rule.model import Condition


def never_task(rules: Iterable[Rule]) -> list[Rule]:
    """Give the rules that leave tasks without the audit flag if forked while they are loaded."""
    return [
        rule
        for rule in rules
        if rule.filter_list is FilterList.TASK and rule.action is Action.NEVER
    ]


def is_unconditional(rule: Rule) -> bool:
    """Whether a rule is for all syscalls and has no conditions except keys."""
    return rule.every_syscall and all(
        condition.field == fields.KEY for condition in rule.conditions
    )


def every_call(
    rules: Iterable[Rule], which: FilterList = FilterList.EXIT
) -> tuple[bool, list[Rule]]:
    """Whether a list has an unconditional `always`, and the `never` rules before it.

    `rules` in the kernel's order. True without exceptions: every call is logged. Without
    such a rule, the exceptions are all `never` rules of the list.
    """
    exceptions = []
    for rule in rules:
        if rule.filter_list is not which:
            continue
        if rule.action is Action.NEVER:
            exceptions.append(rule)
        elif is_unconditional(rule):
            return True, exceptions
    return False, exceptions


def takes_cover(rules: Iterable[Rule], rule: Rule) -> bool:
    """Whether a rule of `rules` (in the kernel's order), at its position, prevents logging.

    On the exclude list both actions do (audit_filter in kernel/audit.c). On exit and
    io_uring a `never` does only if an `always` comes after it and no unconditional `always`
    comes before it.
    """
    if rule.filter_list is FilterList.EXCLUDE:
        return True
    if rule.action is not Action.NEVER:
        return False
    if rule.filter_list not in {FilterList.EXIT, FilterList.IO_URING}:
        return True
    reached = False
    for each in rules:
        if each.filter_list is not rule.filter_list:
            continue
        if each == rule:
            reached = True
        elif each.action is Action.ALWAYS and (reached or is_unconditional(each)):
            return reached
    return False


def logs(rules: Iterable[Rule], nr: int, facts: Mapping[int, int]) -> bool | None:
    """Whether the exit list logs a system call of which some values are known.

    `facts`: values by field number (fields.BY_NAME). None: it depends on values that are
    not known. As in the kernel, the first rule that matches decides.
    """
    possible = set()  # results of the rules that may match
    for rule in rules:
        if rule.filter_list is not FilterList.EXIT or not rule.mask >> nr & 1:
            continue
        answers = [_holds(condition, facts) for condition in rule.conditions]
        if False in answers:
            continue
        logged = rule.action is Action.ALWAYS
        possible.add(logged)
        if None not in answers:
            break
    else:
        possible.add(False)
    return possible.pop() if len(possible) == 1 else None


def _holds(condition: Condition, facts: Mapping[int, int]) -> bool | None:
    """Compare as audit_comparator() in kernel/auditfilter.c does; None if it is not known."""
    if condition.field == fields.KEY:
        return True
    have, want = facts.get(condition.field), condition.value
    if have is None or isinstance(want, str):
        return None
    match fields.SYMBOLS[condition.operator]:
        case "=":
            return have == want
        case "!=":
            return have != want
        case "<":
            return have < want
        case "<=":
            return have <= want
        case ">":
            return have > want
        case ">=":
            return have >= want
        case "&":
            return bool(have & want)
        case _:
            return have & want == want
