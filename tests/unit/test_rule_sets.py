"""Shipped rule sets by name, and the controls that rules serve."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

from auditsvc.config import load_settings
from auditsvc.errors import RuleError
from auditsvc.rule import Action, Add, OnError, Set, printing, read
from auditsvc.ruleset import controls
from auditsvc.ruleset.advice import advise
from auditsvc.ruleset.sources import rules_in_use

TEXT = """\
# A set.

#: FRAME 1.2 | Time is kept
#: OTHER A-7 | Clocks
# Why it
# matters.
-a always,exit -F arch=b64 -S settimeofday -k time
-w /etc/localtime -p wa -k time

#: FRAME 1.3 | Rules are locked
# Not ours to do.
#= -e 2
#= -f 2

-a always,exit -S getppid -k own

#: FRAME 1.2 | Time is kept
-a always,exit -F arch=b32 -S stime -k time
"""


def test_find_by_name():
    """A set is found by its name, with and without the number that orders it."""
    path = controls.find("10-all-syscalls")
    assert path.name == "10-all-syscalls.rules"
    assert controls.find("all-syscalls") == path
    assert controls.find(Path("all-syscalls")) == path
    assert path == controls.default()
    assert "10-all-syscalls" in controls.names()


def test_a_path_comes_first(tmp_path, monkeypatch):
    """What is there under that path is meant, but never in the default's place."""
    monkeypatch.chdir(tmp_path)
    Path("10-all-syscalls").write_text("-w /etc/shadow -p wa -k here\n")
    assert controls.find("10-all-syscalls") == Path("10-all-syscalls")
    assert len(rules_in_use(load_settings())[0]) == 2


def test_find_unknown():
    """An unknown name is answered with the nearest and with all."""
    with pytest.raises(RuleError) as caught:
        controls.find("all-syscall")
    assert "rules all-syscall: no such file or folder" in caught.value.what
    assert caught.value.hint.startswith("did you mean `all-syscalls`? the sets are 10-all-syscalls")


def test_settings_take_names(monkeypatch):
    """The setting `rules` takes a set's name."""
    monkeypatch.setenv("AUDITSVC_RULES", '["all-syscalls"]')
    found, notes = rules_in_use(load_settings())
    assert printing.text(found[0].rule) == "-a always,exit -S all -F key=all-syscalls"
    assert notes == []


def test_controls():
    """Paragraphs become controls; one that comes twice is joined, and no rule is left out."""
    time, clocks, locked, own = controls.controls(TEXT)
    assert (time.name, time.title, time.note) == ("FRAME 1.2", "Time is kept", "Why it matters.")
    assert [line.number for line in time.lines] == [7, 8, 18]
    assert [line.number for line in clocks.lines] == [7, 8]
    assert locked.settings == (Set("enabled", 2), Set("failure", 2))
    assert locked.lines == ()
    assert (own.framework, own.name) == ("", "own")
    assert [rule.keys for rule in own.rules] == [("own",)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#: FRAME\n", "<rules>:1:1: `#: FRAME` names no control"),
        ("#: FRAME 1 | a\n\n#: FRAME 1 | b\n", "<rules>:3:1: FRAME 1 has the title `a` above"),
        ("#: FRAME 1 | a\n#= -w /x\n", "<rules>:2:1: `#= -w /x` is not a setting"),
        ("#= -e 2\n", "<rules>:1:1: `#= -e 2` belongs to no control"),
    ],
)
def test_wrong_comments(text, message):
    """A comment that is to be read by the program and cannot be is an error."""
    with pytest.raises(RuleError) as caught:
        controls.controls(text)
    assert caught.value.what == message


def test_other_comments():
    """Ornaments that look alike are comments of people."""
    assert controls.controls("#:----\n#====\n") == []


