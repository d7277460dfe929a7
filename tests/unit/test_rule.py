"""The rule language: text -> Rule -> struct audit_rule_data -> Rule -> text."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fixtures.drawn import X86_64, rules
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.errors import RuleError
from auditsvc.host.terminal import visible
from auditsvc.rule import (
    Action,
    Add,
    Condition,
    Delete,
    DeleteAll,
    FilterList,
    Host,
    MakeEquivalent,
    OnError,
    Reset,
    Rule,
    Set,
    Trim,
    fields,
    parse,
    printing,
    read,
)
from auditsvc.rule.model import EVERY_SYSCALL
from auditsvc.rule.printing import text as printed

AARCH64 = 0xC00000B7
HOST = Host(
    arch=X86_64,
    uid={"root": 0, "daemon": 1}.get,
    gid={"root": 0}.get,
    is_folder={"/", "/etc"}.__contains__,
)


def command(line: str):
    """Parse one line and give its command."""
    (parsed,) = parse(line, host=HOST)
    return parsed.command


def rule(line: str) -> Rule:
    """Parse one line and give its rule."""
    return command(line).rule


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-D", DeleteAll()),
        ("-D -k key", DeleteAll("key")),
        ("-e 1", Set("enabled", 1)),
        ("-e1", Set("enabled", 1)),
        ("-f 2", Set("failure", 2)),
        ("-r 0", Set("rate_limit", 0)),
        ("-b 8192", Set("backlog_limit", 8192)),
        ("--backlog_wait_time 60000", Set("backlog_wait_time", 60000)),
        ("--backlog_wait_time=0x10", Set("backlog_wait_time", 16)),
        ("--loginuid-immutable", Set("loginuid_immutable", 1)),
        ("--reset-lost", Reset("lost")),
        ("--reset_backlog_wait_time_actual", Reset("backlog_wait_time_actual")),
        ("-i", OnError("ignore")),
        ("-c", OnError("continue")),
        ("-t", Trim()),
        ("-q /mnt,/srv/tree", MakeEquivalent("/mnt", "/srv/tree")),
    ],
)
def test_control_lines(line, expected):
    """Every control option gives its command."""
    assert command(line) == expected


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("-a exit,always", "-a always,exit -S all"),
        ("-a always,io_uring", "-a always,io_uring -S all"),
        ("-a always,io_uring -S openat,22", "-a always,io_uring -S openat,read"),
        ("-w /etc/passwd", "-w /etc/passwd -p rwxa"),
        ("-w /etc -pwa -kx -k y", "-w /etc -p wa -k x -k y"),
        ("-w / -p a", "-w / -p a"),
        ("-a never,task", "-a never,task"),
        ("-a always,exit -S 0,1 -F auid=unset", "-a always,exit -S read,write -F auid=-1"),
        ("-a always,exit -F arch=b32 -S 5", "-a always,exit -F arch=b32 -S open"),
        (
            "-a always,exit -F arch=aarch64 -S 221",
            "-a always,exit -F arch=aarch64 -S execve",
        ),
        (
            "-a always,exit -Fexit=-2 -F a0&0x10 -C auid!=uid -k k",
            "-a always,exit -S all -F exit=-ENOENT -F a0&0x10 -C uid!=auid -F key=k",
        ),
        ("-a never,exclude -F msgtype=1423", "-a never,exclude -F msgtype=LANDLOCK_ACCESS"),
        ("-a never,exclude -F msgtype=1499", "-a never,exclude -F msgtype=1499"),
        ("-a never,filesystem -F fstype=1", "-a never,filesystem -F fstype=1"),
        (
            "-a never,exit -F path=/a\\ b\\\\c -F perm=r",
            "-a never,exit -S all -F path=/a\\ b\\\\c -F perm=r",
        ),
        ("-a always,exit -F dir=/etc/ -F perm=r", "-a always,exit -S all -F dir=/etc/ -F perm=r"),
    ],
)
def test_printed(line, shown):
    """A rule prints in auditctl's form, and what is printed reads as the same rule."""
    parsed = rule(line)
    assert printed(parsed, X86_64) == shown
    assert rule(shown) == parsed
    assert Rule.from_bytes(parsed.to_bytes()) == parsed


