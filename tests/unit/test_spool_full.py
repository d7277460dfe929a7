"""A full disk of the spool: each line is written or counted, also while a reader reads."""

from __future__ import annotations

import errno
import os
import random
import re
import threading

import pytest
from fixtures.disk import small_disk
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.errors import SpoolError
from auditsvc.record.daemon import DaemonRecords
from auditsvc.spool import retention, segments
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place
from auditsvc.spool.sink import Sink
from auditsvc.spool.writer import SpoolWriter

LINE = b"a line of a log\n"
_MARK = re.compile(rb"number=(\d+) x*\Z|op=lost kernel=0 spool=(\d+) |type=(DAEMON_ROTATE) ")


def writer(directory, segment_bytes=1 << 20, fsync="none"):
    """Open a spool to write."""
    return SpoolWriter(directory, segment_bytes=segment_bytes, fsync=fsync)


def refuse(*_):
    """Fail as a device does."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def stood(directory):
    """Give all bytes that stand in the spool."""
    return b"".join(
        segments.segment_path(directory, number).read_bytes()
        for number in segments.segments(directory)
    )


def rest(reader, limit=1 << 20):
    """Read all that there is."""
    return b"".join(iter(lambda: reader.read(limit), b""))


class Disk:
    """Has `room`, to the byte, for the spool; a reader reads on at every step of the writer."""

    def __init__(self, patch, directory, limit=1 << 20, room=0):
        self.room = room
        self.stuck = False
        """Whether it refuses to cut files too."""
        self.seen = b""
        self.reader = SpoolReader(directory, Place())
        self._limit = limit
        self._real = os.write, os.ftruncate
        patch.setattr(os, "write", self._write)
        patch.setattr(os, "ftruncate", self._cut)

    def look(self):
        """Let the reader read on."""
        self.seen += rest(self.reader, self._limit)

    def _write(self, descriptor, data):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = self._real[0](descriptor, bytes(data)[: self.room])
        self.room -= done
        self.look()
        return done

    def _cut(self, descriptor, size):
        self.look()
        if self.stuck:
            refuse()
        self.room += os.fstat(descriptor).st_size - size
        self._real[1](descriptor, size)
        self.look()


class Feed:
    """Puts numbered lines, and can tell from the log what became of each."""

    def __init__(self, sink):
        self.sink = sink
        self.put_so_far = 0

    def put(self, sizes):
        """Put a batch of lines that are longer than their number by `sizes`."""
        numbers = range(self.put_so_far, self.put_so_far + len(sizes))
        lines = (b"number=%d %b\n" % (n, b"x" * size) for n, size in zip(numbers, sizes, strict=1))
        self.put_so_far = numbers.stop
        self.sink.put(b"".join(lines), len(sizes))

    def check(self, log):
        """Every line is there or counted where it is missing, never both; returns the count."""
        expected = missing = there = 0
        for line in log.splitlines():
            number, lost, rotated = _MARK.search(line).groups()
            if number is not None:
                assert int(number) == expected
                expected += 1
                there += 1
            elif lost is not None:
                expected += int(lost)
                missing += int(lost)
            else:
                assert rotated
        assert expected == self.put_so_far
        assert there == self.sink.records
        return missing


@pytest.fixture
def disk(tmp_path):
    """A disk of 64 KiB."""
    with small_disk(tmp_path / "small", 64) as folder:
        yield folder


def test_a_reader_between_the_refusal_and_the_cut(disk, monkeypatch):
    """Lines that a reader took from a write that was refused stay, and it reads on behind them."""
    with writer(disk / "spool") as out, SpoolReader(disk / "spool", Place()) as reader:
        taken = []
        real = os.ftruncate

        def cut(descriptor, size):
            taken.append(rest(reader))
            real(descriptor, size)

        monkeypatch.setattr(os, "ftruncate", cut)
        with pytest.raises(SpoolError, match="No space left") as refused:
            out.append(LINE * 3 + b"long\n" + LINE * 10_000)
        assert len(taken) == 1
        assert taken[0].count(b"\n") == refused.value.written > 3000
        assert reader.place == out.place
        assert stood(disk / "spool") == taken[0]
        out.append(b"after\n")  # there is room again for what was cut off
        assert rest(reader) == b"after\n"
        assert reader.place == out.place


def test_the_rest_alone_is_missing(disk):
    """Of a batch that fits in part, what fits is in the log and what does not is counted."""
    (disk / "ballast").write_bytes(bytes(32 << 10))
    with writer(disk / "spool") as out:
        sink = Sink(out, DaemonRecords())
        feed = Feed(sink)
        feed.put([50] * 1000)
        assert "No space left" in sink.refused
        assert sink.records > 300
        assert sink.records + sink.missing == 1000
        feed.put([50] * 1000)
        (disk / "ballast").unlink()
        feed.put([50] * 10)
        assert (sink.missing, sink.refused) == (0, "")
    assert feed.check(stood(disk / "spool")) == 2010 - sink.records > 0


def test_a_new_segment_on_a_full_disk(disk):
    """A segment that begins on a full disk stays empty until there is room, and only one does."""
    (disk / "ballast").write_bytes(bytes(32 << 10))
    with (
        writer(disk / "spool", segment_bytes=32 << 10, fsync="second") as out,
        SpoolReader(disk / "spool", Place()) as reader,
    ):
        sink = Sink(out, DaemonRecords())
        feed = Feed(sink)
        feed.put([50] * 1000)
        for _ in range(3):  # beyond the segment's size
            feed.put([50] * 500)
            sink.sync()
        assert segments.segments(disk / "spool") == [1, 2]
        assert out.place == Place(2, 0)
        seen = rest(reader)
        assert reader.place == out.place
        (disk / "ballast").unlink()
        feed.put([50] * 10)
        assert sink.refused == ""
        seen += rest(reader)
        assert reader.place == out.place
    assert feed.check(seen) > 1500


@given(
    steps=st.lists(
        st.tuples(
            st.lists(st.integers(0, 300), max_size=12),
            st.integers(0, 2000),  # room that there is before them
            st.sampled_from(["", "", "stuck", "rotate"]),
        ),
        max_size=12,
    ),
    segment_bytes=st.integers(100, 4000),
    limit=st.integers(16, 4000),
)
def test_any_sizes(tmp_path_factory, steps, segment_bytes, limit):
    """Any batches, any room, any segment size, cuts refused or not, and a reader at each step."""
    directory = tmp_path_factory.mktemp("full")
    with pytest.MonkeyPatch.context() as patch, writer(directory, segment_bytes) as out:
        disk = Disk(patch, directory, limit)
        feed = Feed(sink := Sink(out, DaemonRecords()))
        for sizes, disk.room, what in steps:
            disk.stuck = what == "stuck"
            if what == "rotate":
                sink.rotate()
            feed.put(sizes)
            disk.look()
            assert disk.reader.place <= sink.place
            assert bool(sink.missing) <= bool(sink.refused)
        disk.room, disk.stuck = 1 << 20, False
        feed.put([7])
        disk.look()
        assert disk.reader.place == sink.place
        assert disk.seen == stood(directory)
        disk.reader.close()
    feed.check(disk.seen)


def test_a_disk_that_fills_again_and_again(disk):
    """The same on a real disk, with a reader in a thread of its own that frees it in the end."""
    chance = random.Random(3)
    directory = disk / "spool"
    ended = threading.Event()
    seen = []

    with writer(directory, segment_bytes=8192) as out, SpoolReader(directory, Place()) as reader:

        def read():
            while not ended.is_set():
                seen.append(reader.read(5000))

        reading = threading.Thread(target=read)
        reading.start()
        try:
            sink = Sink(out, DaemonRecords())
            feed = Feed(sink)
            refusals = 0
            while refusals < 40:
                feed.put([chance.randrange(300) for _ in range(chance.randrange(60))])
                if sink.refused and chance.random() < 0.5:
                    refusals += 1
                    retention.discard(directory, reader.place, 0)
            while sink.missing:
                retention.discard(directory, reader.place, 0)
                feed.put([])
        finally:
            ended.set()
            reading.join()
        seen.append(rest(reader))
        assert reader.place == out.place
        assert reader.missing == 0
    assert feed.check(b"".join(seen)) > 1000


def test_nothing_stands_behind_a_line_that_could_not_be_cut(tmp_path, monkeypatch):
    """While part of a line cannot be cut off, lines are refused; then they follow whole ones."""
    with writer(tmp_path) as out:
        disk = Disk(monkeypatch, tmp_path, room=20)
        disk.stuck = True
        for written in (1, 0):
            with pytest.raises(SpoolError) as refused:
                out.append(LINE * 3)
            assert refused.value.written == written
            disk.room = 1000
        with pytest.raises(SpoolError, match="Input/output error"):
            out.rotate()
        assert stood(tmp_path) == LINE + LINE[:4]
        assert disk.seen == LINE
        disk.stuck = False
        out.append(b"after\n")
        assert disk.seen == stood(tmp_path) == LINE + b"after\n"
        disk.reader.close()


def test_all_there_is_nothing_refused(tmp_path, monkeypatch):
    """A file system that fails after the last byte has reached the file has lost no line."""
    with writer(tmp_path) as out, SpoolReader(tmp_path, Place()) as reader:
        sink = Sink(out, DaemonRecords())
        real = os.write

        def write(descriptor, data):
            real(descriptor, data)
            refuse()

        monkeypatch.setattr(os, "write", write)
        sink.put(LINE * 2, 2)
        monkeypatch.undo()
        assert rest(reader) == LINE * 2
        assert reader.place == out.place
        assert (sink.records, sink.missing) == (2, 0)


def test_kept_lines_are_synced(tmp_path, monkeypatch):
    """What stays of a refused write is forced to the disk like all else."""
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    with writer(tmp_path, fsync="second") as out:
        disk = Disk(monkeypatch, tmp_path, room=40)
        with pytest.raises(SpoolError):
            out.append(LINE * 3)
        out.sync()
        disk.reader.close()
    assert synced == [32]


def test_a_segment_whose_name_cannot_be_synced_is_gone_on_with(tmp_path, monkeypatch):
    """Readers go to a new segment once it exists, so the writer must, whatever the folder says."""
    with writer(tmp_path) as out, SpoolReader(tmp_path, Place()) as reader:
        out.append(b"before\n")
        seen = rest(reader)
        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(SpoolError, match="Input/output error"):
            out.rotate()
        monkeypatch.undo()
        seen += rest(reader)
        assert reader.place <= out.place
        out.append(b"after\n")
        assert seen + rest(reader) == b"before\nafter\n"


@pytest.mark.parametrize("ending", [b"", b" end\n"])
def test_a_line_longer_than_a_read(tmp_path, ending):
    """Comes in parts once its end is there, and not before: until then it may be cut off."""
    with writer(tmp_path) as out, SpoolReader(tmp_path, Place()) as reader:
        out.append(LINE)
        with segments.segment_path(tmp_path, 1).open("ab") as stream:
            stream.write(b"x" * 100_000 + ending)
        assert rest(reader, 1000) == LINE + (b"x" * 100_000 + ending if ending else b"")


def test_a_reader_that_is_overtaken(tmp_path, monkeypatch):
    """Cut off and written over while a reader looks: it gives what stands there in the end."""
    with writer(tmp_path) as out, SpoolReader(tmp_path, Place()) as reader:
        path = segments.segment_path(tmp_path, 1)
        out.append(LINE)
        with path.open("ab") as stream:
            stream.write(b"x" * 3000)
        real = os.pread

        def pread(*where):
            data = real(*where)
            monkeypatch.undo()
            os.truncate(path, len(LINE))
            with path.open("ab") as stream:
                stream.write(LINE * 1000)
            return data

        reader.place = Place(1, len(LINE))
        monkeypatch.setattr(os, "pread", pread)
        assert rest(reader, 2000) == LINE * 1000


def test_a_torn_line_of_any_length_is_cut_off_whole(tmp_path):
    """Also one that is longer than what is written down of it."""
    with writer(tmp_path) as out:
        out.append(LINE)
    with segments.segment_path(tmp_path, 1).open("ab") as stream:
        stream.write(b"x" * (5 << 20))
    with writer(tmp_path) as out:
        assert out.torn == b"x" * (1 << 20)
    assert stood(tmp_path) == LINE
