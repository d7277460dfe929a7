"""Loading on a model of the kernel: which rules are deleted, the order of steps, undoing."""

from __future__ import annotations

import json

import pytest
from fixtures.fake_kernel import FakeKernel

from auditsvc.errors import KernelError, LockedError
from auditsvc.kernel.load_rules import compare, load, owners
from auditsvc.rule import Reset, Set, Trim, parse
from auditsvc.ruleset.wanted import sum_up
from auditsvc.runtime import boot_file


def rules(*lines):
    """The rules of lines."""
    return [line.command.rule for line in parse("\n".join(lines))]


@pytest.fixture
def once(tmp_path):
    """Compare and load; gives what differed."""

    def run(control, *lines, exclusive=False, skip=None):
        wanted = sum_up(parse("\n".join(lines), "my.rules"))
        found = compare(control, wanted, tmp_path, exclusive=exclusive)
        load(control, wanted, found, tmp_path, skip)
        return found

    return run


A, B, C = "-a always,exit -S open -k a", "-a always,exit -S open -k b", "-a always,exit -k c"


def test_only_rules_of_earlier_loads_go(once, tmp_path):
    """A rule that load added goes when it is no longer wanted; a foreign one stays."""
    control = FakeKernel(rules(C))
    assert once(control, A, B).missing == rules(A, B)
    assert owners(tmp_path).ours == set(rules(A, B))
    found = once(control, B)
    assert (found.unwanted, found.foreign) == (rules(A), rules(C))
    assert control.loaded == rules(C, B)
    assert once(control, B).equal
    assert once(control, B, exclusive=True).unwanted == rules(C)
    assert control.loaded == rules(B)


def test_a_rule_that_was_there_is_not_ours(once):
    """Wanting a rule that somebody else loaded does not make it ours."""
    control = FakeKernel(rules(A))
    once(control, A, B)
    once(control, B)
    assert control.loaded == rules(A, B)


def test_after_a_boot_nothing_is_ours(once, tmp_path):
    """What is remembered is good for the boot in which it was written."""
    control = FakeKernel()
    once(control, A)
    path = tmp_path / boot_file.LOADED
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot": "another"}))
    assert once(control, B).foreign == rules(A)
    path.write_text("{")
    with pytest.raises(boot_file.DamagedError, match=r"loaded\.json is damaged"):
        once(control, B)


def test_rules_of_the_running_service_stay(once, tmp_path):
    """Even with --exclusive, and its exceptions stay in front of our -A lines."""
    never = "-A never,exit -F pid=7"
    boot_file.remember(tmp_path / boot_file.SESSION, {"holds": boot_file.as_hex(rules(never, A))})
    control = FakeKernel(rules(never, A, B))
    found = once(control, "-A always,exit -k all", exclusive=True)
    assert found.held == rules(never, A)
    assert found.unwanted == rules(B)
    assert control.loaded == rules(never, "-a always,exit -k all", A)


def test_a_never_of_ours_moves_no_rule_of_the_running_service(once, tmp_path):
    """To move one it is deleted for a moment: the service would be fed, and tampering be told."""
    never, ours = "-A never,exit -F pid=7", "-A never,exit -F auid=5"
    boot_file.remember(tmp_path / boot_file.SESSION, {"holds": boot_file.as_hex(rules(never))})
    control = FakeKernel(rules(never, C))
    found = once(control, ours)
    assert [change.verb for change in found.changes] == ["prepend"]
    assert control.loaded == rules(ours, never, C)
    once(control, ours, "-A always,exit -k all")  # before that one it has to be, wherever it was
    assert control.loaded.index(*rules(never)) < control.loaded.index(
        *rules("-A always,exit -k all")
    )


