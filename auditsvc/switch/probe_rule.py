"""What the loaded rules log during a flip, and the rule that a probe may need."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from auditsvc.errors import KernelError
from auditsvc.host.processes import alive
from auditsvc.plural import counted
from auditsvc.record.daemon import actor
from auditsvc.rule import Add, parse
from auditsvc.rule.fields import BY_NAME
from auditsvc.rule.host import family_name, native_arch
from auditsvc.ruleset.reach import every_call, logs
from auditsvc.switch.probe import CALL
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.kernel import Control
    from auditsvc.rule import Rule

KEY: Final = "auditsvc-probe"


def rule_for(pid: int) -> Rule:
    """Give the rule that traces a probe's calls and nothing else."""
    arch = family_name(native_arch(), native_arch())
    text = f"-A always,exit -F arch={arch} -S {CALL} -F pid={pid} -k {KEY}"
    [line] = parse(text, "probe")
    assert isinstance(line.command, Add)
    return line.command.rule


def call_number() -> int:
    """Give the number of the probe's system call on this machine."""
    nr = names.syscall_number(native_arch(), CALL)
    assert nr is not None
    return nr


def reached(rules: Sequence[Rule], pid: int) -> bool:
    """Whether the rules certainly log the calls of a probe, a child of this process."""
    us = actor(os.getpid())
    uids, gids = os.getresuid(), os.getresgid()
    known = {
        "pid": pid,
        "ppid": os.getpid(),
        "arch": native_arch(),
        "auid": us.auid,
        "sessionid": us.ses,
        **dict(zip(("uid", "euid", "suid"), uids, strict=True)),
        **dict(zip(("gid", "egid", "sgid"), gids, strict=True)),
    }
    return (
        logs(rules, call_number(), {BY_NAME[name].number: value for name, value in known.items()})
        is True
    )


def traces(rules: Sequence[Rule]) -> str:
    """Give what these rules trace while audit is on, as text."""
    every, exceptions = every_call(rules)
    asking = sum(rule.action.name == "ALWAYS" for rule in rules)
    if every and not exceptions:
        return "every call of every covered task"
    if every:
        return f"every call, except those matched by {counted(len(exceptions), '`never` rule')}"
    if asking:
        return f"the calls matched by {counted(asking, '`always` rule')}"
    return "nothing: no rule asks for a record (`auditsvc rules load PATH` loads some)"


def remove(control: Control, rule: Rule) -> None:
    """Delete a rule, if it still exists."""
    try:
        control.delete_rule(rule)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise


def remove_leftovers(control: Control) -> None:
    """Delete rules of probes whose processes were killed."""
    pid = BY_NAME["pid"].number
    for rule in control.rules():
        if rule.keys == (KEY,) and not any(
            condition.field == pid and alive(int(condition.value)) for condition in rule.conditions
        ):
            remove(control, rule)
