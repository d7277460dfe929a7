"""Processes and threads as /proc shows them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from fixtures.waiting import until

from auditsvc.host import processes

STAT = (
    b"%d (%b) %b 7 1 1 0 -1 %d 31 0 2 0 5 6 0 0 20 0 %d 0 4242 100 200 18446744073709551615 0 0 0"
)


@pytest.mark.parametrize(
    "comm", [b"cat", b"", b"a b", b") R 1 1 (", b"(((", b"\xff\n)", b"Web Content"]
)
def test_a_comm_cannot_lie_about_what_follows(comm):
    """Any bytes may be in a name; the fields behind it stay where they are."""
    stat = processes.parse_stat(STAT % (12, comm, b"S", 0x400000, 3))
    assert (stat.id, stat.comm, stat.ppid, stat.faults) == (12, comm, 7, 33)
    assert (stat.threads, stat.ticks, stat.can_call) == (3, 4242, True)


@pytest.mark.parametrize(
    ("state", "flags", "calls"),
    [
        (b"S", 0x400000, True),
        (b"Z", 0x400000, False),
        (b"X", 0, False),
        (b"S", 0x00200000, False),  # a kernel thread
        (b"S", 0x00400010, False),  # io_uring's worker
        (b"S", 0x00404000, False),  # vhost's
    ],
)
def test_who_makes_system_calls(state, flags, calls):
    """Kernel threads, workers and the dead make none."""
    assert processes.parse_stat(STAT % (12, b"x", state, flags, 1)).can_call is calls


def test_we_find_ourselves_and_no_kernel_thread():
    """A snapshot has this process with its threads, and not kthreadd."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        found = {process.pid: process for process in processes.snapshot().processes}
    finally:
        stop.set()
        thread.join()
    ours = found[os.getpid()]
    assert ours.ppid == os.getppid()
    assert {thread.native_id, os.getpid()} <= {each.tid for each in ours.threads}
    assert ours.began < processes.boottime()
    assert ours.began <= min(each.began for each in ours.threads)
    assert processes.started(os.getpid()) == ours.ticks
    assert 2 not in found


def test_a_process_that_ends_while_it_is_read():
    """What is gone is left out, and what is asked of it is None."""
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.read_process(child.pid) is None  # a zombie
    child.wait()
    assert processes.read_process(child.pid) is None
    assert processes.exe(child.pid) is None
    assert processes.unit(child.pid) is None
    assert processes.io_calls(child.pid, child.pid) is None
    assert processes.started(child.pid) is None


PUPPET = """
import sys, threading
print(flush=True)
for line in sys.stdin:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    print(flush=True)
"""


def test_threads_that_have_ended_leave_a_trace():
    """A process that had a second thread is told from one that never had."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", PUPPET], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        process = processes.read_process(child.pid)
        assert len(process.threads) == 1
        assert not processes.had_other_threads(process)
        before = processes.io_calls(child.pid, child.pid)
        child.stdin.write(b"x\n")
        child.stdin.flush()
        child.stdout.readline()
        # Joined, a thread is still listed for a moment.
        until(lambda: len(processes.read_process(child.pid).threads) == 1)
        assert processes.had_other_threads(process)
        assert processes.io_calls(child.pid, child.pid) >= before + 2
        child.stdin.close()
    assert processes.had_other_threads(process)  # it is gone: nothing is certain
