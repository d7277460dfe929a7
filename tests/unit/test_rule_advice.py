"""Warnings about rules: each is given if it is true, and only then."""

from __future__ import annotations

import itertools

import pytest

from auditsvc.compliance.judge import judge
from auditsvc.compliance.model import KernelState
from auditsvc.rule import Host, parse
from auditsvc.ruleset.advice import MANY, advise
from auditsvc.ruleset.controls import controls
from auditsvc.ruleset.cover import includes

X86_64 = 0xC000003E
HOST = Host(arch=X86_64, uid={}.get, gid={}.get, is_folder={"/etc/ssh", "/var/log"}.__contains__)
ARM = Host(arch=0x40000028, uid={}.get, gid={}.get, is_folder=lambda _: False)


def advice(*lines, host=HOST):
    """Warnings about lines, as (line, text)."""
    return [(each.number, each.text) for each in advise(parse("\n".join(lines), "r", host), host)]


B64 = "-a always,exit -F arch=b64"
B32 = "-a always,exit -F arch=b32"

QUIET = [
    ["-a always,exit -S all"],
    ["-a never,exit -F pid=1", "-a always,exit -S all"],
    ["-a always,exit -S all", "-A never,exit -F pid=1"],
    ["-a always,exit -F auid=0 -k a", "-a always,exit -k b"],
    [f"{B64} -S open -k x", f"{B32} -S open -k x"],
    [f"{B64} -S open -k x", f"{B32} -S open,creat -k y"],
    [f"{B64} -S open,creat -k x", f"{B32} -S open", f"{B32} -S creat -k y"],
    [f"{B64} -S open -F auid>=1000", f"{B32} -S all"],
    [f"{B64} -S open", "-a always,exit -F arch!=b64 -S all"],
    [f"{B64} -S arch_prctl", f"{B32} -S arch_prctl"],
    ["-a never,exit -F arch=b64 -S open"],
    ["-w /etc/passwd -p wa", "-a always,exit -F path=/etc/shadow -F perm=wa"],
    [f"{B64} -S openat -F dir=/etc/ssh -k x", f"{B32} -S openat -F dir=/etc/ssh -k x"],
    ["-a never,filesystem -F fstype=tracefs", "-a always,exclude -F msgtype=CWD"],
    ["-a always,task -F uid=0"],
    ["-w /etc/passwd -k a", "-d always,exit -F path=/etc/passwd -F perm=rwxa -k a"],
    ["-w /etc/passwd -k a", "-D", "-w /etc/passwd -k a"],
    ["-f 1", "-e 1", "-b 64"],
    ["-b 64", "-e 2"],
    [f"-w /etc/{n} -p wa" for n in range(MANY + 1)],
]


@pytest.mark.parametrize("lines", QUIET, ids=[lines[0] for lines in QUIET])
def test_nothing_to_say(lines):
    """Rules that do what they say get no warning."""
    assert advice(*lines) == []


