"""Every shipped set against the kernel and auditctl; audit is off meanwhile and nothing stays."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess

import pytest
from fixtures import auditctl
from live.programs import fresh_auid
from live.service import Service

from auditsvc.config import load_settings
from auditsvc.rule import Action, Add, Condition, FilterList, Host, Rule, fields, printing, read
from auditsvc.rule.model import SYSCALLS
from auditsvc.ruleset import controls, perms
from auditsvc.ruleset.sources import rules_in_use
from auditsvc.tables import names

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the sets name x86_64's calls"),
    pytest.mark.skipif(not auditctl.AUDITCTL.exists(), reason="`make peers` unpacks auditctl"),
]

# What auditctl 3.0.9 does not know: it refuses such a line, which -i passes over, and
# shows it so.
NEWER = {"fchmodat2": "452", "always,io_uring": "always,(null)"}


def known(text: str) -> bool:
    """Whether auditctl can read a line."""
    return not any(name in text for name in NEWER)


@pytest.mark.parametrize("name", controls.names())
def test_auditctl_sends_the_same(name, tmp_path):
    """Every line is to auditctl what it is to us."""
    lines = [line for line in read(controls.find(name)) if isinstance(line.command, Add)]
    sent = auditctl.sent([line.text for line in lines], tmp_path)
    for line, data in zip(lines, sent, strict=True):
        assert (data is not None) == known(line.text), line.text
        assert data in (None, line.command.rule.to_bytes()), line.text


@pytest.mark.parametrize("name", controls.names())
def test_the_kernel_takes_it(name, audit_changes):
    """The kernel takes the set but for what this host lacks, and auditctl lists what we wrote."""
    audit_changes.set(enabled=0)
    audit_changes.delete_rules()
    rules, notes = rules_in_use(load_settings(rules=[name]))
    try:
        for add in rules:
            audit_changes.add_rule(add.rule, prepend=add.prepend)
        loaded = audit_changes.rules()
        listed = subprocess.run(
            [auditctl.AUDITCTL, "-l"], capture_output=True, text=True, check=True, timeout=60
        ).stdout.splitlines()
    finally:
        audit_changes.delete_rules()
    assert sorted(map(printing.text, loaded)) == sorted(printing.text(add.rule) for add in rules)
    assert len(rules) + len(notes) == len(
        [line for line in read(controls.find(name)) if isinstance(line.command, Add)]
    )
    assert all(note.endswith(" does not exist") for note in notes)
    assert listed == [as_auditctl(printing.text(rule)) for rule in loaded]


def as_auditctl(text: str) -> str:
    """Spell a rule with what auditctl 3.0.9 knows."""
    for name, number in NEWER.items():
        text = re.sub(rf"\b{name}\b", number, text)
    return text


# Classes of calls that a bit of the mask beyond the syscalls' stands for (AUDIT_CLASS_*),
# and the permission that each is; the second of a pair is the 32-bit one.
CLASSES = {2: perms.ATTRIBUTE, 4: perms.READ, 6: perms.WRITE}


@pytest.mark.parametrize(("which", "perm"), CLASSES.items())
@pytest.mark.parametrize("half", [0, 1], ids=["b64", "b32"])
def test_permissions_are_the_kernels(audit_lock, which, perm, half):
    """The calls that perm= means are those that the kernel has in its class, or had before."""
    arch = Host.local().family(("b64", "b32")[half])
    nobody = Condition(9, fields.EQUAL, 4_000_000_001)
    rule = Rule(FilterList.EXIT, Action.NEVER, (nobody,), 1 << 2047 - which - half)
    audit_lock.add_rule(rule)
    try:
        (listed,) = [each for each in audit_lock.rules() if nobody in each.conditions]
    finally:
        audit_lock.delete_rule(rule)
    theirs = {number for number in listed.syscalls if number < SYSCALLS}
    ours = perms.calls(arch, perm)
    newer = {names.syscall_number(arch, name) for name in NEWER_IN_CLASSES}
    assert theirs <= ours
    assert ours - theirs <= newer


NEWER_IN_CLASSES = {  # what Linux 6.1, the oldest that we run on, has not in its classes
    *("ftruncate", "ftruncate64", "fallocate", "fchmodat2", "setxattrat", "removexattrat"),
    *("getxattrat", "listxattrat"),
}


def test_a_watched_link_matches_nothing(programs, audit_lock, tmp_path):
    """A program run by a symbolic link is seen by a watch of the program, not by one of the link.

    Why the STIG's rules for reboot, init and sudoedit have company in our set.
    """
    del audit_lock
    auid = fresh_auid()
    program, link = tmp_path / "program", tmp_path / "link"
    shutil.copy("/bin/true", program)
    link.symlink_to("program")
    rules = "".join(
        f"-a always,exit -F path={path} -F perm=x -F auid={auid} -k {path.name}\n"
        for path in (link, program)
    )
    with Service(tmp_path, rules) as service:
        programs.run(auid, link)
    rows = service.query(
        "SELECT s.key, p.name FROM syscalls s JOIN paths p USING (event_id)"
        " WHERE s.syscall = 'execve' AND p.item = 0"
    )
    assert rows == [{"key": "program", "name": str(link)}]
