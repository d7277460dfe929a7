"""The collector: every record becomes one line, whatever it holds, and loss is recorded."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from fixtures.waiting import until

from auditsvc.collect import collector as collectors
from auditsvc.collect.collector import LineCollector, RecordCollector, make_collector
from auditsvc.errors import SpoolError
from auditsvc.host import processes
from auditsvc.record.daemon import DaemonRecords
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place
from auditsvc.spool.sink import Sink
from auditsvc.spool.writer import SpoolWriter


class Records:
    """A record socket made of a list; a pipe makes it pollable."""

    def __init__(self, records):
        self.overflows = 0
        self.forged = 0
        self._records = list(records)
        self._read, self._write = os.pipe()
        os.write(self._write, b"x")

    def fileno(self):
        """The end to poll: always ready, as a busy socket is."""
        return self._read

    def receive(self, limit):
        """Up to `limit` records."""
        batch, self._records = self._records[:limit], self._records[limit:]
        return batch


class Datagrams:
    """A record socket made of one that keeps datagrams whole."""

    overflows = 0
    forged = 0

    def __init__(self, sock):
        self._socket = sock

    @staticmethod
    def datagram(kind, payload):
        """As kauditd sends it."""
        return struct.pack("=IHHII", len(payload), kind, 0, 0, 0) + payload

    def fileno(self):
        """The end to poll."""
        return self._socket.fileno()

    def receive(self, limit):
        """Up to `limit` records that are there."""
        got = []
        while len(got) < limit:
            try:
                data = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            got.append((struct.unpack_from("=IH", data)[1], data[16:]))
        return got


@pytest.fixture
def spool(tmp_path):
    """A spool to write."""
    with SpoolWriter(tmp_path / "spool", segment_bytes=1 << 20, fsync="none") as writer:
        yield writer


def lines_of(writer):
    """Every line that stands in the spool."""
    with SpoolReader(writer.directory, Place()) as reader:
        data = b""
        while chunk := reader.read(1 << 20):
            data += chunk
    return data.splitlines()


def collect(writer, records):
    """Run a collector over the records; returns its sink."""
    sink = Sink(writer, DaemonRecords())
    collector = RecordCollector(Records(records), sink)
    collector.start()
    collector.stop()
    assert collector.error is None
    return sink


def test_one_line_a_record(spool):
    """Known and unknown types, in order, in auditd's spelling."""
    records = [
        (1300, b"audit(1.000:7): arch=c000003e syscall=1"),
        (1327, b"audit(1.000:7): proctitle=2F"),
        (1320, b"audit(1.000:7): "),
        (1999, b"audit(1.000:8): something=new"),
    ]
    sink = collect(spool, records * 400)
    assert (
        lines_of(spool)
        == [
            b"type=SYSCALL msg=audit(1.000:7): arch=c000003e syscall=1",
            b"type=PROCTITLE msg=audit(1.000:7): proctitle=2F",
            b"type=EOE msg=audit(1.000:7): ",
            b"type=UNKNOWN[1999] msg=audit(1.000:8): something=new",
        ]
        * 400
    )
    assert sink.records == 1600


def test_no_record_forges_a_line(spool):
    """A newline, a CR, a NUL or 0x1d in a message stays inside its own line."""
    forged = b"audit(1.000:9): pid=1 msg='a\ntype=DAEMON_END msg=audit(1.000:1): \r\0\x1dx'"
    plain = b"audit(1.000:10): pid=1 msg='plain'"
    collect(spool, [(1112, forged), (1112, plain)])
    first, second = lines_of(spool)
    assert first.startswith(rb"type=USER_LOGIN msg=audit(1.000:9): pid=1 msg='a\x0Atype=DAEMON_END")
    assert first.endswith(b"\x1dESCAPED=1")
    assert second == b"type=USER_LOGIN msg=" + plain


def test_replies_are_not_records(spool):
    """Control messages leave no line; LOGIN, whose type stands among theirs, does."""
    collect(spool, [(2, b"\0\0\0\0"), (1000, b"\0" * 40), (1006, b"audit(1.000:7): pid=1")])
    assert lines_of(spool) == [b"type=LOGIN msg=audit(1.000:7): pid=1"]


def test_rivals_and_forgers_are_noted(spool):
    """Who tried to become the daemon is named; what the kernel had not sent is counted."""
    source = Records([(1329, struct.pack("=i", os.getpid()))])
    collector = RecordCollector(source, Sink(spool, DaemonRecords()))
    source.forged = 3
    collector.start()
    collector.stop()
    first, second = lines_of(spool)
    assert first.startswith(b"type=DAEMON_ERR msg=audit(")
    assert b" op=replace " in first
    assert b" pid=%d " % os.getpid() in first
    assert b": op=forged messages=3 " in second


