"""The record socket outlives the service: a crash or a restart under load loses no record."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
from fixtures.holders import holders
from fixtures.repeats import times
from fixtures.waiting import until
from live.programs import KEY, fresh_auid
from live.service import Service

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

FULL, BUSY = 0, 100_000
"""Pauses between two calls in nanoseconds: none, and a rate at which the queue is often empty."""

LARGE = 1 << 30
"""Bytes of buffer: a start of the service may take seconds while other tests run."""


def rule(auid):
    """Rule for the calls of the load, and of no others."""
    return f"-a always,exit -F arch=b64 -S getppid -F auid={auid} -k {KEY}\n"


class Load:
    """A task that calls getppid all the time."""

    def __init__(self, process):
        self.process = process
        self.calls = 0


@contextmanager
def load(programs, auid, pause):
    """Run the load, from its first call on; afterwards `calls` says how often it called."""
    command = [programs["as_auid"], str(auid), programs["steady"], str(pause)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    made = Load(process)
    try:
        assert process.stdout.readline() == "begun\n"
        yield made
    finally:
        process.terminate()
        made.calls = int(process.communicate()[0])


def taken_over(service):
    """What the spool says of each takeover: (records, state)."""
    told = re.compile(rb"op=takeover from=\d+ records=(\d+) state=(\w+)")
    found = [each for path in service.segments() for each in told.findall(path.read_bytes())]
    return [(int(records), state.decode()) for records, state in found]


def all_there(service, auid, calls, *, kernel_lost):
    """Every call is one row, no serial is missing, nothing was lost, and the ledger adds up."""
    counts = service.query(
        "SELECT count(*) AS calls, count(DISTINCT serial) AS serials FROM syscalls"
        f" WHERE auid = {auid} AND syscall = 'getppid'"
    )
    assert counts == [{"calls": calls, "serials": calls}]
    ledger = service.ledger()
    lost = ("gap", "kernel_lost", "spool_lost", "raw", "orphans", "partial")
    assert {cause: ledger.get(cause, 0) for cause in lost} == dict.fromkeys(lost, 0)
    assert ledger["received"] == sum(
        ledger.get(cause, 0) for cause in ("stored", "end", "raw", "duplicate", "open")
    )
    assert kernel_lost == 0


def test_calls_made_while_no_service_lived(programs, tmp_path, kernel_lost):
    """Killed; 3,000 calls; the next service has every one of them, and says so."""
    auid, before = fresh_auid(), kernel_lost()
    service = Service(tmp_path, rule(auid))
    service.begin()
    service.stop(signal.SIGKILL)
    programs.run(auid, programs["burst"], "3000")
    with service:
        pass
    all_there(service, auid, 3000, kernel_lost=kernel_lost() - before)
    ((records, state),) = taken_over(service)
    assert records >= 3000 * 3
    assert state == "complete"


@pytest.mark.parametrize("pause", [pytest.param(FULL, marks=pytest.mark.long), BUSY])
@pytest.mark.parametrize("turns", times(2, 40))
def test_killed_and_restarted_under_load(programs, tmp_path, kernel_lost, pause, turns):
    """Kill -9 and restart (SIGUSR1), again and again: every call is a row, and no gap."""
    chance = random.Random(pause + turns)
    auid, before = fresh_auid(), kernel_lost()
    service = Service(tmp_path, rule(auid))
    service.environment["AUDITSVC_KERNEL__RECEIVE_BUFFER"] = str(LARGE)
    service.environment["AUDITSVC_LOADER__PATIENCE"] = "3600"  # the last stop loads all
    service.begin()
    with load(programs, auid, pause) as made:
        for turn in range(turns):
            time.sleep(chance.uniform(0.05, 0.4))
            number = signal.SIGUSR1 if turn % 2 else signal.SIGKILL
            assert service.stop(number) == (0 if turn % 2 else -signal.SIGKILL)
            service.begin()
    assert service.stop() == 0
    all_there(service, auid, made.calls, kernel_lost=kernel_lost() - before)
    assert [state for _, state in taken_over(service)] == ["complete"] * turns


@pytest.mark.long
def test_a_full_socket_without_a_service_lets_the_host_go(audit_lock, programs, tmp_path):
    """After ten seconds the kernel has no daemon; what had been received is stored all the same."""
    auid = fresh_auid()
    service = Service(tmp_path, rule(auid))
    service.environment["AUDITSVC_KERNEL__RECEIVE_BUFFER"] = str(1 << 20)
    service.begin()
    service.stop(signal.SIGKILL)
    with load(programs, auid, BUSY):
        until(lambda: not audit_lock.status().pid)
    with service:
        pass
    (found,) = service.query(f"SELECT count(*) AS calls FROM syscalls WHERE auid = {auid}")
    assert found["calls"] > 200
    assert [state for _, state in taken_over(service)] == ["incomplete"]
    assert service.ledger()["gap"] > 0


@pytest.mark.usefixtures("programs", "audit_changes")
def test_a_holder_that_nobody_finds_is_named(tmp_path):
    """The runtime directory was emptied while no service lived; what the error says to do helps."""
    service = Service(tmp_path, rule(fresh_auid()))
    service.begin()
    service.stop(signal.SIGKILL)
    (left,) = holders()
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(AssertionError, match="has ended, and its record socket is still") as said:
        service.begin()
    assert left in map(int, re.search(r"`kill -9 ([0-9 ]+)`", str(said.value))[1].split())
    os.kill(left, signal.SIGKILL)
    with service:
        pass


def test_a_holder_that_is_stopped_keeps_no_service_from_starting(programs, tmp_path, kernel_lost):
    """The next one has it go on, and takes over what it kept."""
    auid, before = fresh_auid(), kernel_lost()
    service = Service(tmp_path, rule(auid))
    service.environment["AUDITSVC_KERNEL__RECEIVE_BUFFER"] = str(LARGE)
    service.begin()
    with load(programs, auid, BUSY) as made:
        for holder in holders():
            os.kill(holder, signal.SIGSTOP)
        service.stop(signal.SIGKILL)
        service.begin()
    assert service.stop() == 0
    all_there(service, auid, made.calls, kernel_lost=kernel_lost() - before)
    assert [state for _, state in taken_over(service)] == ["complete"]