def test_a_rule_for_another_machine():
    """b64, b32 and the names of calls are those of the machine that the rules are for."""
    arm = Host(AARCH64, HOST.uid, HOST.gid, HOST.is_folder)
    (line,) = parse("-a always,exit -F arch=b64 -S execve", host=arm)
    assert line.command.rule.arch == AARCH64
    assert line.command.rule.syscalls == (221,)
    assert printed(line.command.rule, AARCH64) == "-a always,exit -F arch=b64 -S execve"


def test_add_and_delete():
    """-A prepends, -d and -W delete; the rule is the same."""
    added, first, deleted = (command(f"{each} always,exit -S open") for each in ("-a", "-A", "-d"))
    assert added == Add(first.rule)
    assert first.prepend
    assert deleted == Delete(added.rule)
    assert first.rule.to_bytes(prepend=True)[0] == 0x14
    assert command("-W /etc/passwd") == Delete(rule("-w /etc/passwd"))


def test_comments_blanks_and_lines():
    """Comments and blank lines give nothing; a line knows its file, number and text."""
    text = "# comment\n\n  # another\r\n\t-e 1\r\n-D"
    first, second = parse(text, "my.rules", HOST)
    assert (first.filename, first.number, first.text) == ("my.rules", 4, "-e 1")
    assert second.number == 5
    # Only a whole line is a comment.
    with pytest.raises(RuleError, match="unknown word `#`"):
        parse("-D # all", host=HOST)


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ("-a always,exit -F uixd=0", 19, "`uixd`; did you mean `uid`"),
        ("-a allways,exit", 4, "`allways`; did you mean `always`"),
        ("-a always,exit -S opnat", 19, "`opnat`; did you mean `openat`"),
        ("-a always,io_uring -S opnat", 23, "io_uring operation `opnat`; did you mean `openat`"),
        ("-a always,exit -F exit=-EACCESS", 19, "did you mean `EACCES`"),
        ("-a never,exclude -F msgtype=SYSCAL", 21, "did you mean `SYSCALL`"),
        ("-a always,exit -F arch=x8664", 19, "did you mean `x86_64`"),
        ("-a always,exit -S open -F arch=b64", 27, "arch comes after -S"),
        ("-a always,exit -F arch=b64 -F arch=b32", 31, "a second arch"),
        ("-a always,exit -S 2032", 19, "no x32 call"),
        ("-a always,exit -F uid=nobody-here", 19, "unknown user `nobody-here`"),
        ("-a always,exit -F gid=nobody-here", 19, "unknown group `nobody-here`"),
        ("-a always,exit -F uid=4294967296", 19, "does not fit 32 bits"),
        (f"-a always,exit -F uid={'9' * 5000}", 19, "does not fit 32 bits"),
        (f"-a always,exit -F exit=-{'9' * 5000}", 19, "does not fit 32 bits"),
        ("-a always,exit -F pid=-1", 19, "`-1` is not a number"),
        ("-a always,exit -F uid&1", 19, "cannot be compared by `&`"),
        ("-a always,exit -F path!=/x", 19, "it takes ="),
        ("-a always,exit -F path=x", 19, "not absolute"),
        ("-a always,exit -F path=/etc/", 19, "for a folder write dir="),
        ("-a always,exit -F path=/a -F inode=3", 30, "a second `inode`"),
        ("-a always,exit -F exe=/a -F exe=/b", 29, "a second `exe`"),
        ("-a always,exit -F uid=", 19, "has no value"),
        ("-a always,exit -F uid", 19, "is not a condition"),
        ("-a always,exit -F saddr_fam=46", 19, "the last one is 45"),
        ("-a always,exit -F field_compare=1", 19, "write -C"),
        ("-a always,exit -C uid=gid", 19, "cannot compare uid with gid"),
        ("-a always,exit -C uid=pid", 19, "`pid` cannot be compared"),
        ("-a always,exit -C uid<auid", 19, "is not a comparison"),
        ("-a never,task -S open", 18, "does nothing on the list task"),
        ("-a never,exclude -F egid=0", 21, "does nothing on the list exclude"),
        ("-a never,exclude -F msgtype=CWD -k x", 36, "a key does nothing"),
        ("-a always,entry -S open", 4, "use `exit`"),
        ("-a possible,exit -S open", 4, "use `always`"),
        ("-a always", 4, "lacks a list or an action"),
        ("-w relative", 4, "not absolute"),
        ("-w /x -p rz", 10, "unknown permission `z`"),
        ("-k alone", 4, "comes before its rule"),
        ("-D -e 1", 7, "must be alone on its line"),
        ("-a always,exit -w /x", 19, "begins a second rule"),
        ("-a always,exit -S", 16, "needs a value"),
        ("-e 3", 4, "takes 0 to 2"),
        ("-q /only", 4, "not MOUNT,SUBTREE"),
        ("-l", 1, "is not allowed in a rule file"),
        ("--reset-lots", 1, "did you mean `--reset-lost`"),
        ("--reset-lost=1", 14, "takes no value"),
        ("word", 1, "unknown word `word`"),
        (f"-a always,exit -S open -k {'x' * 257}", 27, "256 bytes"),
    ],
)
def test_errors(line, column, says):
    """A wrong line names file, line, column, the word, and what would be right."""
    with pytest.raises(RuleError) as caught:
        parse(f"-D\n{line}", "my.rules", HOST)
    assert str(caught.value).startswith(f"my.rules:2:{column}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_error_is_found():
    """With a list for them, wrong lines are collected and the right ones kept."""
    errors = []
    lines = parse("-e 9\n-D\n-S open\n-e 1", "x", HOST, errors)
    assert [line.number for line in lines] == [2, 4]
    assert [str(error).split(" ")[0] for error in errors] == ["x:1:4:", "x:3:4:"]


def test_too_many_conditions():
    """The kernel's 64 fields are the limit, the key counted."""
    line = "-a always,exit -S open " + "-F uid!=1 " * 63
    assert len(rule(line + "-k key").conditions) == 64
    with pytest.raises(RuleError, match="64 a rule"):
        rule(line + "-F uid!=2 -k key")


def test_unreadable_struct():
    """Bytes that are no rule are refused."""
    good = rule("-w /etc/passwd").to_bytes()
    for bad in (b"", good[:1000], good[:-1], b"\xff" + good[1:]):
        with pytest.raises(RuleError):
            Rule.from_bytes(bad)


def test_control_bytes_print_as_one_line():
    """A path with a newline, which only another program can have loaded, forges no line."""
    path = Condition(fields.PATH, fields.EQUAL, "/a\nb\x1bc")
    loaded = Rule(FilterList.EXIT, Action.ALWAYS, (path,), EVERY_SYSCALL)
    assert printed(loaded, X86_64) == "-a always,exit -S all -F path=/a\\x0ab\\x1bc"


def test_read(tmp_path):
    """A folder gives its *.rules in the order of names; errors name the file."""
    (tmp_path / "20.rules").write_text("-e 1\n")
    (tmp_path / "10.rules").write_text("-D\n")
    (tmp_path / "notes.txt").write_text("nonsense\n")
    assert [line.text for line in read(tmp_path, HOST)] == ["-D", "-e 1"]
    assert [line.text for line in read(tmp_path / "20.rules", HOST)] == ["-e 1"]
    with pytest.raises(RuleError, match=r"missing\.rules cannot be read: No such file"):
        read(tmp_path / "missing.rules", HOST)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuleError, match="contains no rule file"):
        read(tmp_path / "empty", HOST)
    (tmp_path / "30.rules").write_text("-e 1\n", encoding="utf-16")
    with pytest.raises(RuleError, match=r"30\.rules is UTF-16; save it as UTF-8"):
        read(tmp_path, HOST)
    (tmp_path / "30.rules").write_bytes(b"-D\n\0\n")
    with pytest.raises(RuleError, match=r"30\.rules:2:1: a NUL byte"):
        read(tmp_path, HOST)


