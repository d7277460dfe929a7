"""The landing: what a crash leaves in it comes into the spool, each line once."""

from __future__ import annotations

import os
import signal
import socket
import struct

import pytest
from fixtures.repeats import some

from auditsvc.collect import landing as landings
from auditsvc.collect.landing import Landing, make_drain, recover
from auditsvc.record.daemon import DaemonRecords
from auditsvc.spool.sink import Sink
from auditsvc.spool.writer import SpoolWriter

core = pytest.importorskip("auditsvc._native", reason="the native core was not built")

HEADER = struct.Struct("=IHHII")
COUNT = 40


def datagrams(first, count):
    """Give records as kauditd sends them; one of them is longer than the first buffer."""
    for number in range(first, first + count):
        text = b"audit(1.0:%d): %b" % (number, b"x" * (3000 if number % 9 == 0 else number))
        yield HEADER.pack(len(text), 1300, 0, 0, 0) + text


@pytest.fixture
def ends():
    """Two ends of a socket that keeps datagrams whole."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    yield pair
    for end in pair:
        end.close()


@pytest.fixture
def landing():
    """Give an empty landing."""
    made = Landing.new()
    yield made
    os.close(made.number)


def sink_at(folder):
    """Open the spool, as a run does."""
    return Sink(SpoolWriter(folder, segment_bytes=1 << 20, fsync="none"), DaemonRecords())


def lines_of(folder):
    """Give the lines of the spool."""
    return [
        line
        for path in sorted(folder.glob("*.log"))
        for line in path.read_bytes().splitlines(keepends=True)
    ]


def collect(drain):
    """Collect once."""
    return drain.collect(max_bytes=1 << 20, pace=0.0, hold=0.0, timeout=0.0)


def send(ends, first, count):
    """Put records into the socket."""
    for each in datagrams(first, count):
        ends[1].send(each)


def killed(action):
    """Run an action in a process that is killed afterwards, without any clean-up."""
    pid = os.fork()
    if not pid:
        try:
            action()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


STEPS = ("received", "noted", "half written", "written", "taken")


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_loses_and_doubles_nothing(tmp_path, ends, landing, step):
    """After each step between receiving and forgetting, the next run has every line once."""
    send(ends, 1, COUNT)

    def crash():
        sink = sink_at(tmp_path)
        sink.put(b"type=OTHER msg=before\n", 1)
        drain = make_drain(core, ends[0].fileno(), landing)
        got = collect(drain)
        assert got.count == COUNT
        reached = STEPS.index(step)
        if reached >= 1:
            drain.place = (sink.place.segment, sink.place.position)
        if reached == 2:
            lines = got.lines.splitlines(keepends=True)
            sink.put(b"".join(lines[: COUNT // 2]), COUNT // 2)
        if reached >= 3:
            sink.put(got.lines, got.count)
        if reached >= 4:
            drain.taken()

    killed(crash)
    sink = sink_at(tmp_path)
    recover(landing, core, sink)
    assert recover(landing, core, sink) == []
    ours = [line for line in lines_of(tmp_path) if line.startswith(b"type=SYSCALL")]
    expected = [b"type=SYSCALL msg=" + each[16:] + b"\n" for each in datagrams(1, COUNT)]
    assert ours == expected
    send(ends, 1000, 3)  # and the landing is as new
    drain = make_drain(core, ends[0].fileno(), landing)
    assert collect(drain).count == 3
    assert drain.pending().count(b"\n") == 3


def test_what_was_written_in_part_is_completed(tmp_path, ends, landing):
    """At every byte of the write: the torn line is cut, and comes back whole."""
    send(ends, 1, 5)
    drain = make_drain(core, ends[0].fileno(), landing)
    got = collect(drain)
    kept = os.pread(landing.number, landings.SIZE, 0)
    folder = tmp_path / "spool"
    for end in some(range(len(got.lines) + 1), "bytes", 20):
        os.pwrite(landing.number, kept, 0)
        sink = sink_at(folder)
        make_drain(core, -1, landing).place = (sink.place.segment, sink.place.position)
        sink.close()
        path = max(folder.glob("*.log"))
        before = path.read_bytes()
        path.write_bytes(before + got.lines[:end])
        sink = sink_at(folder)
        recover(landing, core, sink)
        sink.close()
        assert max(folder.glob("*.log")).read_bytes() == before + got.lines
        path.write_bytes(before)


def test_a_batch_that_was_received_and_not_formatted(tmp_path, ends, landing):
    """The datagrams are there, the lines are not: they are formatted by the next run."""
    send(ends, 1, COUNT)
    drain = make_drain(core, ends[0].fileno(), landing)
    expected = collect(drain).lines
    # As it was before the one store that makes the lines valid.
    os.pwrite(landing.number, struct.pack("=Q", 0), 2 * 8)
    sink = sink_at(tmp_path)
    assert b"".join(recover(landing, core, sink)) == expected
    assert recover(landing, core, sink) == []


def test_only_a_sealed_file_of_the_right_size_is_used(tmp_path):
    """Else a file that shrinks under its reader would end it."""
    open_file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    assert Landing.left(open_file) is None
    unsealed = os.memfd_create("other", os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, landings.SIZE)
    assert Landing.left(unsealed) is None
    ours = Landing.new()
    assert Landing.left(ours.number) is not None
    with pytest.raises(PermissionError):
        os.ftruncate(ours.number, 0)
    for number in (open_file, unsealed, ours.number):
        os.close(number)


def test_a_landing_of_another_version_is_not_read(tmp_path, landing):
    """Its bytes mean something else: nothing is taken from it."""
    os.pwrite(landing.number, b"AULAND99" + b"\x07" * 64, 0)
    sink = sink_at(tmp_path)
    assert recover(landing, core, sink) == []
