"""What the loaded rules leave untraced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.doctor.finding import Finding, Level, ok
from auditsvc.rule import Action, FilterList, printing
from auditsvc.rule.host import Host
from auditsvc.ruleset.reach import every_call, never_task
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.doctor.machine import Machine
    from auditsvc.rule import Rule


def blinding(rules: Sequence[Rule]) -> Finding:
    """`never,task` rules."""
    name, found = "never,task", never_task(rules)
    if not found:
        return ok(name, "no such rule")
    deletion = "; ".join(
        "auditctl " + printing.text(rule).replace("-a ", "-d ", 1) for rule in found
    )
    return Finding(
        name,
        Level.ERROR,
        "; ".join(map(printing.text, found)),
        "a task that is forked while it stands is never traced, not even after it was deleted",
        f"{deletion}; take it out of /etc/audit/rules.d too; restart the services that "
        "`auditsvc coverage` lists",
    )


def reach(rules: Sequence[Rule]) -> Finding:
    """Whether every call of every covered task is logged."""
    name = "rules"
    whole, exceptions = every_call(rules)
    asking = sum(rule.action is Action.ALWAYS for rule in rules)
    if not asking:
        return Finding(
            name,
            Level.WARNING,
            "no rule asks for a record",
            "no system call is traced",
            "auditsvc rules load, or `systemctl start auditsvc`, which adds its own rules",
        )
    if not whole:
        return Finding(
            name,
            Level.NOTE,
            f"{asking} rules ask for some calls",
            "calls that no rule asks for leave no row",
            "auditsvc rules load with a file of `-a always,exit -S all`, if every call is wanted",
        )
    if exceptions:
        return Finding(
            name,
            Level.NOTE,
            f"every call, but for {len(exceptions)} `never` rules before: "
            + "; ".join(map(printing.text, exceptions[:3]))
            + ("; ..." if exceptions[3:] else ""),
            "what they match leaves no row",
            "auditsvc rules diff shows those that nobody wants",
        )
    return ok(name, "every call of every covered task")


def uring(rules: Sequence[Rule]) -> Finding:
    """Whether operations of io_uring, which are no system calls, are logged as calls are."""
    name = "rules: io_uring"
    if every_call(rules, FilterList.IO_URING)[0]:
        return ok(name, "every operation that the kernel reports")
    if not every_call(rules)[0]:
        return ok(name, "of no matter while the rules do not ask for every call")
    return Finding(
        name,
        Level.WARNING,
        "every call is traced, operations of io_uring are not",
        "a program can open, connect and delete by io_uring unseen",
        "the line `-a always,io_uring -S all -k all-syscalls` in the rule files and "
        "`auditsvc rules load`",
    )


def half(rules: Sequence[Rule], machine: Machine) -> Finding:
    """Rules for 64-bit calls alone, where 32-bit programs run too."""
    name, host = "rules: 32-bit calls", Host.local()
    wide, narrow = host.family("b64"), host.family("b32")
    if wide is None or narrow is None:
        return ok(name, "this machine has one kind of calls")
    asking = [
        rule
        for rule in rules
        if rule.filter_list is FilterList.EXIT
        and rule.action is Action.ALWAYS
        and not rule.every_syscall
    ]
    lone = [rule for rule in asking if rule.arch == wide and not _has_twin(rule, asking, narrow)]
    if not lone:
        return ok(name, "no rule is for 64-bit calls alone")
    config = machine.kernel_config() or {}
    if machine.parameter("ia32_emulation") in {"off", "0", "n", "false"} or (
        config and config.get("CONFIG_COMPAT", config.get("CONFIG_IA32_EMULATION")) != "y"
    ):
        return ok(name, "32-bit programs do not run here")
    return Finding(
        name,
        Level.WARNING,
        f"{len(lone)} rules ask for 64-bit calls alone, such as: {printing.text(lone[0])}",
        "a 32-bit program makes the same calls unseen",
        f"the same rule with `-F arch={names.arch_name(narrow)}` (b32) in the rule files and "
        "`auditsvc rules load`",
    )


def _has_twin(rule: Rule, rules: Sequence[Rule], arch: int) -> bool:
    """Whether a rule with the same keys is for the other kind of calls."""
    return any(each.keys == rule.keys and each.arch in {arch, None} for each in rules)
