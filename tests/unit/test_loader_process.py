"""What the loader's process tells of its loader."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from fixtures.waiting import until

from auditsvc.errors import ForeignError
from auditsvc.ingest.loader import Loader
from auditsvc.service.loader_process import _state


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
    """A store that takes rows all the time is no error: the rest is for the next run."""
    endless = Endless()
    loader = Loader(
        lambda: endless,
        batch_bytes=1,
        latency=1,
        arrived=threading.Event(),
        busy=lambda: False,
        waiting=lambda: 0,
        upkeep=SimpleNamespace(step=lambda *_, **__: False),
    )
    loader.start()
    until(lambda: loader.commits)
    loader.finish(patience, 0.2)
    assert not loader.is_alive()
    assert not loader.store_error
    assert endless.closed == ["log", "store"]
