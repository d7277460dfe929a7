"""The native drain: its lines for datagrams, when it waits and when it returns."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.collect.collector import NativeCollector, make_collector
from auditsvc.record.daemon import DaemonRecords
from auditsvc.record.line import format_line
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place
from auditsvc.spool.sink import Sink
from auditsvc.spool.writer import SpoolWriter

native = pytest.importorskip("auditsvc._native", reason="the native core was not built")

HEADER = struct.Struct("=IHHII")
PREFIXES = {
    1300: b"type=SYSCALL msg=",
    1305: b"type=CONFIG_CHANGE msg=",
    1112: b"type=USER_LOGIN msg=",
}
NAMES = {1300: b"SYSCALL", 1305: b"CONFIG_CHANGE", 1112: b"USER_LOGIN"}


@pytest.fixture
def pair():
    """Two ends of a socket that keeps datagrams whole, as netlink does."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    yield ends
    for end in ends:
        end.close()


def datagram(kind, payload):
    """Make a record as kauditd sends it: the header's length is that of the payload alone."""
    return HEADER.pack(len(payload), kind, 0, 0, 0) + payload


def collect(drain, *, max_bytes=1 << 20, pace=0.0, hold=0.0, timeout=0.0, wake_fd=-1):
    """Collect with nothing but what the test is about."""
    return drain.collect(
        max_bytes=max_bytes, pace=pace, hold=hold, timeout=timeout, wake_fd=wake_fd
    )


def drain_of(sock):
    """Make a drain of a socket."""
    return native.Drain(sock.fileno(), PREFIXES)


@given(
    records=st.lists(
        st.tuples(
            st.sampled_from(sorted(PREFIXES)),
            st.one_of(
                st.binary(max_size=80),
                st.binary(min_size=480, max_size=520),
                st.text("ab\n\\\x1d\0\x7f", max_size=40).map(str.encode),
            ),
        ),
        max_size=9,  # net.unix.max_dgram_qlen is 10
    )
)
def test_lines_are_those_of_the_reference(records):
    """Any payload, short or longer than the first buffer: the line that format_line writes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        for kind, payload in records:
            theirs.send(datagram(kind, payload))
        got = collect(drain_of(ours))
    assert got.lines == b"".join(format_line(NAMES[kind], body) + b"\n" for kind, body in records)
    assert got.count == len(records)
    assert got.config_changes == sum(kind == 1305 for kind, _ in records)
    assert got.others == []


def test_a_long_record_is_whole(pair):
    """The kernel's longest message, and one that is as long as both buffers."""
    ours, theirs = pair
    for size in (8970, 512 + 16384 - HEADER.size):
        payload = bytes(range(0x20, 0x7F)) * 200
        theirs.send(datagram(1300, payload[:size]))
        got = collect(drain_of(ours))
        assert got.lines == b"type=SYSCALL msg=%b\n" % payload[:size]
        assert got.overflows == 0


def test_a_cut_record_is_noticed(pair):
    """A datagram that is longer than any record can be counts as an overflow."""
    ours, theirs = pair
    theirs.send(datagram(1300, b"a" * 20_000))
    assert collect(drain_of(ours)).overflows == 1


class _Iovec(ctypes.Structure):
    """The struct iovec of sys/uio.h."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    """The struct mmsghdr of sys/socket.h."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.POINTER(_Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_long),  # an int, and the space behind it
        ("received", ctypes.c_ulong),
    )


def receive_without_memory(sock):
    """Receive a batch as a process does that gets no memory for its second datagram."""
    room = ctypes.create_string_buffer(512)
    iovecs = (_Iovec(ctypes.addressof(room), 512), _Iovec(8, 512))
    headers = (_Msghdr * 2)()
    for header, iovec in zip(headers, iovecs, strict=True):
        header.iov, header.iovlen = ctypes.pointer(iovec), 1
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.recvmmsg(sock.fileno(), headers, 2, socket.MSG_DONTWAIT, None)


def test_the_loss_of_a_killed_process_is_told_to_the_next(pair):
    """The kernel dropped the datagram that it could not write; the socket keeps the error."""
    ours, theirs = pair
    for count in range(4):
        theirs.send(datagram(1300, b"%d" % count))
    assert receive_without_memory(ours) == 1
    drain = drain_of(ours)
    got = collect(drain)
    assert (got.lines, got.overflows) == (b"", 1)
    got = collect(drain)
    assert (got.lines, got.overflows) == (b"type=SYSCALL msg=2\ntype=SYSCALL msg=3\n", 0)


def test_other_messages_are_handed_back(pair):
    """Types without a prefix, and what is too short for a header, are not lines."""
    ours, theirs = pair
    theirs.send(datagram(1329, struct.pack("=i", 77)))
    theirs.send(b"short")
    theirs.send(datagram(1300, b"audit(1.000:1): a=b"))
    got = collect(drain_of(ours))
    assert got.others == [(1329, struct.pack("=i", 77)), (0, b"short")]
    assert (got.lines, got.count) == (b"type=SYSCALL msg=audit(1.000:1): a=b\n", 1)


