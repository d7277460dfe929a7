"""The journal as a log, on files of a real journald: complete, renamed, deleted, damaged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest
from fixtures import commands
from fixtures.audit import RefusedError
from fixtures.journald import AbsentError
from fixtures.logs import balanced, ledger, rows
from fixtures.repeats import times
from fixtures.waiting import until
from live.recorded import DROPPED, record
from live.service import AUDITSVC

from auditsvc.collect.journald.folder import Header
from auditsvc.collect.journald.source import JournalSource
from auditsvc.errors import QueryError, SpoolError, StoreError

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def recorded(programs, tmp_path_factory, host_state):
    """Record once for all tests here."""
    try:
        return record(programs, tmp_path_factory.mktemp("recorded"), host_state)
    except (RefusedError, AbsentError) as reason:
        pytest.skip(f"live: {reason}")


class Reading:
    """A journal being read, and what was said of it."""

    def __init__(self, folder, segment="", position=0, host=None):
        self.said = []
        self.folder = folder
        self.source = JournalSource(folder, host or os.uname().nodename, self.said.append)
        self.log = self.source.open(segment, position)

    def all(self, limit=1 << 16):
        """Read to the end; gives the lines."""
        data = b""
        while part := self.log.read(limit):
            data += part
        return data.splitlines(keepends=True)

    def again(self):
        """Open it where this one is."""
        place = self.log.checkpoint()
        self.log.close()
        return Reading(self.folder, *place)


def files(folder):
    """Files of a journal, oldest first."""
    found = []
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        found.append((Header.read(descriptor).head, path))
        os.close(descriptor)
    return [path for _, path in sorted(found)]


def lines_of(tmp_path, *paths):
    """Give the lines that these files alone hold."""
    folder = tmp_path / "alone"
    folder.mkdir(exist_ok=True)
    for path in paths:
        (folder / path.name).write_bytes(path.read_bytes())
    return Reading(folder).all()


def test_the_lines_are_the_kernel_s_records(recorded):
    """Byte for byte and in order, long arguments, hostile text and nameless types included."""
    lines = Reading(recorded.folder).all()
    assert len(lines) > 500
    assert lines == recorded.lines
    assert recorded.dropped == DROPPED  # or a newer journald keeps them
    kinds = {line.split()[0] for line in lines}
    assert {b"type=SYSCALL", b"type=EXECVE", b"type=SOCKADDR", b"type=UNKNOWN[2998]"} <= kinds
    assert not [line for line in lines if b"audit(1700000000.000:1)" in line.split(b": ", 1)[0]]


def test_any_place_is_a_place_to_go_on_from(recorded):
    """Opened again after every piece, pieces of any size: each line once, in order."""
    choose = random.Random(7)
    reading, got = Reading(recorded.folder), b""
    while part := reading.log.read(choose.choice((1, 300, 5000, 60_000))):
        got += part
        assert got.endswith(b"\n")
        reading = reading.again()
        assert reading.log.origin() == len(got)
    assert got.splitlines(keepends=True) == recorded.lines
    assert not reading.said


def test_of_another_machine_they_have_its_name(recorded):
    """The journal's machine and host are not ours: its host is the node."""
    name = os.uname().nodename.encode()
    lines = Reading(recorded.folder, host="another").all()
    assert lines == [b"node=%b %b" % (name, line) for line in recorded.lines]


def test_a_file_that_is_renamed_is_read_on(recorded, tmp_path):
    """Archived while it is read: what was given is not given again, and nothing is left out."""
    folder = recorded.copy(tmp_path)
    live = files(folder)[-1]
    reading = Reading(folder)
    got = [reading.log.read(1)]
    live.rename(folder / "system@archived.journal")
    got += reading.all()
    assert b"".join(got).splitlines(keepends=True) == recorded.lines
    assert not reading.all()
    assert not reading.again().all()
    assert not reading.said


