"""What the loader's process tells of its loader."""

from __future__ import annotations

import threading
from types import SimpleNamespace

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
