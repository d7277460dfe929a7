"""The spool's reserve: allocated on the disk, and used for important records if room is short."""

from __future__ import annotations

import os
import re
import time

import pytest
from fixtures.disk import small_disk
from fixtures.logs import login, opening

from auditsvc.errors import SpoolError
from auditsvc.record.daemon import DaemonRecords
from auditsvc.spool import retention, room, segments
from auditsvc.spool.room import Room
from auditsvc.spool.segments import Place
from auditsvc.spool.sink import Sink
from auditsvc.spool.writer import SpoolWriter

ATTACKER, OTHER = 1000, 1001
RESERVE = 256 << 10
EVENT = opening(100_000, auid=ATTACKER)
_LOST = re.compile(
    rb"op=lost kernel=0 spool=([0-9]+) overflows=0 cause=spool-space most_auid=([0-9]+)"
)


def writer(directory, *, reserve=RESERVE, limit=None, segment_bytes=1 << 30):
    """Open a spool with a reserve."""
    return SpoolWriter(
        directory, segment_bytes=segment_bytes, fsync="none", room=Room(reserve, limit)
    )


def log(directory):
    """Give all that is in the spool."""
    return b"".join(
        segments.segment_path(directory, number).read_bytes()
        for number in segments.segments(directory)
    )


def put(sink, text):
    """Put lines; gives how many were written of them."""
    lines = text.encode()
    before = sink.records
    sink.put(lines, lines.count(b"\n"))
    return sink.records - before


def flood(sink, auid=ATTACKER, most=100_000):
    """Put events of one user until one is dropped; gives how many were put."""
    for n in range(most):
        if not put(sink, opening(100_000 + n, auid=auid)):
            return n + 1
    raise AssertionError("none was dropped")


def fill(folder):
    """Write into a file until the disk is full, as any program may."""
    with (folder / "ballast").open("ab", buffering=0) as out:
        for size in (1 << 16, 4096):
            try:
                while True:
                    out.write(bytes(size))
            except OSError:
                continue


@pytest.fixture(params=["held", "compared"])
def disk(request, tmp_path, monkeypatch):
    """A disk of 2 MiB; on file systems that hold no blocks their free space is compared."""
    if request.param == "compared":

        def refuse(*_):
            room.ctypes.set_errno(95)  # EOPNOTSUPP
            return -1

        monkeypatch.setattr(room, "_fallocate", lambda: refuse)
    with small_disk(tmp_path / "small", 2048) as folder:
        yield folder


def test_ordinary_records_are_dropped_before_the_reserve(disk):
    """A flood fills the disk up to the reserve and its share of the rest; a login finds room."""
    with writer(disk / "spool") as out:
        sink = Sink(out, DaemonRecords())
        put_so_far = flood(sink)
        assert sink.refused == ""  # the disk never refused anything
        assert sink.dropped == EVENT.count("\n")
        assert "ordinary records are dropped" in sink.short
        free = (2 << 20) - len(log(disk / "spool"))
        assert RESERVE / 2 < free < RESERVE
        assert put(sink, login(7)) == 1
        assert put(sink, opening(7, auid=OTHER)) == 4
        assert sink.records + sink.dropped == put_so_far * 4 + 5
        assert sink.flood.auid == ATTACKER
    assert b"type=USER_LOGIN" in log(disk / "spool")


def test_the_loss_is_recorded_with_its_cause(disk, monkeypatch):
    """The sum of the log's own records is what is missing, and they say who made the most."""
    now = [time.monotonic()]
    monkeypatch.setattr("auditsvc.spool.sink.time.monotonic", lambda: now[0])
    with writer(disk / "spool") as out:
        sink = Sink(out, DaemonRecords())
        flood(sink)
        assert _LOST.findall(log(disk / "spool")) == [(b"4", b"1000")]  # with the first
        for _ in range(30):
            assert put(sink, EVENT) == 0
            now[0] += 1
            sink.sync()
        reported = _LOST.findall(log(disk / "spool"))
        assert 2 <= len(reported) <= 5  # not for each
    lost = _LOST.findall(log(disk / "spool"))
    assert sum(int(count) for count, _ in lost) == sink.dropped == 31 * 4
    assert {auid for _, auid in lost} == {b"1000"}
    assert sink.missing == 0


def test_room_that_comes_back(disk):
    """Once stored segments are deleted everything is written again; what was missing is told."""
    with writer(disk / "spool", segment_bytes=256 << 10) as out:
        sink = Sink(out, DaemonRecords())
        flood(sink)
        put(sink, EVENT)
        retention.discard(disk / "spool", Place(out.place.segment, 0), 0)
        sink.sync()
        assert sink.short == ""
        assert put(sink, EVENT) == 4
        assert sink.flood.auid == ATTACKER  # the last one
        lost = _LOST.findall(log(disk / "spool"))
        assert sum(int(count) for count, _ in lost) == sink.dropped == 8
        assert not out.room.short


