"""A stay as the audit daemon, on a modelled kernel: all is as it was, but for what load made."""

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

A, B, C = "-a always,exit -S open -k a", "-a always,exit -S open -k b", "-a always,exit -S all -k c"
NEVER = "-A never,exit -F pid=7"


def lines(*text):
    """The Add commands of lines."""
    return [line.command for line in parse("\n".join(text))]


def rules(*text):
    """The rules of lines."""
    return [each.rule for each in lines(*text)]


@pytest.fixture
def stay(monkeypatch, tmp_path):
    """Begin a stay on a kernel with such rules; gives it and the kernel."""

    def begin(control, *wanted):
        monkeypatch.setattr(session, "Control", lambda: control)
        found = Session(tmp_path)
        found.begin(lines(*wanted), 16384)
        return found

    return begin


def left(each):
    """End a stay; gives its notes."""
    each.quiet()
    each.leave()
    return each.notes


def test_as_it_was_found(stay, tmp_path):
    """Rules, limits and switch come back, and nothing stays on disk."""
    control = FakeKernel(rules(C), enabled=0)
    here = stay(control, A, NEVER, C)
    assert control.loaded == rules(NEVER, A, C)
    assert (control.settings["enabled"], control.settings["backlog_limit"]) == (1, 16384)
    assert here.added == 2
    assert left(here) == []
    assert control.loaded == rules(C)
    assert (control.settings["enabled"], control.settings["backlog_limit"]) == (0, 64)
    assert list(tmp_path.iterdir()) == []


def test_rules_of_others_that_had_to_move_go_back(stay):
    """Ours need an order in which theirs did not stand."""
    control = FakeKernel(rules(C, A))
    here = stay(control, NEVER, A, B, C)
    assert control.loaded == rules(NEVER, A, B, C)
    left(here)
    assert control.loaded == rules(C, A)


def test_other_rules_while_it_stays(stay):
    """`hold` adds and takes out its own, and nobody else's."""
    control = FakeKernel(rules(A))
    here = stay(control, A, B)
    here.hold(lines(NEVER, B))
    assert control.loaded == rules(NEVER, A, B)
    here.hold(lines(B))
    assert control.loaded == rules(A, B)
    left(here)
    assert control.loaded == rules(A)


def test_after_a_crash(stay):
    """The next stay knows its own rules and the old limits."""
    control = FakeKernel(rules(C))
    stay(control, A, B)
    again = stay(control, A)
    assert any("crashed" in note for note in again.notes)
    assert control.loaded == rules(A, C) or control.loaded == rules(C, A)
    left(again)
    assert control.loaded == rules(C)
    assert control.settings["backlog_limit"] == 64


def test_a_refused_rule(stay, tmp_path):
    """The stay does not begin, and nothing of it is left."""
    control = FakeKernel(rules(C))
    control.refused = set(rules(B))
    with pytest.raises(KernelError, match="as it was before"):
        stay(control, A, B)
    assert control.loaded == rules(C)
    assert boot_file.recall(tmp_path / boot_file.SESSION)["added"] == []


def test_locked(stay):
    """Locked from the beginning or in the middle: it stays all the same, and says so."""
    control = FakeKernel(rules(C), enabled=2)
    here = stay(control, A)
    assert "locked" in here.notes[0]
    left(here)
    assert control.loaded == rules(C)
    control = FakeKernel()
    control.lock_after = 2
    here = stay(control, A, B, C)
    assert control.loaded == rules(A)
    assert any("1 of 3 changes" in note for note in here.notes)
    assert any("until the next boot" in note for note in left(here))


def test_somebody_deleted_a_rule_of_ours(stay):
    """It is said at the end and is no failure."""
    control = FakeKernel()
    here = stay(control, A, B)
    control.loaded.remove(rules(A)[0])
    (note,) = left(here)
    assert "a rule of this service was deleted by somebody else" in note
    assert control.loaded == []


def test_what_load_made_meanwhile_stays(stay, tmp_path):
    """Rules and settings of `rules load` outlive the stay, also those that both wanted."""
    control = FakeKernel(enabled=0)
    here = stay(control, A, B)
    wanted = sum_up(parse(f"{C}\n{B}\n-e 1\n-b 8192"))
    load(control, wanted, compare(control, wanted, tmp_path), tmp_path)
    assert set(control.loaded) == set(rules(A, B, C))
    assert left(here) == []
    assert control.loaded == rules(C, B)
    assert (control.settings["enabled"], control.settings["backlog_limit"]) == (1, 8192)