def test_no_record_comes_back_after_the_timeout(pair):
    """Nothing there: nothing is returned, and not before the time is over."""
    began = time.monotonic()
    got = collect(drain_of(pair[0]), timeout=0.05)
    assert time.monotonic() - began >= 0.05
    assert (got.lines, got.count) == (b"", 0)


def test_it_holds_what_comes_in_time(pair):
    """Records that come within the hold are handed over together."""
    ours, theirs = pair
    drain = drain_of(ours)
    wake_r, wake_w = os.pipe()

    def send():
        for number in range(5):
            theirs.send(datagram(1300, b"%d" % number))
            time.sleep(0.01)
        os.write(wake_w, b"x")

    sender = threading.Thread(target=send)
    sender.start()
    got = collect(drain, pace=0.001, hold=60, timeout=60, wake_fd=wake_r)
    sender.join()
    os.close(wake_r)
    os.close(wake_w)
    assert got.lines == b"".join(b"type=SYSCALL msg=%d\n" % number for number in range(5))


def test_a_full_buffer_ends_the_hold(pair):
    """With enough bytes it comes back, whatever the hold."""
    ours, theirs = pair
    theirs.send(datagram(1300, b"x" * 100))
    began = time.monotonic()
    assert collect(drain_of(ours), max_bytes=50, hold=3600, timeout=3600).count == 1
    assert time.monotonic() - began < 300


def test_waking_ends_the_wait_and_takes_what_is_there(pair):
    """The wake descriptor ends every wait at once, and nothing that came before is left."""
    ours, theirs = pair
    wake_r, wake_w = os.pipe()
    os.write(wake_w, b"x")
    for number in range(8):
        theirs.send(datagram(1300, b"%d" % number))
    began = time.monotonic()
    got = collect(drain_of(ours), pace=3600, hold=3600, timeout=3600, wake_fd=wake_r)
    assert got.count == 8
    assert collect(drain_of(ours), pace=3600, hold=3600, timeout=3600, wake_fd=wake_r).count == 0
    assert time.monotonic() - began < 300
    os.close(wake_r)
    os.close(wake_w)


def test_the_interpreter_lock_is_free_while_it_waits(pair):
    """Another thread runs Python while a collect waits, and it is that thread that ends it."""
    ours, theirs = pair
    drain = drain_of(ours)
    sent = []

    def send():
        time.sleep(0.05)
        sent.append(theirs.send(datagram(1300, b"late")))

    sender = threading.Thread(target=send)
    sender.start()
    got = collect(drain, timeout=60)
    sender.join()
    assert sent
    assert got.lines == b"type=SYSCALL msg=late\n"


def test_a_broken_socket_is_an_error(pair):
    """A descriptor that is no socket fails with the system's errno."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")
    with pytest.raises(OSError, match="socket"):
        collect(native.Drain(read_end, PREFIXES))
    os.close(read_end)
    os.close(write_end)
    assert pair


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(pair, seconds):
    """Negative and endless times are an error of the caller."""
    with pytest.raises(ValueError, match=r"."):
        collect(drain_of(pair[0]), timeout=seconds)


def test_a_type_beyond_all_is_refused():
    """A table of prefixes for types that cannot exist is an error of the caller."""
    with pytest.raises(ValueError, match="70000"):
        native.Drain(0, {70000: b""})


class Source:
    """What a collector needs of a record socket."""

    overflows = forged = 0

    def __init__(self, sock):
        self.fileno = sock.fileno


def test_a_collector_with_the_drain_fills_the_spool(pair, tmp_path):
    """Every record sent before the stop is in the spool, in order; a rival daemon is noted."""
    ours, theirs = pair
    with SpoolWriter(tmp_path / "spool", segment_bytes=1 << 20, fsync="none") as writer:
        sink = Sink(writer, DaemonRecords())
        collector = make_collector("native", Source(ours), sink)
        assert isinstance(collector, NativeCollector)
        collector.start()
        for number in range(3000):
            theirs.send(datagram(1300 + number % 2, b"audit(1.000:%d): a=b" % number))
        theirs.send(datagram(1305, b"audit(1.000:3000): op=set"))
        theirs.send(datagram(1329, struct.pack("=i", os.getpid())))
        collector.stop()
        assert (collector.config_changes, list(collector.rivals)) == (1, [os.getpid()])
        assert collector.error is None
    with SpoolReader(tmp_path / "spool", Place()) as reader:
        lines = reader.read(1 << 20).splitlines()
    rival = lines.pop()
    assert lines.pop() == b"type=CONFIG_CHANGE msg=audit(1.000:3000): op=set"
    assert lines == [
        b"type=%b msg=audit(1.000:%d): a=b" % ((b"SYSCALL", b"UNKNOWN[1301]")[n % 2], n)
        for n in range(3000)
    ]
    assert rival.startswith(b"type=DAEMON_ERR")
    assert f"pid={os.getpid()} " in rival.decode()
    assert sink.records == 3002


def test_the_reference_collects_where_it_is_asked_for(pair, tmp_path):
    """AUDITSVC_DECODER=reference keeps the native drain out of the way too."""
    with SpoolWriter(tmp_path / "spool", segment_bytes=1 << 20, fsync="none") as writer:
        made = make_collector("reference", Source(pair[0]), Sink(writer, DaemonRecords()))
        assert not isinstance(made, NativeCollector)
