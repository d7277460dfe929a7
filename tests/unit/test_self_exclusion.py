"""Which processes the forwarder leaves out, and how often it asks journald who it is."""

from __future__ import annotations

import subprocess

import pytest

from auditsvc.forward import self_exclusion
from auditsvc.forward.self_exclusion import OwnProcesses


@pytest.fixture
def asked(monkeypatch):
    """Give the list of processes that say that they are journald, one for each time of asking."""
    made = []

    def ask():
        made.append(asked_for[-1])
        return made[-1]

    asked_for = [None]
    monkeypatch.setattr(self_exclusion, "journald_pid", ask)
    monkeypatch.setattr(self_exclusion, "_LOOK_EVERY", 0)
    return made, asked_for


def test_journald_is_asked_only_when_its_process_has_ended(asked):
    """Each time costs journald calls, which may be audited; the next one is found all the same."""
    times, answers = asked
    with subprocess.Popen(["sleep", "60"]) as first, subprocess.Popen(["sleep", "60"]) as second:
        answers.append(first.pid)
        own = OwnProcesses("here")
        assert {each.pid for each in own.processes()} >= {first.pid}
        for _ in range(5):
            own.processes()
        assert times == [first.pid]
        first.kill()
        first.wait()
        answers.append(second.pid)
        found = own.processes()
        assert times == [first.pid, second.pid]
        assert {each.pid for each in found} >= {first.pid, second.pid}
        second.kill()


def test_a_journald_that_is_not_there_is_asked_for_again(asked):
    """Until there is one."""
    times, _ = asked
    own = OwnProcesses("here")
    for _ in range(3):
        own.processes()
    assert times == [None] * 3
