"""What the loaded rules do not log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.doctor.finding import DoctorFinding, Level, ok
from auditsvc.plural import counted
from auditsvc.rule import Action, FilterList, printing
from auditsvc.rule.host import Host
from auditsvc.ruleset.reach import every_call, never_task
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.doctor.machine import Machine
    from auditsvc.rule import Rule


def never_task_rules(rules: Sequence[Rule]) -> DoctorFinding:
    """`never,task` rules."""
    name, found = "never,task", never_task(rules)
    if not found:
        return ok(name, "no such rule")
    deletion = "; ".join(
        "auditctl " + printing.text(rule).replace("-a ", "-d ", 1) for rule in found
    )
    return DoctorFinding(
        name,
        Level.ERROR,
        "; ".join(map(printing.text, found)),
        "a task that is forked while it is loaded is never traced, even after it was deleted",
        f"{deletion}; remove it from /etc/audit/rules.d too; restart the services that "
        "`auditsvc coverage` lists",
    )


def reach(rules: Sequence[Rule]) -> DoctorFinding:
    """Whether every call of every covered task is logged."""
    name = "rules"
    every, exceptions = every_call(rules)
    asking = sum(rule.action is Action.ALWAYS for rule in rules)
    if not asking:
        return DoctorFinding(
            name,
            Level.WARNING,
            "no rule asks for a record",
            "no system call is traced",
            "auditsvc rules load PATH, or `systemctl start auditsvc`, which adds its own rules",
        )
    if not every:
        return DoctorFinding(
            name,
            Level.NOTE,
            f"{counted(asking, 'rule')} for some calls",
            "calls that no rule asks for are not logged",
            "if every call is wanted: auditsvc rules load with a file of `-a always,exit -S all`",
        )
    if exceptions:
        return DoctorFinding(
            name,
            Level.NOTE,
            f"every call, except those matched by {counted(len(exceptions), '`never` rule')}: "
            + "; ".join(map(printing.text, exceptions[:3]))
            + ("; ..." if exceptions[3:] else ""),
            "these calls are not logged",
            "auditsvc rules diff shows rules that are not in the rule files",
        )
    return ok(name, "every call of every covered task")


def uring(rules: Sequence[Rule]) -> DoctorFinding:
    """Whether operations of io_uring, which are not system calls, are logged too."""
    name = "rules: io_uring"
    if every_call(rules, FilterList.IO_URING)[0]:
        return ok(name, "every operation that the kernel reports")
    if not every_call(rules)[0]:
        return ok(name, "not relevant: the rules do not ask for every call")
    return DoctorFinding(
        name,
        Level.WARNING,
        "every call is traced, operations of io_uring are not",
        "a program can open, connect and delete by io_uring without a record",
        "add the line `-a always,io_uring -S all -k all-syscalls` to the rule files, then "
        "`auditsvc rules load PATH`",
    )


def only_64_bit(rules: Sequence[Rule], machine: Machine) -> DoctorFinding:
    """Rules for 64-bit calls only, where 32-bit programs run too."""
    name, host = "rules: 32-bit calls", Host.local()
    wide, narrow = host.family("b64"), host.family("b32")
    if wide is None or narrow is None:
        return ok(name, "this machine has only one kind of calls")
    asking = [
        rule
        for rule in rules
        if rule.filter_list is FilterList.EXIT
        and rule.action is Action.ALWAYS
        and not rule.every_syscall
    ]
    single = [rule for rule in asking if rule.arch == wide and not _has_twin(rule, asking, narrow)]
    if not single:
        return ok(name, "no rule is for 64-bit calls only")
    config = machine.kernel_config() or {}
    if machine.parameter("ia32_emulation") in {"off", "0", "n", "false"} or (
        config and config.get("CONFIG_COMPAT", config.get("CONFIG_IA32_EMULATION")) != "y"
    ):
        return ok(name, "32-bit programs do not run here")
    return DoctorFinding(
        name,
        Level.WARNING,
        f"{counted(len(single), 'rule')} for 64-bit calls only, such as: "
        f"{printing.text(single[0])}",
        "a 32-bit program makes the same calls without a record",
        f"add the same rule with `-F arch={names.arch_name(narrow)}` (b32) to the rule files, "
        "then `auditsvc rules load PATH`",
    )


def _has_twin(rule: Rule, rules: Sequence[Rule], arch: int) -> bool:
    """Whether a rule with the same keys is for the other kind of calls."""
    return any(each.keys == rule.keys and each.arch in {arch, None} for each in rules)
