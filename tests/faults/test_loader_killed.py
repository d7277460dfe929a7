"""The loader's process is killed while `run` lives: every event is stored once all the same."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from fixtures.loader import loader_of
from fixtures.logs import balanced, ledger
from fixtures.repeats import times
from fixtures.runs import LINES, Run, stored
from fixtures.waiting import until

from auditsvc.runtime.service_state import read_state


@pytest.mark.parametrize("kills", times(1, 5))
def test_a_loader_that_is_killed_doubles_and_loses_nothing(tmp_path, kills):
    """At any moment of loading: collecting goes on, `status` says it, another one goes on."""
    chance = random.Random(kills)
    url = f"sqlite:///{tmp_path}/store.db"
    run = Run(tmp_path, url, AUDITSVC_LOADER__LATENCY="0.02")
    run.wait_ready()

    def now():
        # Not by `status`: it may take as long as there is no loader.
        return read_state(tmp_path / "run")

    for _ in range(kills):
        loader = until(lambda: loader_of(run.process.pid))
        for _ in range(chance.randrange(1, 20)):
            run.feed(20)
        os.kill(loader, signal.SIGKILL)
        until(lambda: "ended (by SIGKILL)" in now().store_trouble)
        run.feed(100)
        until(lambda: now().records == run.fed * LINES)
        until(lambda: now().spool_waiting == 0 and not now().store_trouble)
    status, said = run.end()
    assert status == 0, said
    assert said.count("the loader's process ended") >= kills
    assert stored(url) == (run.fed, run.fed)
    assert balanced(url)
    assert ledger(url)["duplicate"] == 0


@pytest.mark.long
def test_a_loader_that_is_killed_at_the_end_is_replaced(tmp_path):
    """While the rest is loaded: another one loads it, and the run ends well."""
    url = f"sqlite:///{tmp_path}/store.db"
    run = Run(tmp_path, url)
    run.wait_ready()
    loader = until(lambda: loader_of(run.process.pid))
    os.kill(loader, signal.SIGSTOP)
    run.feed(500)
    run.process.stdin.close()
    until(lambda: not run.state("running") or run.state("records") == run.fed * LINES)
    os.kill(loader, signal.SIGKILL)
    assert run.process.wait(60) == 0, run.process.stderr.read()
    assert stored(url) == (500, 500)
    assert balanced(url)


def test_it_ends_with_the_service(tmp_path):
    """Killed by kill -9, `run` leaves no loader behind that could go on writing."""
    run = Run(tmp_path, f"sqlite:///{tmp_path}/store.db")
    run.wait_ready()
    loader = until(lambda: loader_of(run.process.pid))
    run.process.kill()
    run.process.wait()
    until(lambda: not Path(f"/proc/{loader}").exists())
