"""Each event is in the journal once, whatever journald does: it stands, dies, is full, limits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures.commands import AUDITSVC, Begun
from fixtures.forwarding import Forwarding, many, stored
from fixtures.journald import AbsentError, running
from fixtures.logs import load
from fixtures.repeats import times
from fixtures.waiting import until


@pytest.fixture
def running_forwarder(forwarding, tmp_path):
    """Give a forwarder that runs, and its log; it is ended in good order."""
    path = tmp_path / "forward.log"
    with path.open("wb") as log:
        process = forwarding.start(log)
    yield forwarding, path
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0


def _all_there(forwarding):
    """Wait until every event is in the journal; each is there once."""
    want = stored(forwarding.url)
    until(lambda: len(forwarding.ids()) >= len(want))
    assert sorted(forwarding.ids()) == want


def test_journald_stands_still(running_forwarder):
    """While journald is stopped the forwarder waits and reports it; then each event comes once."""
    forwarding, log = running_forwarder
    load(forwarding.url, many(1, 100))
    until(lambda: len(forwarding.ids()) == 100)
    forwarding.journald.stop()
    load(forwarding.url, many(1000, 2000), "second")
    until(lambda: forwarding.state()["trouble"])
    assert "is unavailable" in log.read_text()
    assert "does not read" in forwarding.state()["trouble"]
    forwarding.journald.cont()
    _all_there(forwarding)
    until(lambda: not forwarding.state()["trouble"])


def test_a_stopped_journald_does_not_hinder_the_service(forwarding, tmp_path):
    """While journald is stopped `run` stores events, shows the forwarder's lag, and can end."""
    source = tmp_path / "audit.log"
    source.write_text(many(1, 100))
    settings = {"FORWARD__ENABLED": "true", "STATE_DIRECTORY": str(tmp_path), "FORWARD__DRAIN": "1"}
    service = Begun(
        *("run", "--source", source),
        environment=forwarding.environment
        | {f"AUDITSVC_{name}": value for name, value in settings.items()},
        mounts_of=forwarding.journald.holder,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: len(forwarding.ids()) == 100)
        forwarding.journald.stop()
        with source.open("a") as log:
            log.write(many(101, 5000))
        until(lambda: len(stored(forwarding.url)) == 5100)
        until(lambda: forwarding.state()["trouble"])
    finally:
        service.send_signal(signal.SIGTERM)
        ended = service.wait(120)
        forwarding.journald.cont()
    assert ended == 0
    assert forwarding.state() == {"trouble": ""}  # no forwarder was left behind
    forwarding.once()
    assert sorted(forwarding.ids()) == stored(forwarding.url)


@pytest.mark.parametrize("kills", times(3, 60))
def test_journald_is_killed_and_restarted(running_forwarder, kills):
    """A journald that is killed while it receives entries loses and doubles none.

    It may be killed in the middle of an entry, which then is in the journal and has only some of
    its fields as far as the journal's index knows; of some 40 kills, one is there.
    """
    forwarding, _ = running_forwarder
    events = 1000 * kills
    load(forwarding.url, many(1, events))
    for seed in range(kills):
        before = len(forwarding.ids())
        until(lambda: len(forwarding.ids()) > before or before == events)  # noqa: B023 - at once
        forwarding.journald.kill(random.Random(seed).choice([signal.SIGKILL, signal.SIGTERM]))
        forwarding.journald.start()
    load(forwarding.url, many(100_000, 500), "second")
    _all_there(forwarding)


def test_journald_is_absent(running_forwarder):
    """Without journald, for which libsystemd reports success, the position does not move."""
    forwarding, log = running_forwarder
    load(forwarding.url, many(1, 300))
    until(lambda: len(forwarding.ids()) == 300)
    forwarding.journald.remove()
    load(forwarding.url, many(1000, 300), "second")
    until(lambda: forwarding.state()["trouble"])
    assert "start systemd-journald" in forwarding.state()["trouble"]
    assert log.read_text().count("is unavailable") == 1
    forwarding.journald.start()
    _all_there(forwarding)


def test_a_full_journal(sqlite, tmp_path):
    """A full journal drops entries: they are sent again when there is room."""
    with _journald(size="24M") as journald:
        load(sqlite, "")
        made = Forwarding(journald, sqlite, tmp_path)
        made.register()
        with (tmp_path / "log").open("wb") as log:
            process = made.start(log)
        ballast = [journald.fill(), journald.fill("run")]  # where it goes when /var is full
        load(sqlite, many(1, 12_000))
        until(lambda: made.state()["trouble"])
        assert len(made.ids()) < 12_000
        for each in ballast:
            each.unlink()
        _all_there(made)
        process.terminate()
        assert process.wait(120) == 0


def test_a_rate_limit(sqlite, tmp_path):
    """What a rate limit drops is sent again until all is in the journal, and nothing twice."""
    # With this much room journald lets 2.75 times the burst pass (journald-rate-limit.c).
    limits = {"RateLimitIntervalSec": "1s", "RateLimitBurst": "200"}
    with _journald(**limits) as journald, _unit() as unit:
        load(sqlite, "")
        made = Forwarding(journald, sqlite, tmp_path)
        made.register()
        load(sqlite, many(1, 1400))
        # journald limits by unit, which it reads off the cgroup.
        join = ["sh", "-c", f'echo $$ > {unit}/cgroup.procs; exec "$@"', "sh"]
        done = journald.run(
            [*join, AUDITSVC, "forward", "--until-idle"], env=made.environment, timeout=500
        )
        assert b"sent again" in done.stderr
        assert sorted(made.ids()) == stored(sqlite)


@contextmanager
def _unit():
    """Give a cgroup that looks like a unit's."""
    roots = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
    root = next((each for each in roots if (each / "cgroup.procs").exists()), None)
    if root is None:
        pytest.skip("there is no cgroup of version 2 here")
    unit = root / f"auditsvc-test-{os.getpid()}.service"
    try:
        unit.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error.strerror}")
    try:
        yield unit
    finally:
        unit.rmdir()


def _journald(**options):
    try:
        return running(**options)
    except AbsentError as reason:
        pytest.skip(str(reason))