def test_what_the_guard_looks_for_is_counted(spool):
    """CONFIG_CHANGE records by their type and not by a text that says so; rivals by pid."""
    text = b"audit(1.000:9): pid=1 msg='\ntype=CONFIG_CHANGE msg='"
    source = Records([(1305, b"audit(1.000:7): op=set"), (1112, text), (1329, b"\7\0\0\0")])
    collector = RecordCollector(source, Sink(spool, DaemonRecords()))
    collector.start()
    collector.stop()
    assert (collector.config_changes, list(collector.rivals)) == (1, [7])


def test_what_a_full_disk_refuses_is_counted_in_the_log(spool, monkeypatch):
    """Records that could not be written are noted, in number, as soon as there is room."""
    sink = Sink(spool, DaemonRecords())
    real = spool.append

    def refuse(_):
        raise SpoolError("spool: No space left on device")

    monkeypatch.setattr(spool, "append", refuse)
    sink.put(b"type=EOE msg=audit(1.000:1): \n" * 3, 3)
    assert (sink.missing, sink.refused) == (3, "spool: No space left on device")
    monkeypatch.setattr(spool, "append", real)
    sink.put(b"type=EOE msg=audit(1.000:2): \n", 1)
    first, second = lines_of(spool)
    assert b"op=lost kernel=0 spool=3 overflows=0" in first
    assert second == b"type=EOE msg=audit(1.000:2): "
    assert (sink.missing, sink.refused) == (0, "")


def test_overflow_of_a_multicast_socket_is_noted(spool):
    """ENOBUFS says that records are missing, not how many: so does the line."""
    source = Records([])
    sink = Sink(spool, DaemonRecords())
    collector = RecordCollector(source, sink)
    source.overflows = 2
    collector.start()
    collector.stop()
    assert b"overflows=2" in lines_of(spool)[0]


def test_an_error_is_handed_over(spool):
    """A socket that fails ends the thread and shows why."""
    source = Records([])

    def fail(_):
        raise OSError(9, "Bad file descriptor")

    source.receive = fail
    collector = RecordCollector(source, Sink(spool, DaemonRecords()))
    collector.start()
    collector.join(60)
    assert isinstance(collector.error, OSError)


def test_plugin_input_is_copied_line_by_line(spool):
    """Lines that come in pieces are put together; one without an end is ended."""
    read, write = os.pipe()
    sink = Sink(spool, DaemonRecords())
    collector = LineCollector(read, sink)
    collector.start()
    for piece in (b"one\ntw", b"o\nth", b"ree"):
        os.write(write, piece)
        time.sleep(0.02)
    os.close(write)
    collector.join(60)
    assert (collector.ended, collector.error) == (True, None)
    assert lines_of(spool) == [b"one", b"two", b"three"]
    assert sink.arrived.is_set()


def test_plugin_stops_when_told_with_what_it_has(spool):
    """A stop takes what is there and does not wait for more."""
    read, write = os.pipe()
    collector = LineCollector(read, Sink(spool, DaemonRecords()))
    collector.start()
    os.write(write, b"one\ntwo")
    time.sleep(0.05)
    stopping = threading.Thread(target=collector.stop)
    stopping.start()
    stopping.join(60)
    assert not stopping.is_alive()
    assert lines_of(spool) == [b"one", b"two"]


def test_a_stream_that_never_pauses_can_be_stopped(spool, monkeypatch):
    """A stop waits for the rest of the input, but not for ever."""
    monkeypatch.setattr("auditsvc.collect.collector._LAST_SECONDS", 0.1)
    with Path("/dev/zero").open("rb") as endless:
        collector = LineCollector(endless.fileno(), Sink(spool, DaemonRecords()))
        collector.start()
        stopping = threading.Thread(target=collector.stop, daemon=True)
        stopping.start()
        stopping.join(60)
        assert not stopping.is_alive()