def test_what_was_read_may_go(recorded, tmp_path):
    """Files that were read to their end are deleted: nothing is missing."""
    folder = recorded.copy(tmp_path)
    reading = Reading(folder)
    assert reading.all() == recorded.lines
    for path in files(folder)[:-1]:
        path.unlink()
    assert not reading.all()
    reading = reading.again()
    assert not reading.all()
    assert (reading.log.missing, reading.said) == (0, [])


def test_what_was_not_read_and_is_gone_is_counted_once(recorded, tmp_path):
    """The file being read and the next are deleted: counted, and reading continues."""
    folder = recorded.copy(tmp_path)
    first, second, third = files(folder)
    reading = Reading(folder)
    reading.log.read(5000)
    rest = lines_of(tmp_path, third)
    first.unlink()
    second.unlink()
    reading = reading.again()
    assert reading.all() == rest
    assert reading.log.missing == 1
    assert "earlier files of the journal are deleted" in reading.said[0]
    assert reading.again().log.missing == 0


def test_a_journal_that_is_gone_altogether_is_counted(recorded, tmp_path):
    """Another journal replaces it: reported once, and that one is read."""
    folder = recorded.copy(tmp_path)
    reading = Reading(folder)
    first = reading.log.read(5000)
    assert first
    place = reading.log.checkpoint()
    chain = place[0].split(":")[0]
    reading.log.close()
    other = place[0].replace(chain, "0" * 32)
    reading = Reading(folder, other, place[1])
    assert reading.log.missing == 1
    assert reading.all() == recorded.lines
    assert reading.again().log.missing == 0


def test_a_journal_of_an_earlier_time_that_appears_later_is_read(recorded, tmp_path):
    """The clock was set back over a reboot: no entry of the new file is newer than the place."""
    folder = recorded.copy(tmp_path)
    reading = Reading(folder)
    assert reading.all() == recorded.lines
    first = files(folder)[0]
    lines = lines_of(tmp_path, first)
    data = bytearray(first.read_bytes())
    data[72:88] = bytes(range(16))  # the sequence id
    (folder / "system@other.journal").write_bytes(data)
    reading = reading.again()
    assert reading.all() == lines
    assert not reading.again().all()
    assert not reading.said


def test_a_file_deleted_while_it_is_read(recorded, tmp_path):
    """Deleted, it is read to its end; vacuumed (overwritten with zeros), it is counted."""
    folder = recorded.copy(tmp_path)
    reading = Reading(folder)
    got = [reading.log.read(5000)]
    files(folder)[0].unlink()
    got += reading.all()
    assert b"".join(got).splitlines(keepends=True) == recorded.lines
    assert not reading.said

    folder = recorded.copy(tmp_path / "second")
    first, second, third = files(folder)
    rest = lines_of(tmp_path, second, third)
    reading = Reading(folder)
    reading.log.read(5000)
    size = first.stat().st_size
    # As unlinkat_deallocate() in systemd does.
    subprocess.run(["fallocate", "--punch-hole", "--length", str(size), first], check=True)
    first.unlink()
    assert reading.all()[-len(rest) :] == rest
    assert reading.log.missing == 1
    assert "earlier files of the journal are deleted" in reading.said[0]


