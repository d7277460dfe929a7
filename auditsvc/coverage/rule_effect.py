"""What the loaded rules log, and which processes they exclude. Pure.

A task with the audit flag makes records only for what a rule asks for (`audit_filter_syscall`,
the first rule that matches decides).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from auditsvc.coverage.history import TaskListState, task_list_state
from auditsvc.record.types import CONFIG_CHANGE, SYSCALL
from auditsvc.rule import Action, FilterList, fields
from auditsvc.ruleset.reach import every_call, never_task

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from auditsvc.host.processes import Process
    from auditsvc.rule import Rule

# AUDIT_PID, AUDIT_PPID, AUDIT_MSGTYPE of include/uapi/linux/audit.h.
_PID, _PPID, _MSGTYPE = 0, 18, 12


class Logs(StrEnum):
    """How much of a covered task's calls is logged now."""

    EVERY = "every"
    SOME = "some"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Logged:
    """What one set of loaded rules, and the switch, mean for covered tasks."""

    enabled: bool
    logs: Logs
    task_list: TaskListState
    never_task: tuple[Rule, ...] = ()
    exceptions: tuple[Rule, ...] = ()
    """`never` rules that exclude anything other than one process or its children."""
    logs_changes: bool = True
    """Whether changes of the rules are logged: no exclude rule hides them."""
    complete: bool = False
    """Whether every call of every task with the flag makes a record, except of excluded ones."""
    _ours: dict[tuple[int, int], bool] = field(default_factory=dict)
    """Excluded, by (field, pid): whether the rule is ours."""

    def excluded(self, process: Process) -> bool | None:
        """Whether our rule (True), another (False) or none (None) excludes a process's calls."""
        found = [self._ours.get((_PID, process.pid)), self._ours.get((_PPID, process.ppid))]
        known = [ours for ours in found if ours is not None]
        return all(known) if known else None


def read_rules(enabled: bool, rules: Sequence[Rule], ours: Collection[bytes]) -> Logged:
    """Judge the loaded rules, in the kernel's order; `ours`: structs of the service's own rules."""
    every, before = every_call(rules)
    some = any(
        rule.action is Action.ALWAYS
        and rule.filter_list in (FilterList.EXIT, FilterList.FILESYSTEM, FilterList.TASK)
        for rule in rules
    )
    taken: dict[tuple[int, int], bool] = {}
    others = []
    for rule in before:
        target = _target(rule)
        if target is None:
            others.append(rule)
        else:
            taken[target] = taken.get(target, True) and rule.to_bytes() in ours
    logs = Logs.EVERY if every else Logs.SOME if some else Logs.NOTHING
    return Logged(
        enabled=enabled,
        logs=logs if enabled else Logs.NOTHING,
        task_list=task_list_state(rules),
        never_task=tuple(never_task(rules)),
        exceptions=tuple(others),
        logs_changes=not _hidden(rules, CONFIG_CHANGE),
        complete=enabled and every and not others and not _hidden(rules, SYSCALL),
        _ours=taken,
    )


def _target(rule: Rule) -> tuple[int, int] | None:
    """Give (AUDIT_PID or AUDIT_PPID, the pid) if that is the only condition of a rule."""
    asked = [each for each in rule.conditions if each.field != fields.KEY]
    if not rule.every_syscall or len(asked) != 1:
        return None
    (only,) = asked
    if only.field not in (_PID, _PPID) or only.operator != fields.EQUAL:
        return None
    return only.field, int(only.value)


def _hidden(rules: Sequence[Rule], record_type: int) -> bool:
    """Whether some rule may suppress records of a type."""
    return any(
        rule.filter_list is FilterList.EXCLUDE
        and not any(
            each.field == _MSGTYPE and each.operator == fields.EQUAL and each.value != record_type
            for each in rule.conditions
        )
        for rule in rules
    )
