"""The service's own clock is stepped, both ways, while it runs; the kernel's records are not."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import time

import pytest
from fixtures import commands
from fixtures.logs import balanced, ledger
from fixtures.runs import LINES, Run, stored
from fixtures.waiting import until

from auditsvc.runtime.service_state import read_state

pytestmark = pytest.mark.long

STEPPED = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long *shift;
static long none;

__attribute__((constructor)) static void begin(void)
{
    int file = open(getenv("CLOCK_SHIFT"), O_RDONLY | O_CLOEXEC);
    void *page = mmap(NULL, 8, PROT_READ, MAP_SHARED, file, 0);
    shift = page == MAP_FAILED ? &none : page;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = syscall(SYS_clock_gettime, clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) && shift)
        now->tv_sec += *shift;
    return result;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec found;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now)
        *now = found.tv_sec;
    return found.tv_sec;
}
"""
DAY = 86_400
STEPS = (DAY, -2 * DAY, 0, 400 * DAY, -400 * DAY, 3600, -3600)


@pytest.fixture
def clock(tmp_path):
    """Give variables for a process with a clock of its own, and what steps it."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no compiler")
    library = tmp_path / "stepped.so"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", library]
    subprocess.run(command, input=STEPPED.encode(), check=True)
    shift = tmp_path / "shift"
    shift.write_bytes(bytes(8))
    file = os.open(shift, os.O_RDWR)
    with mmap.mmap(file, 8) as page:
        os.close(file)
        variables = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}
        yield variables, lambda seconds: page.__setitem__(slice(8), struct.pack("l", seconds))


def test_a_clock_that_is_stepped_while_it_runs(clock, tmp_path):
    """By hours and by years: each event is stored once, and the evidence proves the log."""
    variables, step = clock
    url = f"sqlite:///{tmp_path}/store.db"
    run = Run(tmp_path, url, AUDITSVC_EVIDENCE__EVERY="1", **variables)
    run.wait_ready()

    def state():
        return read_state(tmp_path / "run")

    for seconds in STEPS:
        step(seconds)
        until(lambda seconds=seconds: abs(state().written - time.time() - seconds) < 60)
        run.feed(100)
        until(lambda: state().records >= run.fed * LINES and state().spool_waiting == 0)
        assert not state().store_trouble
        assert not state().spool_trouble
    status, said = run.end()
    assert status == 0, said
    assert stored(url) == (run.fed, run.fed)
    assert balanced(url)
    found = ledger(url)
    assert (found["duplicate"], found["gap"], found["spool_lost"]) == (0, 0, 0)
    verified = commands.run("verify", environment=run.environment, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr
