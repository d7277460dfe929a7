"""`auditsvc ingest`, as its users call it: rotated, compressed, grown, twice, on a terminal."""

from __future__ import annotations

import gzip
import os
import pty
import re
import sqlite3
import subprocess
import threading

import pytest
from fixtures import commands
from fixtures.commands import AUDITSVC
from fixtures.logs import balanced, ledger, opening, rows
from fixtures.long_logs import make

from auditsvc.config import load_settings
from auditsvc.decode import DECODERS
from auditsvc.ingest import load
from auditsvc.ingest.ingest import Ingest
from auditsvc.store import open_store


@pytest.fixture
def url(tmp_path):
    """A store that is not there yet."""
    return f"sqlite:///{tmp_path}/store.db"


def ingest(url, *words):
    """Load files; gives what the command said: new events, and records that were there."""
    done = commands.run("ingest", "--store", url, *words, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return tuple(map(int, re.findall(r"\d+", done.stdout)))


def log(first, last):
    """Calls by serial."""
    return "".join(opening(serial) for serial in range(first, last)).encode()


def serials(url):
    """Serials of the calls in the store."""
    return [row["serial"] for row in rows(url, "SELECT serial FROM syscalls ORDER BY serial")]


def test_rotated_and_compressed_names(url, tmp_path):
    """All of them, in one call, in any order; a second call adds nothing."""
    with gzip.open(tmp_path / "audit.log.2.gz", "wb") as stream:
        stream.write(log(1, 10))
    (tmp_path / "audit.log.1").write_bytes(log(10, 20))
    (tmp_path / "audit.log").write_bytes(log(20, 30))
    files = sorted(tmp_path.glob("audit.log*"))
    assert ingest(url, *files) == (29, 0)
    assert serials(url) == list(range(1, 30))
    before = ledger(url)
    assert ingest(url, *files) == (0, 0)
    assert ledger(url) == before
    assert balanced(url)


def test_a_log_that_grew_and_was_rotated_is_read_on(url, tmp_path):
    """What was read before is recognised by the file's content, not by its name."""
    path = tmp_path / "audit.log"
    path.write_bytes(log(1, 10))
    assert ingest(url, path) == (9, 0)
    with path.open("ab") as stream:
        stream.write(log(10, 15))
    path.rename(tmp_path / "audit.log.1")
    path.write_bytes(log(15, 20))
    assert ingest(url, path, tmp_path / "audit.log.1") == (10, 0)
    assert serials(url) == list(range(1, 20))


def test_a_filtered_copy_is_not_taken_for_read(url, tmp_path):
    """Same first line, other bytes after it: all of it is read, and only new events are added."""
    path, copy = tmp_path / "audit.log", tmp_path / "copy"
    path.write_bytes(log(1, 5))
    copy.write_bytes(log(1, 2) + log(3, 9))
    new, there = ingest(url, path)
    assert (new, there) == (4, 0)
    new, there = ingest(url, copy)
    assert new == 4
    assert there > 0
    assert serials(url) == list(range(1, 9))
    assert balanced(url)


def test_an_id_that_is_taken_while_reading_went_on(url, tmp_path, monkeypatch):
    """What was decoded after a batch that could not be stored is decoded again, and stored once."""
    monkeypatch.setenv("AUDITSVC_LOADER__BATCH_BYTES", "65536")
    path = tmp_path / "audit.log"
    # Read by the mebibyte: five batches; a name that comes once, in the second of them.
    odd = opening(5000, name="/odd").encode()
    path.write_bytes(log(1, 5000) + odd + log(5001, 15000))
    assert path.stat().st_size > 4 << 20
    (tmp_path / "first.log").write_bytes(odd)
    assert ingest(url, tmp_path / "first.log") == (1, 0)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as store:
        store.execute("UPDATE text SET value = '/forged' WHERE value = '/odd'")
        store.execute("DELETE FROM path")
        store.execute("DELETE FROM syscall")
    assert ingest(url, path) == (14999, 0)
    assert serials(url) == list(range(1, 15000))
    names = rows(url, "SELECT name FROM paths JOIN syscalls USING (event_id) WHERE serial = 5000")
    assert [row["name"] for row in names] == ["/odd"]
    assert balanced(url)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_usual_log_is_read_on_while_a_batch_is_written(url, tmp_path, monkeypatch, decoder):
    """No batch of it counts as large: of such, none is read before the one before is stored."""
    written = []

    def write(self, piece):
        written.append(threading.current_thread() is not threading.main_thread())
        return before(self, piece)

    before = load.Load._write
    monkeypatch.setattr(load.Load, "_write", write)
    monkeypatch.setattr(load, "_LARGE", 0)
    settings = load_settings(
        store=url, host="box", decoder=decoder, loader={"batch_bytes": 1 << 20}
    )
    Ingest(settings, [make("mixed", 30_000, tmp_path / "audit.log").path]).run(lambda _: None)
    assert len(written) > 2
    assert all(written[:-1])
    assert balanced(url)


def test_a_store_that_fails_while_reading_went_on(url, tmp_path, monkeypatch):
    """The error ends the command with one line; what was stored before stays, with its counts."""
    monkeypatch.setenv("AUDITSVC_LOADER__BATCH_BYTES", "65536")
    path = tmp_path / "audit.log"
    path.write_bytes(log(1, 15000))
    open_store(url).close()
    done = subprocess.run(
        ["prlimit", "--fsize=1000000", AUDITSVC, "ingest", "--store", url, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "disk" in done.stderr
    stored = serials(url)
    assert stored == list(range(1, len(stored) + 1))
    assert 0 < len(stored) < 14999
    assert balanced(url)
    assert ingest(url, path) == (14999 - len(stored), 0)
    assert serials(url) == list(range(1, 15000))
    assert balanced(url)


def test_the_host_of_a_foreign_log(url, tmp_path):
    """Records without node= come from the host that is named."""
    path = tmp_path / "audit.log"
    path.write_bytes(log(1, 3))
    ingest(url, path, "--host", "web-1")
    assert rows(url, "SELECT DISTINCT host FROM syscalls") == [{"host": "web-1"}]


def test_a_terminal_sees_how_far_it_is(url, tmp_path):
    """On a terminal there is a progress bar on stderr, and it is removed at the end."""
    path = tmp_path / "audit.log"
    path.write_bytes(log(1, 30_000))
    main, side = pty.openpty()
    command = [AUDITSVC, "ingest", "--store", url, path]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=side, env=environment) as process:
        os.close(side)
        shown = b""
        while True:
            try:
                data = os.read(main, 4096)
            except OSError:  # how a terminal says that its other end is closed
                break
            if not data:
                break
            shown += data
        assert process.stdout.read().startswith(b"29999 new events")
    os.close(main)
    assert process.returncode == 0
    assert str(path).encode()[-20:] in shown
    assert "━".encode() in shown
