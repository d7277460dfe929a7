"""The sockets that an earlier run left, when a run ends without having registered."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from auditsvc.service import record_sockets
from auditsvc.service.record_sockets import RecordSockets


@pytest.fixture
def done(monkeypatch):
    """Give what is done to the kernel, in order."""
    steps = []

    class Control:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            steps.append("closed")

        def status(self):
            return SimpleNamespace(rate_limit=7)

        def set(self, **values):
            steps.append(values)

    monkeypatch.setattr(record_sockets, "Control", Control)
    return steps


def left(steps, **full):
    """Make the object with sockets of these names, each full or not."""
    sockets = RecordSockets.__new__(RecordSockets)
    sockets._left = lambda: {
        name: SimpleNamespace(is_full=is_full, refuse=lambda name=name: steps.append(name))
        for name, is_full in full.items()
    }
    return sockets


def test_full_sockets_are_refused_and_the_kernel_is_woken_once(done):
    """The record comes last: what it wakes must find every full socket refused."""
    left(done, a=True, b=False, c=True).release_full()
    assert done == ["a", "c", {"rate_limit": 7}, "closed"]


def test_sockets_that_are_not_full_stay_as_they_are(done):
    """They go on receiving for the next run, and nothing is logged for them."""
    left(done, a=False, b=False).release_full()
    assert done == []


def test_a_socket_that_was_left_is_opened_once(monkeypatch):
    """A descriptor has one owner: when registering failed, the end still finds it open."""
    monkeypatch.setattr(record_sockets.RecordSocket, "left", lambda _: object())
    sockets = RecordSockets(SimpleNamespace(found={"records-1": 7, "landing": 8}), None, None, "")
    first = sockets._left()
    assert list(first) == ["records-1"]
    assert sockets._left()["records-1"] is first["records-1"]
