"""The session as audit daemon, on a model of the kernel: it restores what it changed."""

from __future__ import annotations

import pytest
from fixtures.fake_kernel import FakeKernel

from auditsvc.errors import KernelError
from auditsvc.kernel import session
from auditsvc.kernel.load_rules import compare, load
from auditsvc.kernel.session import Session
from auditsvc.rule import parse
from auditsvc.ruleset.wanted import sum_up
from auditsvc.runtime import boot_file
from auditsvc.service.exclusions import KEYS

A, B, C = "-a always,exit -S open -k a", "-a always,exit -S open -k b", "-a always,exit -S all -k c"
NEVER = "-A never,exit -F pid=7"


def lines(*text):
    """The Add commands of lines."""
    return [line.command for line in parse("\n".join(text))]


def rules(*text):
    """The rules of lines."""
    return [each.rule for each in lines(*text)]


@pytest.fixture
def begin(monkeypatch, tmp_path):
    """Begin a session with these rules on a model of the kernel."""

    def run(control, *wanted):
        monkeypatch.setattr(session, "Control", lambda: control)
        found = Session(tmp_path)
        found.begin(lines(*wanted), 16384)
        return found

    return run


def end(each):
    """End a session; gives its notes."""
    each.restore()
    each.close()
    return each.notes


def test_as_it_was_found(begin, tmp_path):
    """Rules, limits and the enabled flag are restored, and no file stays."""
    control = FakeKernel(rules(C), enabled=0)
    current = begin(control, A, NEVER, C)
    assert control.loaded == rules(NEVER, A, C)
    assert (control.settings["enabled"], control.settings["backlog_limit"]) == (1, 16384)
    assert current.added == 2
    assert end(current) == []
    assert control.loaded == rules(C)
    assert (control.settings["enabled"], control.settings["backlog_limit"]) == (0, 64)
    assert list(tmp_path.iterdir()) == []


def test_a_load_meanwhile_does_not_lower_what_the_session_needs(begin, tmp_path):
    """As by auditd's `-b 8192`, loaded after each start: no loss, no tampering; it counts later."""
    control = FakeKernel(enabled=0)
    current = begin(control, A)
    for line, now, later in (
        ("-b 8192", 16384, 8192),
        ("-b 32768", 32768, 32768),
        ("-b 4096", 16384, 4096),
        ("-b 0", 0, 0),
        ("-b 8192", 16384, 8192),
    ):
        wanted = sum_up(parse(line, "my.rules"))
        found = compare(control, wanted, tmp_path)
        load(control, wanted, found, tmp_path)
        assert control.settings["backlog_limit"] == now
        assert [each.wanted for each in found.kept] == ([later] if later != now else [])
        assert compare(control, wanted, tmp_path).equal
    assert end(current) == []
    assert control.settings["backlog_limit"] == 8192


def test_rules_of_others_that_had_to_move_go_back(begin):
    """The session needs another order of rules that were loaded before."""
    control = FakeKernel(rules(C, A))
    current = begin(control, NEVER, A, B, C)
    assert control.loaded == rules(NEVER, A, B, C)
    end(current)
    assert control.loaded == rules(C, A)


def test_other_rules_during_the_session(begin):
    """`set_rules` adds and deletes the session's rules, and no others."""
    control = FakeKernel(rules(A))
    current = begin(control, A, B)
    current.set_rules(lines(NEVER, B))
    assert control.loaded == rules(NEVER, A, B)
    current.set_rules(lines(B))
    assert control.loaded == rules(A, B)
    end(current)
    assert control.loaded == rules(A)


def test_after_a_crash(begin):
    """The next session knows its own rules and the old limits."""
    control = FakeKernel(rules(C))
    begin(control, A, B)
    again = begin(control, A)
    assert any("crashed" in note for note in again.notes)
    assert control.loaded == rules(A, C) or control.loaded == rules(C, A)
    end(again)
    assert control.loaded == rules(C)
    assert control.settings["backlog_limit"] == 64


def test_a_refused_rule(begin, tmp_path):
    """The session does not begin, and none of its rules stays."""
    control = FakeKernel(rules(C))
    control.refused = set(rules(B))
    with pytest.raises(KernelError, match="as it was before"):
        begin(control, A, B)
    assert control.loaded == rules(C)
    assert boot_file.recall(tmp_path / boot_file.SESSION)["added"] == []


def test_exclusions_of_a_run_that_left_no_file_go(monkeypatch, tmp_path):
    """Its processes have ended: whoever gets a pid of theirs would not be audited."""
    left = "-A never,exit -F pid=7 -k auditsvc-loader"
    own = "-A never,exit -F pid=8 -k auditsvc-loader"
    control = FakeKernel(rules(left, NEVER, C), enabled=1)
    monkeypatch.setattr(session, "Control", lambda: control)
    current = Session(tmp_path, KEYS)
    current.begin(lines(own, A), 16384)
    assert control.loaded == rules(own, NEVER, C, A)
    assert end(current) == ["1 rule that excluded a process of an earlier run: deleted"]
    assert control.loaded == rules(NEVER, C)


def test_locked(begin):
    """Audit is locked from the beginning or meanwhile: the session goes on, with a note."""
    control = FakeKernel(rules(C), enabled=2)
    current = begin(control, A)
    assert "locked" in current.notes[0]
    end(current)
    assert control.loaded == rules(C)
    control = FakeKernel()
    control.lock_after = 2
    current = begin(control, A, B, C)
    assert control.loaded == rules(A)
    assert any("1 of 3 changes" in note for note in current.notes)
    assert any("until the next boot" in note for note in end(current))


def test_somebody_deleted_a_rule_of_ours(begin):
    """A note at the end names it; it is no failure."""
    control = FakeKernel()
    current = begin(control, A, B)
    control.loaded.remove(rules(A)[0])
    (note,) = end(current)
    assert "a rule of this service was deleted by somebody else" in note
    assert control.loaded == []


def test_what_load_made_meanwhile_stays(begin, tmp_path):
    """Rules and settings of `rules load` stay, also those that both wanted."""
    control = FakeKernel(enabled=0)
    current = begin(control, A, B)
    wanted = sum_up(parse(f"{C}\n{B}\n-e 1\n-b 8192"))
    load(control, wanted, compare(control, wanted, tmp_path), tmp_path)
    assert set(control.loaded) == set(rules(A, B, C))
    assert end(current) == []
    assert control.loaded == rules(C, B)
    assert (control.settings["enabled"], control.settings["backlog_limit"]) == (1, 8192)
