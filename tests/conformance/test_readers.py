"""No reader stops the writer, by a lock or by reading for ever; such readers are reported."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from faults.test_service_faults import Run, stored
from fixtures.commands import AUDITSVC, Begun
from fixtures.logs import Pipe, load, opening
from fixtures.waiting import until
from sqlalchemy import text

from auditsvc.config import load_settings
from auditsvc.doctor import storage
from auditsvc.errors import QueryError
from auditsvc.host import file_locks
from auditsvc.host.signals import alarm
from auditsvc.store import open_store, sqlite
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.questions import ledger_totals
from auditsvc.store.read.sql import run_query
from auditsvc.store.schema import metadata

MODES = (
    *("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE"),
    *("SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"),
)
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT {} FROM n"


@pytest.fixture
def reader(postgres_url):
    """Give a connection of a role that may read a store and nothing else."""
    role = f"reader_{time.time_ns()}"
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role}")
        owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"SET ROLE {role}")
            yield connection
        owner.execute(f"DROP OWNED BY {role}")
        owner.execute(f"DROP ROLE {role}")


def take_all_it_can(reader):
    """Take every lock that it gets, of any kind; gives how many."""
    wanted = [f"LOCK TABLE {table} IN {mode} MODE" for table in metadata.tables for mode in MODES]
    wanted += [
        f"SELECT * FROM {table} FOR {how}"
        for table in metadata.tables
        for how in ("UPDATE", "SHARE", "KEY SHARE")
    ]
    # The number that was locked once, with and without an end, alone and shared.
    wanted += [
        f"SELECT pg_advisory_{kind}lock{shared}({0x6175647473766331})"
        for kind in ("", "xact_")
        for shared in ("", "_shared")
    ]
    wanted += [f"SELECT count(*) FROM {table}" for table in metadata.tables]
    taken = 0
    reader.execute("BEGIN")
    for statement in wanted:
        reader.execute("SAVEPOINT s")
        try:
            reader.execute(statement)
            taken += 1
        except psycopg.errors.InsufficientPrivilege:
            reader.execute("ROLLBACK TO s")
    return taken


def write(url, *, times):
    """Open the store and write one batch so many times: the second must look, and is alone."""
    for turn in range(times):
        load(url, "".join(opening(n) for n in range(1, 20)).encode(), f"log {turn}")


@pytest.mark.postgres
def test_no_lock_of_a_reader_stops_the_writer(reader, postgres_url):
    """A role with SELECT alone takes every lock that it gets, and writers go on, also alone."""
    assert take_all_it_can(reader) > len(metadata.tables)
    done = threading.Thread(target=write, args=(postgres_url,), kwargs={"times": 2}, daemon=True)
    done.start()
    done.join(60)
    assert not done.is_alive()
    assert stored(postgres_url) == (19, 19)


@pytest.mark.postgres
def test_stores_made_at_one_time_are_one(empty_postgres_url):
    """There is nothing to lock yet: several programs that make it get one complete store."""
    words = ("migrate", "--store", empty_postgres_url)
    makers = [Begun(*words, stderr=subprocess.PIPE) for _ in range(5)]
    for maker in makers:
        _, said = maker.communicate(timeout=120)
        assert maker.returncode == 0, said
    with open_store(empty_postgres_url) as store:
        assert len(store.secret) == 32
    load(empty_postgres_url, opening(1))
    assert stored(empty_postgres_url) == (1, 1)


@pytest.mark.postgres
def test_a_commit_that_is_kept_waiting_is_told(postgres_url, tmp_path):
    """In `status` and by doctor within seconds, with who it is; afterwards all is stored."""
    run = Run(tmp_path, postgres_url)
    run.feed(20)
    until(lambda: run.state("running") and stored(postgres_url)[0] == 20)
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE syscall IN SHARE MODE")
        pid = other.info.backend_pid
        run.feed(20)
        until(lambda: "not answered" in run.state("store_trouble"))
        runtime = run.environment["AUDITSVC_RUNTIME_DIRECTORY"]
        settings = load_settings(store=postgres_url, runtime_directory=runtime)
        assert storage.loading(settings).level.name == "ERROR"
        found = storage.readers(settings)
        assert found.level.name == "ERROR"
        assert f"pid {pid}" in found.found
    until(lambda: run.state("store_trouble") == "")
    assert run.end()[0] == 0
    assert stored(postgres_url) == (40, 40)


@pytest.mark.postgres
def test_a_session_that_reads_for_long_is_told(postgres_url, monkeypatch):
    """Doctor names it, as deleted rows cannot be cleaned up meanwhile."""
    settings = load_settings(store=postgres_url)
    assert storage.readers(settings).level.name == "OK"
    monkeypatch.setattr(storage, "_LONG_SECONDS", 0)
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT count(*) FROM syscall")
        found = storage.readers(settings)
        assert found.level.name == "WARNING"
        assert f"pid {other.info.backend_pid}" in found.found


def test_a_lock_that_who_may_read_takes_is_told(made, tmp_path):
    """Read permission suffices for a shared lock on the byte of who writes: both name it."""
    run = Run(tmp_path, f"sqlite:///{made}")
    run.feed(20)
    until(lambda: run.state("running") and stored(f"sqlite:///{made}")[0] == 20)
    runtime = run.environment["AUDITSVC_RUNTIME_DIRECTORY"]
    settings = load_settings(store=f"sqlite:///{made}", runtime_directory=runtime)
    assert storage.readers(settings).level.name == "OK"
    script = (
        "import fcntl, os, sys\n"
        "shm = os.open(sys.argv[1] + '-shm', os.O_RDONLY)\n"
        "fcntl.lockf(shm, fcntl.LOCK_SH, 1, 120)\n"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        ["python3", "-c", script, made], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        run.feed(20)
        until(lambda: run.state("store_trouble") != "")
        assert storage.loading(settings).level.name == "ERROR"
        found = storage.readers(settings)
        process.communicate()
    assert (found.level.name, f"pid {process.pid}" in found.found) == ("ERROR", True)
    until(lambda: run.state("store_trouble") == "")
    assert run.end()[0] == 0
    assert stored(f"sqlite:///{made}") == (40, 40)
    assert storage.readers(settings).level.name == "OK"


@contextmanager
def reading(path):
    """Have another process in the middle of reading; gives its pid."""
    script = (
        "import sqlite3, sys\n"
        "rows = sqlite3.connect(sys.argv[1]).execute('SELECT * FROM syscall')\n"
        "rows.fetchone(); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        ["python3", "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            process.stdout.readline()
            yield process.pid
        finally:
            process.communicate()


def test_who_keeps_the_log_of_a_file_from_being_emptied_is_told(tmp_path, monkeypatch):
    """Above a limit the store says who reads; when nobody reads any more the log shrinks."""
    monkeypatch.setattr(sqlite, "WAL_BOUND", 1 << 20)
    monkeypatch.setattr(sqlite, "_RELIEVE_EVERY", 0)
    path = tmp_path / "store.db"
    log = tmp_path / "store.db-wal"
    with closing(Pipe(f"sqlite:///{path}")) as pipe:
        store, log_lines = pipe.store, []

        def fill():
            first = len(log_lines)
            log_lines.extend(opening(n + 1, name=f"/f{n}") for n in range(first, first + 2000))
            pipe.load("".join(log_lines))

        fill()
        assert store.relieve() == ""
        with reading(path) as pid:
            while log.stat().st_size < 2 << 20:
                fill()
            assert f"pid {pid} (python3)" in store.relieve()
            found = storage.readers(load_settings(store=f"sqlite:///{path}"))
            assert found.level.name == "WARNING"
            assert f"pid {pid}" in found.found
        assert store.relieve() == ""
        assert log.stat().st_size == 0
        with closing(sqlite3.connect(path)) as own:  # as the thread that ships has one
            own.execute("BEGIN")
            own.execute("SELECT count(*) FROM syscall").fetchone()
            while log.stat().st_size < 2 << 20:
                fill()
            assert "MiB: the service itself (for the archive or the fleet)" in store.relieve()
        assert store.relieve() == ""
        assert storage.readers(load_settings(store=f"sqlite:///{path}")).level.name == "OK"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("1: POSIX  ADVISORY  READ 77 {} 123 123", [77]),
        ("1: POSIX  ADVISORY  READ 77 {} 0 EOF", [77]),
        ("1: POSIX  ADVISORY  READ 77 {} 120 121", []),
        ("1: POSIX  ADVISORY  READ 77 {} 128 128", []),
        ("1: OFDLCK ADVISORY  READ -1 {} 123 123", []),
        ("1: POSIX  ADVISORY  READ 0 {} 123 123", []),
        ("1: -> POSIX  ADVISORY  WRITE 77 {} 123 123", []),
        ("1: POSIX  ADVISORY  READ 77 fe:01:1 123 123", []),
        ("", []),
    ],
)
def test_locks_are_read_as_the_kernel_writes_them(tmp_path, line, found):
    """Whole lines, of this file, of this part."""
    file = tmp_path / "file"
    file.touch()
    info = file.stat()
    name = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    assert file_locks.lock_holders(file, range(123, 128), line.format(name)) == found


@pytest.mark.one_database
@pytest.mark.parametrize("what", ["max(x)", "x"])
def test_a_question_ends_in_time(url, what):
    """Both a query that computes for ever and one that gives rows for ever."""
    began = time.monotonic()
    with (
        pytest.raises(QueryError, match="took longer than 1 s"),
        run_query(url, ENDLESS.format(what), Limits(seconds=1)) as rows,
    ):
        for _ in rows:
            pass
    assert time.monotonic() - began < 300


@pytest.mark.one_database
@pytest.mark.parametrize("what", ["max(x)", "x"])
def test_an_alarm_that_rings_in_a_question_is_told(url, what):
    """Long before the question's own time: several of them have one limit, or begin late."""
    with (
        pytest.raises(QueryError, match="all of them"),
        alarm(0.5, QueryError("all of them")),
        run_query(url, ENDLESS.format(what), Limits(seconds=3600)) as rows,
    ):
        for _ in rows:
            pass