def test_what_was_written_is_not_counted_as_missing(tmp_path, monkeypatch):
    """A batch whose sync fails stays where it is: written."""
    line = b"type=EOE msg=audit(1.000:1): \n"
    with SpoolWriter(tmp_path / "spool", segment_bytes=1 << 20, fsync="batch") as writer:
        sink = Sink(writer, DaemonRecords())
        sink.put(line, 1)

        def fail(_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fdatasync", fail)
        sink.put(line, 1)
        monkeypatch.undo()
        assert (sink.missing, sink.records) == (0, 2)
        assert "Input/output error" in sink.refused
        assert lines_of(writer).count(line[:-1]) == 2


def test_a_rotation_that_fails_stops_nothing(spool, monkeypatch):
    """SIGHUP on a full disk is a temporary error, not the end of the service."""
    sink = Sink(spool, DaemonRecords())

    def refuse():
        raise SpoolError("spool: No space left on device")

    monkeypatch.setattr(spool, "rotate", refuse)
    sink.rotate()
    assert sink.refused == "spool: No space left on device"


def test_the_sink_says_when_records_pour_in(spool, monkeypatch):
    """Busy from 50,000 records a second on, and for a tenth of a second after."""
    now = [100.0]
    monkeypatch.setattr("auditsvc.spool.sink.time.monotonic", lambda: now[0])
    sink = Sink(spool, DaemonRecords())
    sink.put(b"x\n", 1)
    for count, busy in ((1_000, False), (1_500, True), (500, True)):
        now[0] += 0.021
        sink.put(b"x\n", count)
        assert sink.busy is busy
    now[0] += 0.11
    assert not sink.busy


def idle(collector):
    """Wait until it knows that it has heard everything up to now."""
    since, ends = processes.boottime(), time.monotonic() + 60
    while collector.known_to < since:
        assert time.monotonic() < ends, "an empty socket says nothing"
        time.sleep(0.01)


@pytest.mark.parametrize("decoder", ["reference", "native"])
def test_it_knows_up_to_when_it_has_note_time(spool, decoder):
    """The last record's own time is not later than when it was queued; an empty socket has all."""
    if decoder == "native":
        pytest.importorskip("auditsvc._native", reason="the native core was not built")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard = []
    with ours, theirs:
        source = Datagrams(ours)
        collector = make_collector(decoder, source, Sink(spool, DaemonRecords()))

        def receive(lines):
            # What it is told now was not known before.
            heard.append((lines, collector.known_to))

        collector.receive = receive
        collector.start()

        def told():
            """Send a record; gives when it was made, or None if we were too slow to send it."""
            heard.clear()
            idle(collector)
            made = processes.boottime()
            text = b"audit(%.3f:7): op=add_rule list=1" % time.time()
            theirs.send(source.datagram(1305, text))
            is_prompt = processes.boottime() - made < 0.1  # less than it waits at an empty socket
            until(lambda: heard)
            idle(collector)
            return made if is_prompt else None

        made = until(told)
        collector.stop()
    assert collector.error is None
    ((lines, known),) = heard
    assert b"op=add_rule" in lines
    assert known < made


@pytest.mark.parametrize(
    ("lines", "age"),
    [
        (b"type=SYSCALL msg=audit(%(new).3f:7): a\n", 0),
        (b"type=SYSCALL msg=audit(%(old).3f:7): a\ntype=EOE msg=audit(%(new).3f:8): ", 0),
        (b"type=SYSCALL msg=audit(%(new).3f:7): a\ntype=EOE msg=audit(%(old).3f:6): \n", 100),
        (b"type=USER msg=audit(%(old).3f:7): msg='type=EOE msg=audit(%(new).3f:8): '\n", 100),
        (b"type=UNKNOWN[1999] msg=audit(%(new).3f:8): \n", 0),
        (b"type=EOE msg=audit(nonsense): \n", None),
    ],
)
def test_a_record_tells_up_to_when_all_was_note_time(spool, monkeypatch, lines, age):
    """The last line of a batch counts, by its own head; not what a program wrote into it."""
    collector = RecordCollector(Records([]), Sink(spool, DaemonRecords()))
    now = 1_700_000_000.0
    monkeypatch.setattr(collectors, "boottime", lambda: 5000.0)
    monkeypatch.setattr(collectors.time, "time", lambda: now)
    collector._note_time(lines % {b"new": now, b"old": now - 100})
    if age is None:
        assert collector.known_to == 0
    else:
        assert 0 < 5000 - age - collector.known_to < 1


@pytest.mark.parametrize("decoder", ["reference", "native"])
def test_it_knows_that_while_records_pour_in(spool, decoder):
    """A socket that is never empty for long tells it by the records' own times."""
    if decoder == "native":
        pytest.importorskip("auditsvc._native", reason="the native core was not built")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        collector = make_collector(decoder, Datagrams(ours), Sink(spool, DaemonRecords()))
        collector.start()
        since, ends = processes.boottime(), time.monotonic() + 60
        while collector.known_to < since:
            assert time.monotonic() < ends
            theirs.send(Datagrams.datagram(1300, b"audit(%.3f:7): a=b" % time.time()))
            time.sleep(0.01)
        collector.stop()
    assert collector.error is None
