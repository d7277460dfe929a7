"""The spool: complete lines, in order, across segments, crashes and a full disk."""

from __future__ import annotations

import errno
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.errors import SpoolError
from auditsvc.record.daemon import DaemonRecords
from auditsvc.spool import retention, segments
from auditsvc.spool import writer as spool_writer
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place
from auditsvc.spool.sink import Sink
from auditsvc.spool.writer import SpoolWriter

START = Place()


def writer(directory, segment_bytes=1 << 20, fsync="none"):
    """Open a spool to write."""
    return SpoolWriter(directory, segment_bytes=segment_bytes, fsync=fsync)


def read_all(directory, place=START, limit=1 << 20):
    """Read all that is there, and where that ends."""
    data = b""
    with SpoolReader(directory, place) as reader:
        while chunk := reader.read(limit):
            data += chunk
        return data, reader.place


@given(
    lines=st.lists(st.binary(min_size=0, max_size=40).map(lambda b: b.replace(b"\n", b"") + b"\n")),
    segment_bytes=st.integers(1, 200),
    limit=st.integers(64, 300),
)
def test_what_goes_in_comes_out(tmp_path_factory, lines, segment_bytes, limit):
    """Any lines, any segment size, any read size: the same bytes in the same order."""
    directory = tmp_path_factory.mktemp("spool")
    with writer(directory, segment_bytes) as out:
        for line in lines:
            out.append(line)
    assert read_all(directory, limit=limit)[0] == b"".join(lines)


def test_segments_rotate_by_size_and_are_private(tmp_path):
    """A segment never exceeds its size, and only its owner may read it."""
    with writer(tmp_path / "spool", segment_bytes=100) as out:
        for number in range(30):
            out.append(b"line %04d\n" % number)
    paths = [
        segments.segment_path(tmp_path / "spool", n) for n in segments.segments(tmp_path / "spool")
    ]
    assert len(paths) == 3
    for path in paths:
        assert path.stat().st_size <= 100
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700


def test_reader_goes_on_from_its_place(tmp_path):
    """A reader that comes back reads what was appended since, across a rotation."""
    with writer(tmp_path, segment_bytes=16) as out:
        out.append(b"one\n")
        first, place = read_all(tmp_path)
        out.append(b"two, which is long\n")
        out.append(b"three\n")
        second, _ = read_all(tmp_path, place)
    assert (first, second) == (b"one\n", b"two, which is long\nthree\n")


def test_reader_never_gives_part_of_a_line(tmp_path):
    """Bytes behind the last newline stay until their line is whole."""
    with writer(tmp_path) as out:
        out.append(b"whole\n")
        with segments.segment_path(tmp_path, 1).open("ab") as stream:
            stream.write(b"half")
            stream.flush()
            assert read_all(tmp_path) == (b"whole\n", Place(1, 6))
            stream.write(b" and half\n")
        assert read_all(tmp_path)[0] == b"whole\nhalf and half\n"


def test_torn_line_is_cut_off_and_handed_over(tmp_path):
    """What a crash left unfinished is not glued to the next line, and is not forgotten."""
    with writer(tmp_path) as out:
        out.append(b"whole\n")
    with segments.segment_path(tmp_path, 1).open("ab") as stream:
        stream.write(b"type=SYSC")
    with writer(tmp_path) as out:
        assert out.torn == b"type=SYSC"
        out.append(b"next\n")
    assert read_all(tmp_path)[0] == b"whole\nnext\n"


