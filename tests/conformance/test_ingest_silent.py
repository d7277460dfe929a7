"""`ingest` reports what it could not read: lines that are no records, files that are no logs."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
from fixtures import commands
from fixtures.logs import balanced, ledger, login, opening, rows

EVENTS = [opening(serial).encode() for serial in range(1, 400)]
LOG = b"".join(EVENTS)


def ingest(url, *words):
    """Load files; gives exit status, what was said, and the lines on stderr."""
    done = commands.run("ingest", "--store", url, *words, text=True)
    return done.returncode, done.stdout, done.stderr.splitlines()


def test_lines_that_are_no_records_are_counted_and_the_first_is_shown(url, tmp_path):
    """On stderr, one line for each file; the records are loaded, and the exit status is 0."""
    good, mixed = tmp_path / "good.log", tmp_path / "mixed.log"
    good.write_text(login(1))
    mixed.write_text(login(2) + "----\n" + login(3) + "time->Tue Mar\n\n")
    status, said, lines = ingest(url, good, mixed)
    assert (status, said.split(" new")[0]) == (0, "3")
    (line,) = lines
    assert f"{mixed}: 2 lines were not records" in line
    assert "the first: '----'" in line
    assert ledger(url)["raw"] == 2
    assert balanced(url)


def test_one_line_is_one_line(url, tmp_path):
    """In the singular; control bytes are escaped, and a long line is cut."""
    path = tmp_path / "audit.log"
    path.write_bytes(login(1).encode() + b"\x1b[2Jno \xff record" + b"x" * 500 + b"\n")
    status, _, lines = ingest(url, path)
    assert status == 0
    (line,) = lines
    assert "1 line was not a record" in line
    assert r"'\x1b[2Jno \xff record" in line
    assert len(line) < 400


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"hello\n", "1 line"),
        (b"\n\none\ntwo\nthree\n", "3 lines"),
        (b"\x7fELF" + bytes(5000) + b"\n" * 3, "1 line"),
        (b"no newline", "1 line"),
    ],
)
def test_a_file_without_any_record_is_an_error(url, tmp_path, content, says):
    """One line with the count and the first line, status 1; other files are loaded all the same."""
    path, good = tmp_path / "other.txt", tmp_path / "audit.log"
    path.write_bytes(content)
    good.write_text(login(1))
    status, said, lines = ingest(url, path, good)
    assert status == 1
    assert said.startswith("1 new event")
    (line,) = lines
    assert line.startswith(f"auditsvc: {path}: no record in {says}")
    assert balanced(url)


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (
            "----\ntype=USER_LOGIN msg=audit(06/15/2025 15:06:40.123:7) : pid=5 uid=root\n",
            "ausearch --raw",
        ),
        ("type=USER_LOGIN msg=audit(2025-06-15T15:06:40.123:7) : pid=5\n", "ausearch --raw"),
        ("NODE,EVENT,DATE,TIME,SERIAL_NUM,EVENT_KIND\n,SYSCALL,06/15/2025,15:06:40,7,x\n", "--raw"),
        ('{"log":"type=USER_LOGIN msg=audit(1750000000.123:7): pid=5\\n","stream":"x"}\n', "jq"),
        ('{"@timestamp":"x","message":"type=PATH msg=audit(1750000000.123:7): item=0"}\n', "jq"),
        ("Jun 15 15:06:40 box audit[900]: USER_LOGIN pid=900 uid=0\n", "--journal"),
        ("__CURSOR=s=1\n_TRANSPORT=audit\nMESSAGE=USER_LOGIN pid=900\n\n", "--journal"),
    ],
)
def test_another_form_of_a_log_is_named(sqlite, tmp_path, content, advice):
    """What another program made of a log: the line says how to get the log itself."""
    path = tmp_path / "other.txt"
    path.write_text(content)
    status, _, (line,) = ingest(sqlite, path)
    assert status == 1
    assert advice in line.partition("the first: ")[2].rpartition("'")[2]


def test_an_empty_file_is_no_error(url, tmp_path):
    """A log that was just rotated is empty."""
    (tmp_path / "audit.log").write_bytes(b"")
    assert ingest(url, tmp_path / "audit.log") == (
        0,
        "0 new events; 0 records already stored\n",
        [],
    )


@pytest.mark.parametrize(
    ("suffix", "pack"), [("gz", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)]
)
def test_a_file_that_is_cut_short_gives_what_it_has_then_one_error(url, tmp_path, suffix, pack):
    """When the file is complete, reading continues from there."""
    path = tmp_path / f"audit.log.1.{suffix}"
    (tmp_path / "audit.log").write_text(login(1000))
    packed = pack(LOG)
    path.write_bytes(packed[: len(packed) - 12])
    status, _, lines = ingest(url, path, tmp_path / "audit.log")
    assert status == 1
    (line,) = lines
    assert f"{path}: the compressed file is damaged" in line
    if suffix != "bz2":  # it gives blocks of 900 kB
        assert len(rows(url, "SELECT serial FROM syscalls")) > 100
    assert len(rows(url, "SELECT serial FROM events")) == 1
    assert balanced(url)
    path.write_bytes(packed)
    status, _, lines = ingest(url, path, tmp_path / "audit.log")
    assert (status, lines) == (0, [])
    assert ledger(url)["raw"] == 0
    assert len(rows(url, "SELECT serial FROM syscalls")) == 399
    assert balanced(url)


@pytest.mark.one_database
def test_what_is_packed_is_told_by_content_and_read_oldest_first(url, tmp_path):
    """Logrotate's dates, its compressions, a mark: one log."""
    (tmp_path / "audit.log-20240320.xz").write_bytes(lzma.compress(b"".join(EVENTS[:9])))
    (tmp_path / "audit.log-20240321.gz").write_bytes(gzip.compress(b"".join(EVENTS[9:20])))
    (tmp_path / "audit.log").write_bytes(b"".join(EVENTS[20:]))
    files = sorted(tmp_path.glob("audit.log*"))
    status, _, lines = ingest(url, *files)
    assert (status, lines) == (0, [])
    assert len(rows(url, "SELECT serial FROM syscalls")) == 399
