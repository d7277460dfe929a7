"""The parts that measure a flip: the probe, its records, and the rules for it."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from auditsvc.errors import KernelError, LockedError
from auditsvc.kernel import Status
from auditsvc.kernel.netlink import HEADER, attach_filter
from auditsvc.rule import parse
from auditsvc.rule.host import native_arch
from auditsvc.switch import measure
from auditsvc.switch.blocked_calls import in_calls
from auditsvc.switch.probe import FIRST, PERIOD_NS, Probe
from auditsvc.switch.probe_records import ProbeRecords
from auditsvc.switch.probe_rule import KEY, reached, rule_for, traces
from auditsvc.switch.socket_filter import socket_filter

STATUS = Status(1, 1, os.getpid(), 0, 64, 0, 0, 0, 0, 0)


def loaded(*lines):
    """Rules as the kernel would list them."""
    return [line.command.rule for line in parse("\n".join(lines))]


def call(serial, number, pid):
    """The record of a probe's call, as the kernel writes it."""
    text = (
        f"audit(1700000000.123:{serial}): arch=c000003e syscall=121 success=no exit=-3"
        f" a0={FIRST + number:x} a1=0 a2=0 a3=0 items=0 ppid=1 pid={pid} auid=0 uid=0"
    )
    return 1300, text.encode()


def off(serial):
    """The record of the change to 0."""
    return 1305, f"audit(1700000000.123:{serial}): op=set audit_enabled=0 old=1 auid=0".encode()


def test_the_probe_says_when_each_call_was():
    """In order, one period apart at least, each ended after it began; gone when it is left."""
    with Probe() as probe:
        ends = time.monotonic() + 60
        while probe.calls < 20:
            assert time.monotonic() < ends
            time.sleep(0.001)
        made = probe.stop()
    assert made == probe.calls >= 20
    began = [probe.began(number) for number in range(made)]
    assert all(later - earlier >= PERIOD_NS for earlier, later in pairwise(began))
    assert all(probe.ended(number) >= began[number] for number in range(made))
    assert not Path(f"/proc/{probe.pid}").exists()


def test_calls_are_sorted_by_probe():
    """Another task's call with the same argument is none of the probe's."""
    received = ProbeRecords(None)
    seen = received.expect(77)
    received.sort([call(5, 0, 77), call(6, 1, 78), call(7, 3, 77), (1327, b"audit(1.0:7): ")])
    assert seen == {0, 3}
    assert received.expect(78) == set()


def test_what_ended_after_off_was_in_flight():
    """By serial, also where it wraps; the flip's own call has the flip's serial."""
    received = ProbeRecords(None)
    received.sort([call(5, 0, 1), off(10), call(9, 1, 1), call(10, 2, 1), call(11, 3, 1)])
    assert (received.off, received.after_off) == (10, 1)
    received.sort([off((1 << 32) - 1), call((1 << 32) - 2, 1, 1), call(3, 1, 1)])
    assert received.after_off == 1


@pytest.mark.parametrize(
    ("lines", "reaches"),
    [
        ([], False),
        (["-a always,exit -S all"], True),
        (["-a always,exit -F arch=b64 -S getpgid -F ppid={parent}"], True),
        (["-a always,exit -S all -F uid={uid}"], True),
        (["-a always,exit -S all -F uid!={uid}"], False),
        (["-a always,exit -F arch=b64 -S open"], False),
        (["-a always,exit -S all -F success=0"], False),
        (["-a never,exit -F pid=1", "-a always,exit -S all"], True),
        (["-a never,exit -F pid=4321", "-a always,exit -S all"], False),
        (["-a never,exit -F exe=/bin/true", "-a always,exit -S all"], False),
        (["-a always,exit -F exe=/bin/true", "-a always,exit -S all"], True),
        (["-a never,exit -F auid>1 -F auid<1", "-a always,exit -S all"], True),
    ],
)
def test_whether_rules_reach_a_probe(lines, reaches):
    """Only what is sure counts; else the probe gets a rule of its own."""
    words = {"parent": os.getpid(), "uid": os.getuid()}
    assert reached(loaded(*(line.format(**words) for line in lines)), 4321) is reaches


def test_the_rule_of_a_probe_reaches_it_alone():
    """One call of one process, with a key that says whose it is."""
    rule = rule_for(4321)
    assert rule.keys == (KEY,)
    assert len(rule.syscalls) == 1
    assert (reached([rule], 4321), reached([rule], 4322)) == (True, False)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "nothing"),
        (["-a never,exit -S all"], "nothing"),
        (["-a always,exit -S all"], "every call of every covered task"),
        (
            ["-a never,exit -F pid=1", "-a always,exit -S all"],
            "except those matched by 1 `never` rule",
        ),
        (["-a always,exit -S open", "-w /etc -p w"], "2 `always` rules"),
    ],
)
def test_what_the_rules_trace(lines, says):
    """In words."""
    assert says in traces(loaded(*lines))


def test_a_locked_kernel_is_not_switched():
    """Neither on nor off."""
    for on in (True, False):
        with pytest.raises(LockedError, match="-e 2"):
            measure._refuse(replace(STATUS, enabled=2), on=on)


def test_on_needs_a_daemon_that_lives():
    """A pid that has gone is no daemon; `off` needs none."""
    dead = 1 << 22  # PID_MAX_LIMIT
    for pid in (0, dead):
        measure._refuse(replace(STATUS, pid=pid), on=False)
        with pytest.raises(KernelError, match="no audit daemon"):
            measure._refuse(replace(STATUS, pid=pid), on=True)
    measure._refuse(STATUS, on=True)


def test_tasks_in_calls(tmp_path):
    """Threads that sleep in a call or run; not the kernel's, not those outside of a call."""

    def task(pid, tid, text):
        folder = tmp_path / str(pid) / "task" / str(tid)
        folder.mkdir(parents=True)
        (folder / "syscall").write_text(text)
        return tmp_path / str(pid)

    assert in_calls(tmp_path) is None
    for pid, tid, text in (
        (10, 10, "0 0x3 0x7f 0x1 0x0\n"),
        (10, 11, "running\n"),
        (12, 12, "-1 0x7ffd 0x7f\n"),
        (13, 13, "35 0x1\n"),
    ):
        folder = task(pid, tid, text)
        if not (folder / "exe").is_symlink():
            (folder / "exe").symlink_to("/bin/x")
    task(2, 2, "0 0x0\n")  # a kernel thread has no program
    assert in_calls(tmp_path, leave_out=(13,)) == 2


def test_the_socket_filter_lets_through_what_counts():
    """By a real socket's filter: serials of any length, another call, another type, a short one."""
    arch, nr = native_arch(), 121
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    attach_filter(ours, socket_filter(arch, nr))
    ours.setblocking(False)

    def passes(kind, text):
        theirs.send(HEADER.pack(len(text), kind, 0, 0, 0) + text.encode())
        try:
            return bool(ours.recv(4096))
        except BlockingIOError:
            return False

    with ours, theirs:
        for serial in (10**digits for digits in range(10)):
            begin = f"audit(1700000000.123:{serial}): arch={arch:x} syscall="
            assert passes(1300, f"{begin}{nr} success=no exit=-3"), serial
            assert not passes(1300, f"{begin}{nr}1 success=no"), serial
            assert not passes(1300, f"{begin}{nr - 1} success=no"), serial
            assert not passes(1327, f"{begin}{nr} success=no"), serial
        assert passes(1305, "audit(1700000000.123:1): op=set audit_enabled=0 old=1")
        assert not passes(1300, "audit(1700000000.123:1): arch=")
        assert not passes(1320, "")