def test_a_pager_that_waits_does_not_keep_the_store(tmp_path):
    """`query | less`: nobody reads the output, and after its time the question has ended."""
    path = tmp_path / "store.db"
    open_store(f"sqlite:///{path}").close()
    store = ["--store", f"sqlite:///{path}", "--timeout", "2"]
    words = ("query", ENDLESS.format("x"), *store)
    with Begun(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.wait(60) == 1
        assert b"took longer than 2 s" in process.stderr.read()


def has_open(pid, path):
    """Whether a process has the file open."""
    descriptors = Path(f"/proc/{pid}/fd")
    with suppress(OSError):
        return any(each.readlink() == path for each in descriptors.iterdir())
    return False


def test_an_interrupt_ends_a_question(tmp_path):
    """Ctrl-C in the middle of one statement."""
    path = tmp_path / "store.db"
    open_store(f"sqlite:///{path}").close()
    with subprocess.Popen(
        [AUDITSVC, "query", ENDLESS.format("max(x)"), "--store", f"sqlite:///{path}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        until(lambda: has_open(process.pid, path))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (1, 130)  # within a step of SQLite, or between two
        assert process.stderr.read() in (b"", b"auditsvc: interrupted\n")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT length(zeroblob(900000000))",
        "WITH RECURSIVE n(t) AS (SELECT 'x' UNION ALL SELECT t || t FROM n) SELECT t FROM n",
    ],
)
def test_a_value_has_a_bound(tmp_path, sql):
    """One statement must not take the host's memory."""
    url = f"sqlite:///{tmp_path}/store.db"
    open_store(url).close()
    with pytest.raises(QueryError, match="too big"), run_query(url, sql) as rows:
        list(rows)


def test_a_question_has_its_memory_and_no_more(tmp_path):
    """A query that needs more fails, and the process continues."""
    url = f"sqlite:///{tmp_path}/store.db"
    open_store(url).close()
    script = (
        "import sys\n"
        "from auditsvc.store.read.limits import Limits\n"
        "from auditsvc.store.read.sql import run_query\n"
        "try:\n"
        "    with run_query(sys.argv[1], sys.argv[2], Limits(memory=8 << 20)) as rows:\n"
        "        print(len(list(rows)))\n"
        "except MemoryError:\n"
        "    print('too much')"
    )
    for size, said in ((1 << 20, b"1"), (30 << 20, b"too much")):
        done = subprocess.run(
            [sys.executable, "-P", "-c", script, url, f"SELECT length(hex(zeroblob({size})))"],
            stdout=subprocess.PIPE,
            check=True,
        )
        assert done.stdout.strip() == said


@pytest.mark.postgres
def test_status_does_not_wait_for_a_store_that_is_locked(postgres_url):
    """Nor does doctor: they say so, in seconds."""
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE ledger_entry IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(QueryError, match="took longer than 10 s"):
            ledger_totals(postgres_url)
        assert time.monotonic() - began < 300


def test_a_connection_that_only_reads_is_no_writer(tmp_path):
    """The bounds hold for questions alone."""
    url = f"sqlite:///{tmp_path}/store.db"
    with open_store(url) as store, store.engine.connect() as connection:
        assert connection.execute(text("SELECT length(zeroblob(70000000))")).scalar() == 70000000
    assert sqlite3.connect(":memory:").getlimit(sqlite3.SQLITE_LIMIT_LENGTH) > 64 << 20
