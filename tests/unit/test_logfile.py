"""Logs of other programs: order of rotated names, compression, rotation while reading."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from auditsvc.collect import logfile
from auditsvc.collect.logfile import FollowedFile
from auditsvc.errors import SpoolError


def test_rotated_names_come_oldest_first():
    """A higher number is an older file; ten comes after nine; compression changes nothing."""
    names = ["audit.log", "audit.log.1", "audit.log.10.gz", "audit.log.2.gz", "audit.log.9"]
    ordered = [str(path) for path in logfile.in_order(map(Path, names))]
    assert ordered == [
        "audit.log.10.gz",
        "audit.log.9",
        "audit.log.2.gz",
        "audit.log.1",
        "audit.log",
    ]


@pytest.mark.parametrize(
    "ordered",
    [
        ["audit.log-20240321.gz", "audit.log-20240322.xz", "audit.log-20240323", "audit.log"],
        ["audit-20231231.log.zst", "audit-20240101.log", "audit.log"],
        ["audit.log-2024-03-21.gz", "audit.log-2024-03-22-04.gz", "audit.log-2024-03-22-17"],
        ["audit.log-1711000000.bz2", "audit.log-1711086400", "audit.log"],
        ["audit.log-20240321", "audit.log.2.gz", "audit.log.1", "audit.log"],
        ["audit.2.log", "audit.1.log", "audit.log.gz", "audit.log"],
    ],
)
def test_dates_come_oldest_first(ordered):
    """As logrotate names them (dateext, dateformat, extension), whatever packs them."""
    for names in (sorted(ordered), sorted(ordered, reverse=True)):
        assert [str(path) for path in logfile.in_order(map(Path, names))] == ordered


def test_logs_of_two_hosts_keep_the_order_given():
    """Rotated names are put in order within their own log only."""
    names = ["b/audit.log", "b/audit.log.1", "a/audit.log"]
    ordered = [str(path) for path in logfile.in_order(map(Path, names))]
    assert ordered == ["b/audit.log.1", "b/audit.log", "a/audit.log"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _: None, "No such file or directory"),
        (Path.mkdir, "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.write_bytes(b"\x1f\x8bdamaged"), "compressed file is damaged"),
    ],
)
def test_unreadable_logs_are_named(tmp_path, make, says):
    """Missing, a folder, damaged: one line that names the file."""
    path = tmp_path / "audit.log"
    make(path)
    with pytest.raises(SpoolError, match=says) as caught:
        logfile.fingerprint_of(path)
    assert str(path) in str(caught.value)


def test_fingerprint_is_of_the_first_line(tmp_path):
    """A log keeps its name when it grows, moves or is compressed; another log has another."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"first")
    assert logfile.fingerprint_of(path) == ""
    path.write_bytes(b"first\n")
    name = logfile.fingerprint_of(path)
    path.write_bytes(b"first\nsecond\n")
    with gzip.open(tmp_path / "audit.log.1.gz", "wb") as stream:
        stream.write(path.read_bytes())
    assert (
        name == logfile.fingerprint_of(path) == logfile.fingerprint_of(tmp_path / "audit.log.1.gz")
    )
    path.write_bytes(b"other\n")
    assert logfile.fingerprint_of(path) not in {"", name}


def drain(followed):
    """Read all that is there, in small pieces."""
    data = b""
    while chunk := followed.read(7):
        data += chunk
    return data


def test_follow_through_renaming(tmp_path):
    """What was written just before a rotation, and all after it, is read once."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"one\n")
    with FollowedFile(path) as followed:
        assert drain(followed) == b"one\n"
        with path.open("ab") as stream:
            stream.write(b"two\n")
        path.rename(tmp_path / "audit.log.1")
        assert drain(followed) == b"two\n"  # the new file is not there yet
        path.write_bytes(b"three\n")
        assert drain(followed) == b"three\n"


def test_follow_through_two_rotations_at_once(tmp_path):
    """What was written and rotated away between two looks is read too."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"one\n")
    with FollowedFile(path) as followed:
        assert drain(followed) == b"one\n"
        path.rename(tmp_path / "audit.log.2")
        (tmp_path / "audit.log.1").write_bytes(b"two\n")
        path.write_bytes(b"three\n")
        assert drain(followed) == b"two\nthree\n"
        assert followed.missing == 0


def test_follow_through_truncation(tmp_path):
    """A log that is copied and cut short is read on from its beginning."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"one, and some more\n")
    with FollowedFile(path) as followed:
        assert drain(followed) == b"one, and some more\n"
        path.write_bytes(b"two\n")
        assert drain(followed) == b"two\n"


def test_cut_line_is_not_glued_to_the_next_file(tmp_path):
    """A line that rotation left unfinished ends there."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"one\nunfini")
    with FollowedFile(path) as followed:
        assert drain(followed) == b"one\nunfini"
        path.rename(tmp_path / "audit.log.1")
        path.write_bytes(b"two\n")
        assert drain(followed) == b"\ntwo\n"


def test_follow_resumes_in_a_rotated_neighbour(tmp_path):
    """After a restart, reading goes on in the file that was being read, wherever it is now."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"a1\na2\n")
    with FollowedFile(path) as followed:
        assert followed.read(3) == b"a1\n"
        segment, position = followed.segment, followed.position
    with gzip.open(tmp_path / "audit.log.2.gz", "wb") as stream, path.open("rb") as old:
        shutil.copyfileobj(old, stream)
    (tmp_path / "audit.log.1").write_bytes(b"b1\n")
    path.write_bytes(b"c1\n")
    with FollowedFile(path, segment, position) as followed:
        assert drain(followed) == b"a2\nb1\nc1\n"
        assert followed.missing == 0


def test_place_that_was_rotated_away_is_said(tmp_path):
    """When the file that was being read is gone, all that is left is read and the hole counted."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"c1\n")
    (tmp_path / "audit.log.1").write_bytes(b"b1\n")
    with FollowedFile(path, segment="0" * 32, position=3) as followed:
        assert drain(followed) == b"b1\nc1\n"
        assert followed.missing == 1