def test_what_the_files_want_is_remembered(once, tmp_path):
    """A service that stops leaves it; what it holds and no file wants goes with a later load."""
    control = FakeKernel()
    once(control, A, "-e 1", "-b 8192")
    path = tmp_path / boot_file.LOADED
    assert boot_file.recall(path)["settings"] == {"enabled": 1, "backlog_limit": 8192}
    assert boot_file.recall_rules(path, "wanted") == set(rules(A))
    boot_file.remember(tmp_path / boot_file.SESSION, {"holds": boot_file.as_hex(rules(A))})
    once(control, B)
    assert control.loaded == rules(A, B)
    assert boot_file.recall_rules(path, "wanted") == set(rules(B))
    (tmp_path / boot_file.SESSION).unlink()
    once(control, B)
    assert control.loaded == rules(B)


def test_lines_that_delete(once):
    """-d takes a rule out, also a foreign one; -D takes back earlier lines and no foreign rule."""
    control = FakeKernel(rules(A, C))
    once(control, B, "-d always,exit -S open -k a")
    assert control.loaded == rules(C, B)
    once(control, B, "-D", A)
    assert control.loaded == rules(C, A)
    once(control, A, B, "-D -k b", "-d always,exit -S open -k a", A)
    assert control.loaded == rules(C, A)


def test_settings_come_in_their_turn(once):
    """Limits first, then rules, -e 1, what cannot be taken back, and -e 2 after everything."""
    control = FakeKernel(enabled=0)
    once(control, "-e 2", "-b 8192", "--loginuid-immutable", "--reset-lost", "-t", A, "-b 4096")
    assert control.requests == [
        Set("backlog_limit", 4096),
        ("append", *rules(A)),
        Reset("lost"),
        Trim(),
        Set("loginuid_immutable", 1),
        Set("enabled", 2),
    ]
    other = FakeKernel(enabled=0)
    once(other, "-e 1", A)
    assert other.requests == [("append", *rules(A)), Set("enabled", 1)]


@pytest.mark.parametrize("refused", [*rules(B), "enabled", Reset, "loginuid_immutable"])
def test_a_refusal_anywhere_takes_all_back(once, tmp_path, refused):
    """Rules, their order, limits and switch are as before; one line says so."""
    control = FakeKernel(rules(C, A), enabled=0)
    before = (control.loaded.copy(), control.settings.copy())
    control.refused = {refused}
    lines = ("-f 0", "-b 8192", A, B, C, "-e 1", "--reset-lost", "--loginuid-immutable")
    with pytest.raises(KernelError, match="as it was before") as caught:
        once(control, *lines)
    assert (control.loaded, control.settings) == before
    assert "\n" not in str(caught.value)
    assert owners(tmp_path).ours == set()
    control.refused = set()
    once(control, *lines)
    assert control.loaded == rules(A, B, C)


def test_what_cannot_be_taken_back_is_said(once):
    """Immutable login uids outlive a refused -e 2."""
    control = FakeKernel(enabled=0)
    control.refused = {"enabled"}
    with pytest.raises(KernelError, match="login uids stay immutable until the next boot"):
        once(control, "--loginuid-immutable", A, "-e 2")
    assert control.loaded == []


def test_skipping_with_i(once, tmp_path):
    """What is refused is told with its line, and not remembered as ours; the rest is made."""
    control = FakeKernel()
    control.refused = {*rules(B), "failure"}
    told = []
    once(control, "-i", "-f 2", A, B, C, skip=told.append)
    assert control.loaded == rules(A, C)
    assert [line.partition(" ")[0] for line in told] == ["setting", "my.rules:4:"]
    assert owners(tmp_path).ours == set(rules(A, C))


def test_locked(once):
    """Under -e 2 nothing is asked of the kernel; equal rules are no failure."""
    control = FakeKernel(rules(A), enabled=2)
    assert once(control, A).equal
    assert once(control, A, "-e 2").equal
    with pytest.raises(LockedError, match="locked"):
        once(control, A, B)
    with pytest.raises(LockedError, match="locked"):
        once(control, A, "-b 8192")
    assert control.requests == []


def test_locked_meanwhile(once, tmp_path):
    """Somebody locks audit in the middle: what was made stays, is said, and stays ours."""
    control = FakeKernel()
    control.lock_after = 1
    with pytest.raises(LockedError, match="1 of 2 changes were made and stay"):
        once(control, A, B)
    assert control.loaded == rules(A)
    assert rules(A)[0] in owners(tmp_path).ours
