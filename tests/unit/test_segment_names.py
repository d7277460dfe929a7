"""Which files of a spool's folder are segments, and how their numbers go on."""

from __future__ import annotations

import os

import pytest

from auditsvc.spool import retention, segments
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import Place
from auditsvc.spool.writer import SpoolWriter

ODD = [
    "audit-9999999999999999999.log",
    "audit-999999999999.log",
    "audit-000008388608.log",
    "audit-000000000000.log",
    "audit--00000000001.log",
    "audit-00000000001.log",
    "audit-000000000002.log.gz",
    "audit-000000000002.log\n",
    "audit-\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u0660\u0661.log",
    "audit-00000000000b.log",
    "audit-.log",
    "audit-\udcff.log",
    "AUDIT-000000000002.log",
    ".audit-000000000002.log.swp",
    "store.json.bak",
]


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
@pytest.mark.parametrize("name", ODD)
def test_a_name_that_is_no_segments_stops_nothing(tmp_path, name, kind):
    """It is neither read, nor written, nor deleted, and the segments' numbers go on."""
    odd = tmp_path / name
    if kind == "folder":
        odd.mkdir()
    elif kind == "link":
        odd.symlink_to("nowhere")
    else:
        odd.write_bytes(b"not ours\n")
    with SpoolWriter(tmp_path, segment_bytes=4096, fsync="none") as out:
        out.append(b"one\n")
        out.rotate()
        out.append(b"two\n")
        assert out.place == Place(2, 4)
    with SpoolReader.at(tmp_path, "", 0) as reader:
        assert reader.read(100) + reader.read(100) == b"one\ntwo\n"
        assert reader.missing == 0
    assert segments.backlog(tmp_path, Place()) == 8
    assert retention.discard(tmp_path, Place(2, 4), 0) == 1
    assert os.path.lexists(odd)
    assert (name in segments.foreign_files(tmp_path)) == name.startswith("audit-")


def test_the_last_number_grows_on(tmp_path):
    """Where there is no further number no record is lost, and places keep within 63 bits."""
    segments.segment_path(tmp_path, segments.LAST).write_bytes(b"old\n")
    with SpoolWriter(tmp_path, segment_bytes=8, fsync="none") as out:
        for _ in range(4):
            out.append(b"line 1\n")
        out.rotate()
        out.append(b"line 2\n")
    with SpoolReader.at(tmp_path, "", 0) as reader:
        assert reader.read(1000) == b"old\n" + b"line 1\n" * 4 + b"line 2\n"
        assert reader.origin() < 1 << 63


@pytest.mark.parametrize("segment", ["abc", "-1", "1e3", "\u0661", " 1", "9" * 30])
def test_a_checkpoint_that_somebody_changed_ends_nothing(tmp_path, segment):
    """What is no number of a segment of ours means the beginning."""
    with SpoolWriter(tmp_path, segment_bytes=4096, fsync="none") as out:
        out.append(b"line\n")
    with SpoolReader.at(tmp_path, segment, 0) as reader:
        assert reader.read(100) == b"line\n"