def test_refused_write_leaves_no_part(tmp_path, monkeypatch):
    """A disk that fills in the middle of a write leaves the log as it was, and says so."""
    with writer(tmp_path) as out:
        out.append(b"before\n")
        real = os.write
        calls = []

        def filling(fd, data):
            calls.append(data)
            if len(calls) == 1:
                return real(fd, bytes(data)[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", filling)
        with pytest.raises(SpoolError, match="No space left on device; free disk space"):
            out.append(b"too much\n")
        monkeypatch.undo()
        out.append(b"after\n")
    assert read_all(tmp_path)[0] == b"before\nafter\n"


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EMFILE, errno.EDQUOT])
@pytest.mark.parametrize("what", ["the next segment", "the folder"])
def test_without_another_file_the_segment_goes_on(tmp_path, monkeypatch, what, error):
    """No inode or descriptor is left, but there is room: no record is lost, and it is said."""

    def refused(*_arguments, **_options):
        raise OSError(error, os.strerror(error))

    sink = Sink(writer(tmp_path, segment_bytes=100), DaemonRecords())
    with monkeypatch.context() as patched:
        if what == "the folder":
            patched.setattr(os, "fsync", refused)
        else:
            patched.setattr(spool_writer, "open_file", refused)
        for _ in range(9):
            sink.put(b"x" * 60 + b"\n", 1)
        assert os.strerror(error) in sink.refused
        there = list(segments.sizes(tmp_path))
        assert len(there) == 1 if what == "the next segment" else len(there) > 1
    sink.put(b"y" * 60 + b"\n", 1)
    assert (sink.refused, sink.lost, sink.missing) == ("", 0, 0)
    assert len(segments.sizes(tmp_path)) > len(there)
    sink.close()
    text, _ = read_all(tmp_path)
    assert (text.count(b"x" * 60), text.count(b"y" * 60)) == (9, 1)


def test_one_writer(tmp_path):
    """A second writer is refused in one line that says what to do."""
    with (
        writer(tmp_path),
        pytest.raises(SpoolError, match="another auditsvc is writing there; stop it"),
    ):
        writer(tmp_path)
    writer(tmp_path).close()


def test_discard_keeps_what_was_not_read(tmp_path):
    """Only segments before the place go, oldest first, and only above the sum to keep."""
    with writer(tmp_path, segment_bytes=10) as out:
        for number in range(6):
            out.append(b"line %02d!\n" % number)
    assert segments.segments(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert retention.discard(tmp_path, Place(5, 0), keep_bytes=36) == 2
    assert segments.segments(tmp_path) == [3, 4, 5, 6]
    assert retention.discard(tmp_path, Place(4, 2), keep_bytes=0) == 1
    assert segments.segments(tmp_path) == [4, 5, 6]


def test_reader_says_that_segments_are_gone(tmp_path):
    """Segments that somebody deleted unread are counted, and reading goes on behind them."""
    with writer(tmp_path, segment_bytes=10) as out:
        for number in range(5):
            out.append(b"line %02d!\n" % number)
    segments.segment_path(tmp_path, 2).unlink()
    segments.segment_path(tmp_path, 3).unlink()
    with SpoolReader(tmp_path, Place(2, 0)) as reader:
        assert reader.read(100) == b"line 03!\n"
        assert reader.missing == 2


@pytest.mark.parametrize("place", [Place(1, 1000), Place(57, 3)])
def test_a_spool_that_was_cut_or_replaced_is_read_on(tmp_path, place):
    """After a power cut, or in a new spool, what comes from now on is read: no waiting for ever."""
    with writer(tmp_path) as out:
        if place.segment == 1:
            out.append(b"read before\n")
        with SpoolReader.at(tmp_path, str(place.segment), place.position) as reader:
            out.append(b"new\n")
            assert reader.read(100) == b"new\n"


def test_folders_are_for_their_owner_only(tmp_path):
    """Folders that are made above the spool are as private as the spool, whatever the umask is."""
    before = os.umask(0)
    try:
        writer(tmp_path / "state/deep/spool").close()
    finally:
        os.umask(before)
    for name in ("state", "state/deep", "state/deep/spool"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700


@pytest.mark.parametrize("fsync", ["none", "second"])
def test_sync_covers_segments_that_were_rotated(tmp_path, monkeypatch, fsync):
    """The next sync forces finished segments to the disk too; rotating itself waits for no disk."""
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_ino))
    with writer(tmp_path, segment_bytes=10, fsync=fsync) as out:
        for number in range(3):
            out.append(b"line %02d!\n" % number)
        assert synced == []
        out.sync()
        inodes = [segments.segment_path(tmp_path, n).stat().st_ino for n in (1, 2, 3)]
        assert synced == (inodes if fsync == "second" else [])


def test_backlog_counts_bytes_not_read(tmp_path):
    """The backlog is what stands behind the place, over all segments."""
    with writer(tmp_path, segment_bytes=10) as out:
        for number in range(3):
            out.append(b"line %02d!\n" % number)
    assert segments.backlog(tmp_path, Place()) == 27
    assert segments.backlog(tmp_path, Place(2, 4)) == 14
    assert segments.backlog(tmp_path, Place(3, 9)) == 0