@pytest.mark.parametrize("option", ["-w /srv/{} -p wa", "-a always,exit -F dir=/srv/{}"])
def test_paths_that_are_not_utf8_are_kept(tmp_path, option):
    """Byte for byte, to the kernel and back; comments may hold such bytes, too."""
    name = "caf\u00e9".encode("latin-1")
    data = b"# \xe9\n" + option.encode().replace(b"{}", name) + b" -k k\n"
    (tmp_path / "my.rules").write_bytes(data)
    (line,) = read(tmp_path / "my.rules", HOST)
    rule = line.command.rule
    assert b"/srv/" + name in rule.to_bytes()
    assert Rule.from_bytes(rule.to_bytes()) == rule
    assert os.fsencode(str(rule.conditions[0].value)) == b"/srv/" + name
    assert visible(printed(rule, X86_64)).isprintable()
    assert "caf\\xe9" in visible(printing.text(rule))


@pytest.mark.parametrize("first", ["-e 1", "# comment", "-w /etc/passwd -p wa", ""])
def test_a_byte_order_mark_is_left_away(tmp_path, first):
    """Whatever the first line is; columns are counted without it."""
    (tmp_path / "my.rules").write_text(f"\ufeff{first}\n-b 64\n", encoding="utf-8")
    lines = read(tmp_path / "my.rules", HOST)
    assert [line.text for line in lines] == [*[first] * (first[:1] == "-"), "-b 64"]
    (tmp_path / "my.rules").write_text("\ufeff-e nine\n", encoding="utf-8")
    with pytest.raises(RuleError, match=r"my\.rules:1:4: "):
        read(tmp_path / "my.rules", HOST)


