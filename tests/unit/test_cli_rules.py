"""The verbs of `auditsvc rules`, the kernel modelled: their lines and exit statuses."""

from __future__ import annotations

import json
import os
import sys

import pytest
from fixtures.fake_kernel import FakeKernel

from auditsvc import cli
from auditsvc.cli.rules import diff, load
from auditsvc.rule import parse, printing
from auditsvc.runtime import boot_file

A, B, C = "-a always,exit -S open -k a", "-a always,exit -S open -k b", "-a always,exit -S all -k c"


def rules(*lines):
    """The rules of lines."""
    return [line.command.rule for line in parse("\n".join(lines))]


@pytest.fixture
def say(monkeypatch, capsys, tmp_path):
    """Run `auditsvc rules ...`; gives exit status and the lines of both outputs."""
    monkeypatch.setenv("AUDITSVC_RUNTIME_DIRECTORY", str(tmp_path / "run"))

    def run(*words, control=None):
        for verb in (diff, load):
            monkeypatch.setattr(verb, "Control", lambda: control)
        monkeypatch.setattr(sys, "argv", ["auditsvc", "rules", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code, said.out.splitlines(), said.err.splitlines()

    return run


@pytest.fixture
def file(tmp_path):
    """Write a rule file."""

    def write(*lines):
        path = tmp_path / "my.rules"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def test_check(say, file, tmp_path):
    """All errors of all files and all warnings, a line each; status 2 only for errors."""
    good = file(C, "-a never,exit -F pid=1")
    status, out, err = say("check", good)
    assert (status, err) == (0, [])
    assert out[0].startswith(f"{good}:2: warning: ")
    assert out[1] == "2 rules: no errors, 1 warning"
    (tmp_path / "bad.rules").write_text("-a always,exot\n-e 1\n-w relative\n")
    status, out, err = say("check", tmp_path / "bad.rules", tmp_path / "absent", good)
    assert status == 2
    assert [line.partition(" ")[0] for line in err[:2]] == [
        f"{tmp_path}/bad.rules:1:4:",
        f"{tmp_path}/bad.rules:3:4:",
    ]
    assert "did you mean `exit`" in err[0]
    assert "absent" in err[2]
    assert len(out) == 1
    assert say("check") == (0, ["2 rules: no errors, 0 warnings"], [])
    assert say("check", "10-all-syscalls")[0] == 0


def test_check_of_what_is_not_there(say, file):
    """A folder that is missing is a warning, or a note where the file says -i or -c."""
    missing = "/nowhere/at all".replace(" ", "\\ ")
    watch = f"-w {missing}/x -p wa"
    for line in (watch, f"-a always,exit -S all -F exe={missing}/x"):
        status, out, err = say("check", file("-b 64", line))
        assert (status, err) == (0, [])
        assert "my.rules:2: warning: never loads on this host: /nowhere/at all does" in out[0]
    for option in ("-i", "-c"):
        status, out, err = say("check", file(option, watch))
        assert (status, err) == (0, [])
        assert "my.rules:2: note: is left out on this host: /nowhere/at all does not" in out[0]
        assert out[1] == "1 rule: no errors, 0 warnings, 1 note"


def test_check_by_a_user_who_may_not_look(say, file, monkeypatch):
    """A note, and no error, whatever is closed: the folder, or a file in it."""
    real = os.stat

    def closed(path, *args, **options):
        if str(path).startswith("/closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", closed)
    status, out, err = say("check", file("-w /closed/.ssh -p wa -k k", "-w /closed -p wa -k k"))
    assert (status, err) == (0, [])
    assert [line.partition(": ")[2][:20] for line in out[:2]] == [
        "note: /closed/.ssh c",
        "note: /closed cannot",
    ]
    assert out[2] == "2 rules: no errors, 0 warnings, 2 notes"
    status, _, err = say("check", "/closed/my.rules")
    assert status == 2
    assert "rule file /closed/my.rules cannot be read" in err[0]


def test_check_of_bytes_that_are_not_utf8(say, tmp_path):
    """They are shown as bytes."""
    path = tmp_path / "my.rules"
    path.write_bytes(b"\xef\xbb\xbf-w /etc/\xe9 -p wa -k k\n-w /etc/\xe9 -p w -k l\n-w \xe9\n")
    status, out, err = say("check", path)
    assert status == 2
    assert out == [
        f"{path}:2: warning: never matches: {path}:1 is asked first and matches the same calls"
    ]
    assert err == [f"{path}:3:4: path `\\xe9` is not absolute; begin it with /"]


def test_diff(say, file):
    """The marks, the exit status of diff(1), and JSON."""
    path = file("-b 8192", B, A)
    control = FakeKernel(rules(A, C, B))
    status, out, err = say("diff", path, "--format", "table", control=control)
    assert (status, err) == (1, [])
    assert out == [
        "+ -b 8192 (now 64)",
        f"~ {printing.text(rules(A)[0])}",
        f"? {printing.text(rules(C)[0])}",
    ]
    status, out, _ = say("diff", path, "--exclusive", control=control)
    assert status == 1
    assert json.loads("\n".join(out)) == {
        "equal": False,
        "settings": [{"name": "backlog_limit", "now": 64, "wanted": 8192}],
        "missing": [],
        "misplaced": [printing.text(rules(A)[0])],
        "unwanted": [printing.text(rules(C)[0])],
        "foreign": [],
        "service": [],
        "waiting": [],
    }
    assert control.requests == []
    equal = FakeKernel(rules(B, C, A), backlog_limit=8192)
    status, out, _ = say("diff", path, "--format", "table", control=equal)
    assert (status, out) == (0, [f"? {printing.text(rules(C)[0])}"])
    status, out, _ = say("diff", path, control=equal)
    assert (status, json.loads("\n".join(out))["equal"]) == (0, True)


def test_diff_tells_what_waits(say, file, tmp_path):
    """A backlog limit below the running service's is no difference, and is told in both forms."""
    (tmp_path / "run").mkdir()
    boot_file.remember(tmp_path / "run" / boot_file.SESSION, {"needs_backlog": 8192})
    path = file("-b 64", A)
    control = FakeKernel(rules(A), backlog_limit=8192)
    status, out, _ = say("diff", path, "--format", "table", control=control)
    assert (status, out) == (0, [": -b 64 (counts when the service stops, which needs 8192)"])
    status, out, _ = say("diff", path, control=control)
    assert (status, json.loads("\n".join(out))["waiting"]) == (
        0,
        [{"name": "backlog_limit", "needed": 8192, "wanted": 64}],
    )


def test_load(say, file):
    """What was changed is said in diff's lines; a second load changes nothing."""
    control = FakeKernel(rules(C))
    path = file("-D", A, B)
    status, out, err = say("load", path, "--dry-run", control=control)
    assert (status, err, control.requests) == (0, [], [])
    assert out[-1] == "would change: 2 added; not changed: 1 rule of others"
    status, out, err = say("load", path, control=control)
    assert (status, err) == (0, [])
    assert out == [
        f"{path}:1: `-D` does not delete 1 rule that others loaded; --exclusive does",
        f"+ {printing.text(rules(A)[0])}",
        f"+ {printing.text(rules(B)[0])}",
        "changed: 2 added; not changed: 1 rule of others",
    ]
    assert (
        say("load", path, control=control)[1][-1]
        == "changed: nothing; not changed: 1 rule of others"
    )
    status, out, _ = say("load", path, "--exclusive", control=control)
    assert out == [f"- {printing.text(rules(C)[0])}", "changed: 1 deleted"]
    assert control.loaded == rules(A, B)


def test_load_refused(say, file):
    """One line, status 1, nothing changed."""
    control = FakeKernel()
    control.refused = set(rules(B))
    path = file(A, B)
    status, out, err = say("load", path, control=control)
    assert (status, out, control.loaded) == (1, [], [])
    (line,) = err
    assert line.startswith(f"auditsvc: {path}:2: adding the rule")
    assert line.endswith("everything is as it was before")


@pytest.mark.parametrize(("option", "status"), [("-i", 0), ("-c", 1)])
def test_load_with_leave_to_fail(say, file, option, status):
    """-i and -c leave out what is wrong or refused, a line each; -c fails at the end."""
    control = FakeKernel()
    control.refused = set(rules(B))
    path = file(option, A, B, "-a always,exit -F uid=nobody-here", C)
    got, out, err = say("load", path, control=control)
    assert got == status
    assert control.loaded == rules(A, C)
    assert out == [
        f"+ {printing.text(rules(A)[0])}",
        f"+ {printing.text(rules(C)[0])}",
        "changed: 2 added",
    ]
    assert [line.split(" ")[:4] for line in err] == [
        ["auditsvc:", "left", "out:", f"{path}:4:19:"],
        ["auditsvc:", "left", "out:", f"{path}:3:"],
    ]


def test_load_of_wrong_lines(say, file):
    """Without -i or -c a wrong line stops before the kernel is asked, with status 2."""
    control = FakeKernel()
    status, out, err = say("load", file(A, "-a nowhere", "-a nothing"), control=control)
    assert (status, out, control.requests) == (2, [], [])
    assert len(err) == 1
    assert "my.rules:2:4:" in err[0]
    assert "1 more: see `auditsvc rules check`" in err[0]


def test_load_under_a_lock(say, file):
    """It says what it would change and cannot; if nothing differs that is no failure."""
    control = FakeKernel(rules(A), enabled=2)
    status, out, err = say("load", file(A, B), control=control)
    assert status == 1
    assert out == [f"+ {printing.text(rules(B)[0])}", "cannot change: 1 added"]
    assert err == [
        "auditsvc: audit is locked (-e 2): the rules cannot be changed; only a reboot unlocks it"
    ]
    assert say("load", file(A), control=control) == (0, ["changed: nothing"], [])
    assert control.requests == []


def test_a_second_command_line_of_a_process_is_as_quick_as_the_first(say, file):
    """Verbs are not added once more to those that are there."""
    path = file(A)
    for _ in range(2):
        assert say("check", path)[0] == 0
        assert [group.name for group in cli.app.registered_groups] == ["rules"]
        (group,) = cli.app.registered_groups
        assert [each.name for each in group.typer_instance.registered_commands] == ["check"]
