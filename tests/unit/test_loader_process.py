"""What the loader's process tells of its loader."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from fixtures.waiting import until
from unit.test_loader_reports import STATE

from auditsvc.errors import ForeignError
from auditsvc.ingest.loader import Loader
from auditsvc.service.loader_process import _is_due, _state


def test_a_store_that_is_refused_counts_as_tried_with_its_error_only():
    """`run` waits for the first try, and then is ready: the refusal must come before that."""

    def refuse():
        raise ForeignError("another program's")

    loader = Loader(
        refuse,
        batch_bytes=1,
        latency=1,
        arrived=threading.Event(),
        busy=lambda: False,
        waiting=lambda: 0,
        upkeep=None,
    )
    made = SimpleNamespace(
        is_of_spool=True,
        loader=loader,
        upkeep=SimpleNamespace(problem=""),
        archiving=None,
        shipping=None,
    )
    assert not _state(made).tried
    loader.start()
    loader.join(60)
    assert loader.tried
    assert isinstance(loader.error, ForeignError)
    assert not _state(made).tried


class Endless:
    """A log that always has more, and a store that takes it."""

    def __init__(self):
        self.gap = 0
        self.dirty = True
        self.log = SimpleNamespace(checkpoint=lambda: ("1", 1))
        self.closed = []
        self.store = SimpleNamespace(
            settle=lambda **_: False, relieve=str, close=lambda: self.closed.append("store")
        )

    def step(self):
        """Read."""
        time.sleep(0.001)
        return 1

    def is_full(self, _):
        """Whether to commit."""
        return True

    def commit(self):
        """Commit."""
        return True

    def close(self):
        """Close."""
        self.closed.append("log")


@pytest.mark.parametrize("patience", [0.05, 60])
def test_a_stop_leaves_what_does_not_end_in_its_time(patience):
    """A store that takes rows all the time is no error: the rest is for the next run.

    What it has by then is read for the last head.
    """
    endless, read = Endless(), []
    loader = Loader(
        lambda: endless,
        batch_bytes=1,
        latency=1,
        arrived=threading.Event(),
        busy=lambda: False,
        waiting=lambda: 0,
        upkeep=SimpleNamespace(step=lambda *_, **__: False),
        beside=lambda _, is_last: read.append(is_last),
    )
    loader.start()
    until(lambda: loader.commits)
    loader.finish(patience, 0.2)
    assert not loader.is_alive()
    assert not loader.store_error
    assert endless.closed == ["log", "store"]
    assert read[-1]
    assert not any(read[:-1])


@pytest.mark.parametrize(
    ("change", "since", "is_due"),
    [
        ({}, 0.9, False),
        ({"quiet": 9.0}, 0.9, False),
        ({}, 1.0, True),  # a sign of life
        ({"commits": 9, "position": 9}, 0.4, False),
        ({"commits": 9, "position": 9}, 0.5, True),
        ({"store_error": "disk is full"}, 0.0, True),
        ({"commits": 9, "open": False}, 0.0, True),
    ],
)
def test_progress_is_told_twice_a_second_and_all_else_at_once(change, since, is_due):
    """At a steady rate there is progress with each transaction."""
    assert _is_due(STATE, STATE.model_copy(update=change), since) is is_due
    assert _is_due(None, STATE, 0.0)