def test_a_folder_is_read_as_augenrules_reads_it(tmp_path):
    """Files in natural order; -D comes first and -e last, wherever they stand."""
    folder = tmp_path / "rules.d"
    folder.mkdir()
    for name in ("9-nine", "10-ten", "1-one", "a2", "a10", "A.b", "30-x", "30-x-more", "+1", "030"):
        (folder / f"{name}.rules").write_text(f"-w /{name}\n")
    shown = subprocess.run(
        ["ls", "-1v", folder], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}
    ).stdout
    names = [Path(line.filename).name for line in read(folder, HOST)]
    assert names == shown.splitlines()
    (folder / "1-one.rules").write_text("-e 2\n-w /one\n")
    (folder / "a10.rules").write_text("-D\n-b 64\n")
    texts = [line.text for line in read(folder, HOST)]
    assert (texts[0], texts[-1]) == ("-D", "-e 2")


def test_every_error_of_every_file_is_found(tmp_path):
    """A file that is no text does not hide the errors of the others."""
    (tmp_path / "1.rules").write_text("-e 9\n-e 1\n")
    (tmp_path / "2.rules").write_bytes(b"\xff\n")
    (tmp_path / "3.rules").write_bytes(b"-D\nabc\0\n")
    (tmp_path / "4.rules").write_text("-k x\n")
    (tmp_path / "5.rules").symlink_to("nowhere")
    errors = []
    assert [line.text for line in read(tmp_path, HOST, errors)] == ["-e 1"]
    assert [str(error).removeprefix(f"{tmp_path}/").split(" ")[0] for error in errors] == [
        "1.rules:1:4:",
        "2.rules:1:1:",
        "3.rules:2:4:",
        "4.rules:1:4:",
        "rule",
    ]
    errors.clear()
    assert read(tmp_path / "none.rules", HOST, errors) == []
    assert "No such file" in str(errors[0])


@given(rules())
def test_round_trip(drawn):
    """Any rule survives bytes and text: text -> wire -> text, wire -> text -> wire."""
    assert Rule.from_bytes(drawn.to_bytes()) == drawn
    shown = printed(drawn, X86_64)
    again = rule(shown)
    assert again == drawn
    assert printed(again, X86_64) == shown
    assert again.to_bytes() == drawn.to_bytes()


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    """No text makes the parser fail otherwise than by a RuleError of one line."""
    errors = []
    for line in parse(text, "x", HOST, errors):
        assert line.number <= text.count("\n") + 1
    for error in errors:
        assert str(error).startswith("x:")
        assert "\n" not in str(error)