def test_nobody_takes_the_reserve_by_filling_the_disk(tmp_path):
    """Held blocks are the file's: with no byte free on the disk a login is still written."""
    with small_disk(tmp_path / "small", 2048) as folder, writer(folder / "spool") as out:
        sink = Sink(out, DaemonRecords())
        put(sink, EVENT)
        fill(folder)
        disk = os.statvfs(folder)
        assert disk.f_bfree * disk.f_frsize == 0
        flood(sink)
        written = 0
        while put(sink, login(7)):
            written += 1
        assert sink.refused == ""
        assert written * len(login(7)) > RESERVE / 8


def test_the_next_segment_has_it_before_the_last_gives_it_back(tmp_path):
    """A full segment grows on while the next could not hold the reserve."""
    with small_disk(tmp_path / "small", 2048) as folder:
        with writer(folder / "spool", segment_bytes=64 << 10) as out:
            sink = Sink(out, DaemonRecords())
            while out.rotations < 2:
                assert put(sink, EVENT) == 4
            held = [path.stat().st_blocks * 512 for path in sorted((folder / "spool").glob("a*"))]
            assert held[-1] >= RESERVE
            assert max(held[:-1]) <= 68 << 10  # these gave it back
            fill(folder)
            before = out.rotations
            flood(sink)
            sink.rotate()
            assert out.rotations == before
            assert put(sink, login(7)) == 1
        last = max((folder / "spool").glob("a*"))
        assert last.stat().st_blocks * 512 <= last.stat().st_size + 4096


def test_a_crash_leaves_the_reserve(tmp_path):
    """Another process goes on in the same segment; its text is not changed by what was held."""
    with small_disk(tmp_path / "small", 2048) as folder:
        if (child := os.fork()) == 0:
            put(Sink(writer(folder / "spool"), DaemonRecords()), EVENT)
            os._exit(0)
        os.waitpid(child, 0)
        assert log(folder / "spool") == EVENT.encode()
        with writer(folder / "spool") as out:
            assert out.torn == b""
            put(Sink(out, DaemonRecords()), EVENT)
            assert log(folder / "spool") == EVENT.encode() * 2


def test_a_limit_of_its_own(tmp_path):
    """The spool stays below its limit, over all segments, on a disk that has room."""
    limit = 1 << 20
    with writer(tmp_path, limit=limit, segment_bytes=128 << 10) as out:
        sink = Sink(out, DaemonRecords())
        flood(sink)
        assert limit - RESERVE < len(log(tmp_path)) < limit - RESERVE / 2
        for auid in range(2000, 2003):
            flood(sink, auid)
            while put(sink, login(7).replace("auid=1000", f"auid={auid}")):
                pass
        assert len(log(tmp_path)) < limit
        retention.discard(tmp_path, Place(out.place.segment, 0), 0)
        sink.sync()
        assert put(sink, EVENT) == 4


def test_a_disk_that_is_smaller_than_the_reserve(disk):
    """What there is counts as the reserve."""
    with writer(disk / "spool", reserve=64 << 20) as out:
        sink = Sink(out, DaemonRecords())
        flood(sink)
        assert 256 << 10 < len(log(disk / "spool")) < 768 << 10
        assert put(sink, login(7)) == 1


def test_without_a_reserve_nothing_is_looked_at(disk, monkeypatch):
    """Then the disk refuses, as it did, and lines are counted where they are missing."""
    monkeypatch.setattr("auditsvc.spool.sink.Shares", None)
    with writer(disk / "spool", reserve=0) as out:
        sink = Sink(out, DaemonRecords())
        while not sink.refused:
            put(sink, EVENT * 100)
        assert sink.missing > 0


def test_nothing_is_looked_at_while_there_is_room(tmp_path, monkeypatch):
    """Lines are not split, and the disk is asked once for many of them."""
    monkeypatch.setattr("auditsvc.spool.sink.Shares", None)
    asked = []
    with writer(tmp_path, reserve=1 << 20) as out:
        real = Room.allocate
        monkeypatch.setattr(Room, "allocate", lambda *given: asked.append(1) or real(*given))
        sink = Sink(out, DaemonRecords())
        for _ in range(2000):
            assert put(sink, EVENT) == 4
        size = len(log(tmp_path))
    assert size > 1 << 20
    assert len(asked) <= size / (512 << 10) + 1


def test_a_truncation_is_no_end_of_the_reserve(tmp_path, monkeypatch):
    """A write that fails half way is cut off, which frees the blocks: they are held again."""
    with writer(tmp_path) as out:
        sink = Sink(out, DaemonRecords())
        put(sink, EVENT)
        real = os.write

        def write(descriptor, data):
            real(descriptor, bytes(data)[:100])
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "write", write)
        with pytest.raises(SpoolError):
            out.append(b"x" * 200 + b"\n")
        monkeypatch.undo()
        put(sink, EVENT)
        path = segments.segment_path(tmp_path, 1)
        assert path.stat().st_blocks * 512 >= RESERVE
        assert log(tmp_path).endswith(EVENT.encode())
