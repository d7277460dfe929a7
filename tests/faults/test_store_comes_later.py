"""Collecting needs no store: if it is unavailable at the start nothing is lost."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import contextmanager

import psycopg
import pytest
from faults.test_service_faults import Run, stored
from fixtures import commands
from fixtures.logs import balanced, ledger
from fixtures.waiting import until

from auditsvc.config import load_settings
from auditsvc.doctor import storage
from auditsvc.store import open_store

EVENTS = 400

IMPATIENT = """
import runpy, sys
from auditsvc.store.sqlite import BUSY_SECONDS, SQLite
assert SQLite.__init__.__defaults__ == (BUSY_SECONDS,)
SQLite.__init__.__defaults__ = (1.0,)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program that waits one second for another writer of a store instead of thirty."""


@contextmanager
def locked(path):
    """Have the store locked by another writer."""
    open_store(f"sqlite:///{path}").close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def missing(path):
    """Have no folder above the store's own."""
    moved = path.parent.parent
    aside = moved.rename(moved.with_name("aside"))
    try:
        yield
    finally:
        aside.rename(moved)


@contextmanager
def of_another_schema(path):
    """Have a store that a newer program made."""
    open_store(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as other:
        (version,) = other.execute("SELECT version_num FROM alembic_version").fetchone()
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    try:
        yield
    finally:
        other.execute("UPDATE alembic_version SET version_num = ?", (version,))
        other.commit()
        other.close()


@contextmanager
def a_file_where_its_folder_should_be(path):
    """Have something else in the folder's place."""
    path.parent.rmdir()
    path.parent.write_text("")
    try:
        yield
    finally:
        path.parent.unlink()
        path.parent.mkdir(0o700)


def collected_without(tmp_path, url, away, before=()):
    """Run while the store is away, then with it; gives what was told meanwhile.

    `before`: see `Run`.
    """
    with away:
        run = Run(tmp_path, url, before=before)
        run.wait_ready()
        run.feed(EVENTS)

        def waiting():
            service = run.service()
            has_all = (service.get("records") or 0) >= EVENTS
            return has_all and service.get("store_trouble") and service

        until(waiting)
        service = run.status()
        assert service["store_trouble"]
        assert service["spool_waiting"] > 0
        assert service["running"]
        finding = storage.loading(
            load_settings(runtime_directory=run.environment["AUDITSVC_RUNTIME_DIRECTORY"])
        )
        assert finding.level.name == "ERROR"
    run.feed(EVENTS)
    until(lambda: run.state("store_trouble") == "")
    status, said = run.end()
    assert status == 0, said
    assert stored(url) == (2 * EVENTS, 2 * EVENTS)
    assert balanced(url)
    counts = ledger(url)
    assert {counts[name] for name in ("kernel_lost", "spool_lost", "gap", "duplicate")} == {0}
    return service["store_trouble"]


@pytest.mark.parametrize(
    ("away", "before"),
    [
        pytest.param(locked, [sys.executable, "-P", "-c", IMPATIENT], id="locked"),
        pytest.param(locked, [], id="locked, as long as it waits", marks=pytest.mark.long),
        pytest.param(missing, [], id="missing"),
        pytest.param(of_another_schema, [], id="of_another_schema"),
        pytest.param(a_file_where_its_folder_should_be, [], id="a_file_where_its_folder_should_be"),
    ],
)
def test_a_file_that_cannot_be_opened_at_the_start(tmp_path, away, before):
    """It collects, says why nothing is stored, and stores all of it once it can."""
    path = tmp_path / "above/store/store.db"
    path.parent.mkdir(parents=True, mode=0o700)
    told = collected_without(tmp_path, f"sqlite:///{path}", away(path), before)
    assert "store" in told


@pytest.mark.postgres
def test_a_server_that_is_not_there_at_the_start(postgres_server, postgres_url, tmp_path):
    """The database comes up later than the service, as after a boot."""

    @contextmanager
    def stopped():
        postgres_server.stop()
        try:
            yield
        finally:
            postgres_server.start()

    told = collected_without(tmp_path, postgres_url, stopped())
    assert "no server answers" in told


@pytest.mark.postgres
def test_a_server_that_lets_nobody_in_at_the_start(postgres_url, tmp_path):
    """A role without the right to make a store waits for it like for a server that is away."""
    name = postgres_url.rpartition("/")[2]

    def have(word):
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {word}")

    @contextmanager
    def read_only():
        have("on")
        try:
            yield
        finally:
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute("SET default_transaction_read_only = off")
                connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")

    assert "read-only" in collected_without(tmp_path, postgres_url, read_only())


def test_a_checkpoint_beyond_a_torn_spool_loses_nothing(tmp_path):
    """A crash took the spool's end, which the store has; what comes before it opens is loaded."""
    path = tmp_path / "store/store.db"
    path.parent.mkdir(mode=0o700)
    url = f"sqlite:///{path}"
    run = Run(tmp_path, url)
    run.feed(EVENTS)
    assert run.end()[0] == 0
    (segment,) = (tmp_path / "state/spool").glob("*.log")
    whole = segment.read_bytes()
    segment.write_bytes(whole[: whole.index(b"\n", len(whole) // 2) + 1])
    with locked(path):
        run = Run(tmp_path, url)
        run.fed = EVENTS
        run.wait_ready()
        run.feed(EVENTS)
        # That the spool is shorter than what was signed is told, and it goes on in a new segment.
        segments = segment.parent
        until(lambda: sum(each.stat().st_size for each in segments.glob("*.log")) > len(whole))
    assert run.end()[0] == 0
    assert stored(url) == (2 * EVENTS, 2 * EVENTS)


@pytest.mark.parametrize("spoil", ["foreign", "gone", "no database"])
def test_a_store_that_is_refused_for_what_it_is_ends_it_at_once(tmp_path, spoil):
    """The run ends at once, so that an administrator sees the error."""
    path = tmp_path / "store.db"
    url = f"sqlite:///{path}"
    if spoil == "foreign":
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE theirs (x)")
    elif spoil == "no database":
        path.write_bytes(b"no database" * 1000)
    else:
        run = Run(tmp_path, url)
        run.wait_ready()
        assert run.end()[0] == 0
        path.unlink()
    done = commands.run(
        *("run", "--source", "stdin", "--store", url),
        environment={
            "AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state"),
            "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
        },
        text=True,
    )
    assert done.returncode == 1
    assert "store.db" in done.stderr.splitlines()[-1]
    assert '"event": "ready"' not in done.stderr


def test_a_url_that_is_wrong_ends_it_at_once(tmp_path):
    """Before anything is made."""
    done = commands.run(
        *("run", "--source", "stdin", "--store", "mysql://x"),
        environment={"AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state")},
        text=True,
    )
    assert done.returncode == 2
    assert not (tmp_path / "state").exists()


def test_a_new_store_beside_an_old_spool(tmp_path):
    """What is loaded of the old spool is said in one line; --from now leaves it out."""
    old, new, third = (f"sqlite:///{tmp_path}/{name}.db" for name in ("old", "new", "third"))
    first = Run(tmp_path, old)
    first.feed(30)
    status, said = first.end()
    assert (status, "new to this spool" in said, stored(old)) == (0, False, (30, 30))
    whole = Run(tmp_path, new)
    status, said = whole.end()
    assert (status, stored(new)) == (0, (30, 30))
    (line,) = [line for line in said.splitlines() if "new to this spool" in line]
    assert "--from now" in line
    late = Run(tmp_path, third, ["--from", "now"])
    late.fed = 30
    late.feed(5)
    status, said = late.end()
    assert (status, stored(third)) == (0, (5, 5))
    assert "not loaded into the new store" in said
    assert balanced(third)
    again = Run(tmp_path, third, ["--from", "now"])
    again.fed = 35
    again.feed(5)
    status, said = again.end()
    assert (status, stored(third)) == (0, (10, 10))
    assert "--from now has no effect" in said


def test_from_now_needs_a_spool(tmp_path):
    """A source without a spool refuses it in one line."""
    words = ("run", "--source", str(tmp_path / "log"), "--from", "now")
    done = commands.run(*words, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "has no spool" in done.stderr
