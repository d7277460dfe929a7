"""The bytes of a rule are those that auditctl sends for the same line."""

from __future__ import annotations

import platform

import pytest
from fixtures import auditctl, drawn
from hypothesis import Phase, given, seed, settings

from auditsvc.errors import RuleError
from auditsvc.rule import Add, Delete, FilterList, Rule, parse, printing
from auditsvc.rule.printing import text as printed

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the lines name x86_64's calls"),
]

LINES = [
    "-a always,exit -S all",
    "-a exit,always",
    "-A never,exit -F pid=1",
    "-d always,exit -S open",
    "-a always,exit -F arch=b64 -S open,openat,450 -S 3 -F auid>=1000 -F auid!=unset -k a -k b",
    "-a always,exit -F arch=b32 -S open -F key=x",
    "-a always,exit -F arch=x86_64 -S execve",
    "-a always,exit -F arch=aarch64 -S execve",
    "-a always,exit -F arch!=b32 -S all",
    "-w /etc/passwd",
    "-w /etc/passwd -p wa -k pw",
    "-w /etc/ -p RW",
    "-w /etc -k one -k two",
    "-W /etc/passwd -p wa -k pw",
    "-a always,exit -F path=/etc/shadow -F perm=wa",
    "-a always,exit -F dir=/etc/ -F perm=r -F uid=root",
    "-a always,exit -F path=/with\\ blank -F perm=x -k a\\ key",
    "-a always,exit -S kill -F exit=-EACCES",
    "-a always,exit -S kill -F exit=EPERM",
    "-a always,exit -S kill -F exit=-13",
    "-a always,exit -S kill -F exit!=0",
    "-a always,exit -S kill -F success=0 -F pers=0x0008",
    "-a always,exit -S kill -F a0=0x10 -F a1&0100 -F a2&=3 -F a3=-1",
    "-a always,exit -S kill -F a0<5 -F a1<=5 -F a2>5 -F a3>=5",
    "-a always,exit -F inode=12 -F devmajor=1 -F devminor=2 -S open",
    "-a always,exit -F filetype=fifo -S open -F filetype!=socket",
    "-a always,exit -F ppid=1 -F uid!=0 -F euid=0 -F suid=0 -F fsuid=0 -S open",
    "-a always,exit -F gid=root -F egid=0 -F sgid=0 -F fsgid=0 -S open",
    "-a always,exit -F obj_uid=0 -F obj_gid=0 -S open",
    "-a always,exit -F subj_user=u -F subj_role=r -F subj_type=t -F subj_sen=s -F subj_clr=c -S 1",
    "-a always,exit -F obj_user=u -F obj_role=r -F obj_type=t -F obj_lev_low=l -S 1",
    "-a always,exit -F obj_lev_high=h -S 1",
    "-a always,exit -F sessionid=unset -S 1",
    "-a always,exit -F saddr_fam=2 -S connect",
    "-a always,exit -F exe=/bin/true -F loginuid=-1",
    "-a always,exit -F exe!=/bin/true -S all",
    "-a always,exit -C auid!=uid -C uid=auid -C euid!=obj_uid -C gid=egid -C sgid!=fsgid -S all",
    "-a always,user -F uid=0",
    "-a never,user -F msgtype=USER_LOGIN",
    "-a always,exclude -F msgtype=CWD",
    "-a never,exclude -F msgtype>=1300 -F msgtype<=1320",
    "-a never,exclude -F auid=0 -F pid=4 -F uid=1 -F gid=2 -F subj_type=x",
    "-a never,filesystem -F fstype=tracefs",
    "-a never,filesystem -F fstype!=debugfs",
    "-a never,task",
    "-a always,task -F uid=0",
]

WRONG = [
    "-a always,exit -F nonsense=1",
    "-a always,exit -F uid=no-such-user",
    "-a always,exit -S nonsense",
    "-a always,exit -S 2048",
    "-a sometimes,exit -S open",
    "-a always",
    "-a always,nowhere -S open",
    "-a always,exit -S open -F arch=b64",
    "-a always,exit -F msgtype=CWD -S open",
    "-a always,exit -F exit=-ENONSENSE -S open",
    "-a always,exit -F perm=z",
    "-a always,exit -F filetype=nonsense -S open",
    "-a always,exit -F a0=x -S open",
    "-a always,exit -F uid= -S open",
    "-a always,exit -C uid=gid -S open",
    "-a always,exit -C uid=nonsense -S open",
    "-a always,exclude -F exit=1",
    "-a never,task -S open",
    "-a never,user -S open",
    "-w relative -p r",
    "-w /etc/passwd -p z",
    "-k alone",
    "-a always,exit -a always,exit -S open",
]


def _ours(line: str) -> bytes | None:
    try:
        (parsed,) = parse(line)
    except RuleError:
        return None
    assert isinstance(parsed.command, Add | Delete)
    prepend = isinstance(parsed.command, Add) and parsed.command.prepend
    return parsed.command.rule.to_bytes(prepend=prepend)


@pytest.mark.usefixtures("audit_lock")
def test_bytes_are_auditctls(tmp_path):
    """For every kind of field and list, our struct is auditctl's, byte for byte."""
    theirs = auditctl.sent(LINES, tmp_path)
    for line, data in zip(LINES, theirs, strict=True):
        assert data is not None, line
        assert _ours(line) == data, line


@pytest.mark.usefixtures("audit_lock")
def test_what_auditctl_refuses_we_refuse(tmp_path):
    """We accept no line that auditctl refuses."""
    theirs = auditctl.sent(WRONG, tmp_path)
    for line, data in zip(WRONG, theirs, strict=True):
        assert data is None, line
        assert _ours(line) is None, line


@pytest.mark.usefixtures("audit_lock")
def test_every_example_of_auditd(tmp_path):
    """Every rule of auditd's own rule files gives auditctl's bytes, and is read back from them."""
    lines = []
    for path in sorted(auditctl.EXAMPLES.glob("*.rules")):
        text = path.read_text().splitlines()
        lines.extend(line for line in text if line.startswith(("-a", "-A", "-w")))
    assert len(lines) > 200
    theirs = auditctl.sent(lines, tmp_path)
    same = 0
    for line, data in zip(lines, theirs, strict=True):
        ours = _ours(line)
        assert ours == data, line
        if ours is not None:
            rule = Rule.from_bytes(ours)
            assert _ours(printing.text(rule)) == rule.to_bytes(), line
            same += 1
    # Only rules for a user that is not on this machine are refused, by both.
    assert len(lines) - same == sum("uid=chrony" in line for line in lines)


@pytest.mark.usefixtures("audit_lock")
def test_generated_rules(tmp_path):
    """From the text of generated rules auditctl makes the same bytes as we do, or refuses it.

    Its 3.0.9 takes no io_uring rule and no key on lists without calls; the kernel does
    (tests/live/test_kernel_rules.py).
    """
    rules = []

    @seed(5)
    @settings(max_examples=400, database=None, phases=[Phase.generate], deadline=None)
    @given(drawn.rules())
    def draw(rule):
        rules.append(rule)

    draw()
    lines = [printed(rule, drawn.X86_64) for rule in rules]
    theirs = auditctl.sent(lines, tmp_path)
    taken = 0
    for rule, line, data in zip(rules, lines, theirs, strict=True):
        if data is None:
            limited = {FilterList.IO_URING, FilterList.EXIT}
            assert rule.keys or rule.filter_list in limited, line
        else:
            assert data == rule.to_bytes(), line
            taken += 1
    assert taken > len(rules) / 3 > 100
