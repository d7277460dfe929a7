"""The watchdog is fed while the threads that collect and load go on, and else not."""

from __future__ import annotations

import os
import threading
import time

import pytest
from fixtures.waiting import until

from auditsvc.collect.collector import LineCollector
from auditsvc.ingest.loader import Loader
from auditsvc.service.progress import STILL_SECONDS, standing_still
from auditsvc.service.wiring import Parts


class Stuck:
    """A sink whose disk stands still, and a store that does not answer."""

    def __init__(self):
        self.arrived = threading.Event()
        self.reached = threading.Event()
        self.goes_on = threading.Event()

    def put(self, _lines, _count):
        """Take lines, when it goes on."""
        self.reached.set()
        self.goes_on.wait(60)

    def begin(self):
        """Open the store, when it goes on."""
        self.put(b"", 0)
        raise RuntimeError


@pytest.fixture
def stuck():
    """Give what stands still, until the test has ended."""
    made = Stuck()
    yield made
    made.goes_on.set()


@pytest.fixture
def collector(stuck):
    """A collector that runs, and the pipe that it reads."""
    reader, writer = os.pipe()
    made = LineCollector(reader, stuck)
    made.start()
    yield made, writer
    stuck.goes_on.set()
    os.close(writer)
    made.join(60)
    os.close(reader)


def loader(stuck):
    """Give a loader that opens the stuck store."""
    return Loader(
        stuck.begin,
        batch_bytes=1,
        latency=1,
        arrived=stuck.arrived,
        busy=lambda: False,
        waiting=lambda: 0,
        upkeep=None,
    )


def test_only_threads_that_go_on_feed_the_watchdog(collector, stuck, tmp_path):
    """A collector that waits for records goes on; one that waits for its disk does not."""
    thread, writer = collector
    parts = Parts(tmp_path, collector=thread)
    began = thread.beat
    until(lambda: thread.beat > began)  # it comes round although nothing comes
    assert not standing_still(parts, thread.beat + STILL_SECONDS)
    os.write(writer, b"type=EOE msg=audit(1.000:1): \n")
    assert stuck.reached.wait(60)
    stopped = thread.beat
    assert standing_still(parts, stopped + STILL_SECONDS + 1) == "collector"
    stuck.goes_on.set()
    until(lambda: thread.beat > stopped)
    assert not standing_still(parts, time.monotonic())


def test_a_store_that_does_not_answer_is_no_standstill(stuck, tmp_path):
    """The loader waits for its store as long as that takes; without such a wait it must go on."""
    thread = loader(stuck)
    thread.start()
    assert stuck.reached.wait(60)
    parts = Parts(tmp_path, loader=thread)
    assert thread.asks
    assert not standing_still(parts, time.monotonic() + 10 * STILL_SECONDS)
    stuck.goes_on.set()
    thread.join(60)
    assert not standing_still(parts, time.monotonic() + 10 * STILL_SECONDS)  # it has ended


def test_a_loader_that_stands_still_is_named(stuck, tmp_path):
    """Neither asking its store nor coming round."""
    thread = loader(stuck)
    thread.run = lambda: stuck.put(b"", 0)
    thread.start()
    assert stuck.reached.wait(60)
    parts = Parts(tmp_path, loader=thread)
    assert not standing_still(parts, thread.beat + STILL_SECONDS)
    assert standing_still(parts, thread.beat + STILL_SECONDS + 1) == "loader"
    stuck.goes_on.set()
    thread.join(60)