LOUD = [
    (["-w /etc/passwd -k a", "-w /etc/passwd -k a"], 2, "r:1 is the same rule"),
    (["-a always,exit -k a", f"{B64} -S open"], 2, "r:1 is asked first"),
    (["-a always,exit -k a", "-a always,exit -k b"], 2, "never matches: r:1"),
    (["-w /etc/passwd -p wa -k a", "-w /etc/passwd -p w -k b"], 2, "never matches: r:1"),
    (["-a always,exit", "-A always,exit -k first"], 1, "never matches: r:2"),
    (["-a always,task -F uid=0", "-a always,task -F uid=0 -F gid=0"], 2, "never matches"),
    (
        ["-a always,exit -S all", "-a never,exit -F pid=1"],
        2,
        "`never,exit` has no effect: the unconditional `always,exit` of r:1",
    ),
    (
        ["-a never,exit -F auid=5", "-a always,exit -F auid=5 -F uid=0"],
        2,
        "`always,exit` has no effect: the `never,exit` of r:1",
    ),
    (
        ["-a always,io_uring", "-a never,io_uring -S openat"],
        2,
        "`never,io_uring` has no effect",
    ),
    (
        [f"{B32} -S 5,9 -F dir=/etc -F perm=wa", f"{B32} -S 5 -F path=/etc/a -F perm=w"],
        2,
        "never matches: r:1 is asked first and matches the same calls, except hard links",
    ),
    (["-a never,exit -F auid>=5", "-a always,exit -F auid=7 -k a"], 2, "`never,exit` of r:1"),
    (["-a never,task"], 1, "`never,task`: tasks forked while it is loaded"),
    (["-a never,task -F uid=0"], 1, "`never,task`: such tasks"),
    (["-a always,exit -S open"], 1, "number 2 is open for b64 and fork for b32"),
    (["-a never,exit -S open"], 1, "calls without arch"),
    ([f"{B64} -S open,creat -k x"], 1, "not matched (open, creat): no similar rule"),
    ([f"{B64} -S open,creat,mkdir,rmdir,link"], 1, "not matched (open, mkdir, rmdir and 2 more)"),
    ([f"{B64} -S open,creat", f"{B32} -S open"], 1, "not matched (creat):"),
    ([f"{B64} -S open", f"{B32} -S open -F auid=0"], 1, "not matched (open"),
    ([f"{B64} -S all"], 1, "calls of 32-bit programs are not matched: no similar rule"),
    (["-w /etc/ssh -p wa"], 1, "a watched folder without -S is asked at every call"),
    (["-a always,exit -F dir=/var/log -F perm=r"], 1, "a watched folder without -S"),
    (["-f 2"], 1, "panics"),
    (["-e 2", "-b 64", "-f 1"], 1, "refuses the 2 lines after it"),
]


@pytest.mark.parametrize(("lines", "number", "says"), LOUD, ids=[says for _, _, says in LOUD])
def test_warnings(lines, number, says):
    """One warning, at the line that it is about, that names what is behind it."""
    ((at, text),) = advice(*lines)
    assert at == number
    assert says in text
    assert "\n" not in text


def test_rules_that_could_be_one():
    """Rules that differ in their calls alone are named together."""
    first, second, third = (
        f"-a always,exit -F arch=b32 -S {call} -k k" for call in ("open", "creat", "mkdir")
    )
    ((at, text),) = advice(first, second, third)
    assert at == 1
    assert "differs only in its calls from r:2, r:3" in text
    assert "3 times" in text
    assert advice(first, "-a never,exit -F pid=1", second) == []
    assert advice(first, second.replace("-k k", "-k other")) == []


def test_many_rules():
    """From some number on it is said that the kernel asks them one by one."""
    lines = [f"-a always,exit -F auid={n} -k k" for n in range(MANY)]
    assert advice(*lines) == []
    ((at, text),) = advice(*lines, "-a always,exit -F auid=99999 -k k")
    assert at == MANY + 1
    assert f"{MANY + 1} rules" in text
    assert "one by one" in text


def test_a_machine_without_32_bit_programs():
    """Where there is one arch only, nothing is said of another."""
    assert advice("-a always,exit -S open", "-a always,exit -F arch=b32 -S creat", host=ARM) == []


def test_a_line_of_text():
    """A warning begins with file and line, as an error does."""
    (warning,) = advise(parse("-b 64\n-f 2", "/etc/audit.rules", HOST), HOST)
    assert str(warning).startswith("/etc/audit.rules:2: warning: ")


PAIRS = [
    *("-F dir=/etc", "-F path=/etc/passwd", "-F path=/etc/passwd -F perm=wa", "-F perm=rwa"),
    *(
        "-F auid>=1000",
        "-F auid=1000",
        "-F auid!=unset",
        "-F success=0",
        "-F exit>=-4095",
        "-S all",
    ),
]


@pytest.mark.parametrize("action", ["always", "never"])
@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(PAIRS, 2)))
def test_check_and_report_agree(action, first, second):
    """A rule that `rules check` calls useless is one that `rules report` finds behind another."""
    lines = [f"-a {action},exit {first} -k a", f"-a always,exit {second} -k b"]
    useless = any(
        number == 2 and "is asked first" in text for number, text in advice(*lines, host=ARM)
    )
    wide, narrow = (line.command.rule for line in parse("\n".join(lines), "r", ARM))
    (control,) = controls(f"#: FRAME 1 | one\n{lines[1]}\n", "r", ARM)
    (found,) = judge(control, KernelState((wide, narrow), {}), lambda _: None).findings
    assert useless == (found.by == wide)
    assert useless == includes(wide, narrow)