def test_what_is_not_there(tmp_path):
    """Where a file says -i, rules for what the host lacks are left out and noted, else kept."""
    (tmp_path / "there").mkdir()
    text = f"""\
-w {tmp_path}/there -p wa
-w {tmp_path}/file -p wa
-a always,exit -F dir={tmp_path}/lacking -F perm=wa
-w {tmp_path}/lacking/file -p wa
-a always,exit -F exe={tmp_path}/lacking/program
"""
    strict, lenient = tmp_path / "strict.rules", tmp_path / "lenient.rules"
    strict.write_text(text)
    lenient.write_text("-i\n" + text)
    assert len(rules_in_use(load_settings(rules=[strict]))[0]) == 5
    rules, notes = rules_in_use(load_settings(rules=[lenient]))
    assert len(rules) == 2
    assert [note.partition(" is left out: ")[2] for note in notes] == [
        f"{tmp_path}/lacking does not exist"
    ] * 3
    assert notes[0].startswith(f"{lenient}:4: `-a always,exit -F dir=")


SHIPPED = {name: controls.find(name) for name in controls.names()}
IDS = {
    "PCI-DSS-4.0": r"10(\.\d+){2,3}",
    "STIG-RHEL-9": r"RHEL-09-654\d{3}",
    "CIS-Debian-12": r"6\.2\.3\.([1-9]|1\d|2[01])",
    "CIS-RHEL-9": r"6\.3\.3\.([1-9]|1\d|2[01])",
    "OSPP-4.2": r"FAU_GEN\.1\.(2|1\.c/[a-z-]+)",
    "auditsvc": r"all-syscalls(-lean)?",
}
# Settings that lock or stop a machine: shown as asked for, never made.
LOCKS = {("enabled", 2), ("failure", 2), ("loginuid_immutable", 1)}
# What is said of them and left so: the benchmarks' lines stay as they are, and the watch of a
# folder costs 13 ns a call.
ADVICE = (
    "one rule with all these calls would be asked once",
    "a watched folder without -S is asked at every call",
    "which the kernel asks one by one at every call",
)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the sets name x86_64's calls")
@pytest.mark.parametrize("name", SHIPPED)
class TestShipped:
    """What holds for every set."""

    def test_rules_serve_controls(self, name):
        """Every rule serves a control whose id is one of its framework, and has a key."""
        found = controls.controls(SHIPPED[name].read_text(), name)
        assert found
        for control in found:
            assert re.fullmatch(IDS[control.framework], control.id), control.name
            assert control.title
            for rule in control.rules:
                assert rule.keys or rule.action is Action.NEVER

    def test_keys_are_of_one_control(self, name):
        """No key stands for two controls, but where the same rules serve both."""
        serving: dict[str, set[tuple[int, str]]] = {}
        for control in controls.controls(SHIPPED[name].read_text(), name):
            for line, rule in zip(control.lines, control.rules, strict=True):
                for key in rule.keys:
                    serving.setdefault(key, set()).add((line.number, control.name))
        for key, places in serving.items():
            served = {control for _, control in places}
            shared = [number for number, _ in places]
            assert len(served) == 1 or len(shared) > len(set(shared)), key

    def test_nothing_locks(self, name):
        """A set only adds rules: what locks or stops a machine is only asked for."""
        commands = [line.command for line in read(SHIPPED[name])]
        assert {type(each) for each in commands} <= {Add, OnError}
        for control in controls.controls(SHIPPED[name].read_text(), name):
            assert {(each.name, each.value) for each in control.settings} <= LOCKS

    def test_both_machines(self, name):
        """A rule that names calls of 64-bit programs has its twin for 32-bit ones."""
        rules = [line.command.rule for line in read(SHIPPED[name]) if isinstance(line.command, Add)]
        twins = [
            re.sub(r" -S \S+", "", printing.text(rule)) for rule in rules if rule.arch is not None
        ]
        for text in twins:
            if "arch=b64" in text:
                assert twins.count(text) == twins.count(text.replace("b64", "b32")), text

    def test_advice(self, name):
        """`rules check` warns of nothing that is not meant."""
        for warning in advise(read(SHIPPED[name])):
            assert any(known in str(warning) for known in ADVICE), str(warning)