def test_damage_within_a_file_is_counted(recorded, tmp_path):
    """Entries that cannot be reached are counted as a damaged file, and the others given."""
    folder = recorded.copy(tmp_path)
    first, second, third = files(folder)
    others = lines_of(tmp_path, second, third)
    data = bytearray(first.read_bytes())
    place = data.find(b"_AUDIT_ID=", len(data) // 10)
    assert place > 0
    data[place - 4096 : place + 200_000] = bytes(204_096)
    first.write_bytes(data)
    reading = Reading(folder)
    lines = reading.all()
    assert lines[-len(others) :] == others
    assert len(lines) < len(recorded.lines)
    assert set(lines) <= set(recorded.lines) | {
        line for line in lines if line.startswith(b"journal entry: ")
    }
    assert reading.log.missing == 1
    assert "cannot be read" in reading.said[0]
    assert reading.again().log.missing == 0


def test_a_file_that_cannot_be_opened_is_counted_once(recorded, tmp_path):
    """A header that is none, and one of a format that libsystemd does not know."""
    folder = recorded.copy(tmp_path)
    first, second, third = files(folder)
    with first.open("r+b") as stream:
        stream.write(b"nonsense")
    with second.open("r+b") as stream:
        stream.seek(12)
        stream.write(b"\xff\xff\xff\xff")  # incompatible flags
    reading = Reading(folder)
    assert reading.all() == lines_of(tmp_path, third)
    assert reading.log.missing == 2
    reading = reading.again()
    assert (reading.log.missing, reading.all()) == (0, [])


def test_what_is_no_journal_is_said_in_a_line(recorded, tmp_path):
    """An empty folder, none at all, a file, files that are no journal, no permission."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/system.journal").write_bytes(b"a log\n" * 1000)
    assert recorded.lines
    for name, why in (
        ("empty", "there is no journal in"),
        ("absent", "no such directory"),
        ("other", "not a journal file"),
        ("other/system.journal", "Not a directory"),
    ):
        done = commands.run(
            *("ingest", "--journal", "--directory", tmp_path / name),
            *("--store", f"sqlite:///{tmp_path}/store.db"),
            text=True,
        )
        assert done.returncode == 1
        assert why in done.stderr
        assert done.stderr.count("\n") == 1
    for words in (["--journal", "x"], [], ["--directory", "/tmp", "x"]):
        done = commands.run("ingest", *words)
        assert done.returncode == 2


def test_without_permission_it_says_which_group_may(recorded, tmp_path, monkeypatch):
    """A file that we may not read is not left out."""
    folder = recorded.copy(tmp_path)

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SpoolError, match=r"Permission denied; .* group systemd-journal"):
        Reading(folder)


def ingest(url, folder, **options):
    """Start `auditsvc ingest --journal` of a folder."""
    command = [AUDITSVC, "ingest", "--journal", "--directory", folder, "--store", url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_ingested_twice_nothing_is_added(recorded, tmp_path):
    """All records are received, none twice."""
    url = f"sqlite:///{tmp_path}/store.db"
    out, errors = ingest(url, recorded.folder).communicate()
    assert not errors
    assert b" new events; 0 records already stored" in out
    before = ledger(url)
    assert before["received"] == len(recorded.lines)
    out, _ = ingest(url, recorded.folder).communicate()
    assert out.startswith(b"0 new events; 0 records")
    assert ledger(url) == before
    assert balanced(url)


def received(url):
    """Number of records that a store has received; none before there is one."""
    try:
        return ledger(url)["received"]
    except (StoreError, QueryError, KeyError):
        return 0


@pytest.mark.parametrize("kills", times(4, 8))
def test_killed_while_it_ingests(programs, tmp_path, host_state, kills):
    """SIGKILL at any moment, again and again: in the end each event is there once."""
    try:
        much = record(programs, tmp_path, host_state, rounds=3)
    except (RefusedError, AbsentError) as reason:
        pytest.skip(f"live: {reason}")
    url = f"sqlite:///{tmp_path}/store.db"
    environment = os.environ | {
        "AUDITSVC_LOADER__BATCH_BYTES": "65536",
        "AUDITSVC_DECODER": "reference",
    }
    killed, choose, before = 0, random.Random(3), 1
    for _ in range(kills):
        process = ingest(url, much.folder, env=environment)
        # Each gets further than the one before.
        until(lambda: process.poll() is not None or received(url) >= before)  # noqa: B023 - at once
        time.sleep(choose.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        before = received(url) + 1
    out, errors = ingest(url, much.folder, env=environment).communicate()
    assert not errors
    assert out
    assert killed >= kills // 2  # on a busy machine one of them ends first
    whole = f"sqlite:///{tmp_path}/whole.db"
    ingest(whole, much.folder).communicate()
    query = "SELECT serial, syscall, state, exit, proctitle FROM syscalls ORDER BY event_id"
    assert rows(url, query) == rows(whole, query)
    assert ledger(url)["received"] == ledger(whole)["received"] == len(much.lines)
    assert ledger(url).get("duplicate", 0) == 0
    assert balanced(url)
