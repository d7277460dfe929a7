"""Faults around a store: one clear line each, and no partial result."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest
from fixtures import disk
from fixtures.activity import differs
from fixtures.commands import Begun
from fixtures.logs import Pipe, balanced, ledger, load, opening, record, rows
from fixtures.repeats import times
from sqlalchemy import create_engine, text

from auditsvc.decode import make_decoder
from auditsvc.errors import ClashError, ConfigError, StoreError
from auditsvc.store import Checkpoint, migrate, open_store
from auditsvc.store.databases import parse_url
from auditsvc.store.sqlite import SQLite


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    """Give the URL of a store that is not there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return request.getfixturevalue("postgres_url")


def refused(url, match, *, create=True):
    """See that opening fails with one line, and give the error."""
    with pytest.raises(StoreError, match=match) as caught:
        open_store(url, create=create)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, ClashError)
    return caught.value


EVENTS = [opening(n, name=f"/f{n % 9}") for n in range(400)] + [
    record("USER_LOGIN", 1000 + n, f"pid={n} uid=0 msg='op=x'") for n in range(40)
]

WRITER = """
import sys
from fixtures.logs import Pipe
from auditsvc.store.write import settle
settle.MANY = 20
pipe = Pipe(sys.argv[1], batch=3000)
write = pipe.store.write
def settling(*words, **options):
    result = write(*words, **options)
    pipe.store.settle()
    return result
pipe.store.write = settling
print("begun", flush=True)
pipe.load(open(sys.argv[2], "rb").read())
while pipe.store.settle(all_of_it=True):
    pass
print("done", flush=True)
"""


@pytest.mark.one_database
@pytest.mark.parametrize("most", times(3, 80))
def test_killed_writers_lose_and_double_nothing(url, tmp_path, most):
    """Writers that are killed at any moment, one after the other, store every event once.

    They settle after each transaction.
    """
    log = tmp_path / "log"
    log.write_text("".join(EVENTS))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    chance = random.Random(5)
    done = kills = 0
    while not done:
        child = Begun(
            *(url, log), code=WRITER, environment=environment, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout.readline() == "begun\n"
        if kills < most:
            time.sleep(chance.uniform(0, 0.03))
            child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate(timeout=60)
        done = "done" in rest
        kills += child.returncode == -signal.SIGKILL
    assert kills >= most // 2
    assert rows(url, "SELECT count(*) AS n, count(DISTINCT serial) AS d FROM syscalls") == [
        {"n": 400, "d": 400}
    ]
    assert rows(url, "SELECT count(*) AS n FROM paths") == [{"n": 400}]
    assert rows(url, "SELECT count(*) AS n FROM events") == [{"n": 40}]
    assert rows(url, "SELECT count(*) AS n FROM paths WHERE name = '/f4'") == [{"n": 44}]
    assert differs(url) == []
    assert ledger(url)["stored"] == 1640
    assert ledger(url)["duplicate"] == 0
    assert balanced(url)


# --- SQLite ----------------------------------------------------------------------------


def test_files_are_for_their_owner_only(tmp_path):
    """The database, its -wal and its -shm have mode 0600, whatever the umask is."""
    before = os.umask(0)
    try:
        pipe = Pipe(f"sqlite:///{tmp_path}/store.db")
        pipe.load(opening(1))
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        pipe.close()
    finally:
        os.umask(before)
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


def test_another_programs_database_is_left_alone(tmp_path):
    """A database of another program is refused, and not a byte of it changes."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    refused(f"sqlite:///{path}", "another program")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["other.db"]


def test_a_file_that_is_no_database(tmp_path):
    """A file of another kind is refused and left alone."""
    path = tmp_path / "notes.txt"
    path.write_text("notes " * 1000)
    refused(f"sqlite:///{path}", "not an SQLite database")
    assert path.read_text() == "notes " * 1000


def test_no_folder(tmp_path):
    """The store's own folder is made, for its owner alone; those above it must be there."""
    error = refused(f"sqlite:///{tmp_path}/none/folder/store.db", "cannot be made")
    assert f"{tmp_path}/none/folder/store.db" in str(error)
    with open_store(f"sqlite:///{tmp_path}/folder/store.db"):
        assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700


def test_a_store_that_is_not_there(tmp_path):
    """Without `create` nothing is made."""
    refused(f"sqlite:///{tmp_path}/store.db", "there is no store", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_memory_is_refused():
    """It would be lost at the end of the process."""
    refused("sqlite://", "in memory")


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of two megabytes."""
    with disk.small_disk(tmp_path / "disk", 2048) as folder:
        yield folder


def test_a_full_disk(small_disk):
    """A disk that fills up stops the transaction whole; with space it goes on."""
    url = f"sqlite:///{small_disk}/store.db"
    open_store(url).close()
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    filler.write_bytes(bytes(free.f_bavail * free.f_bsize - 300_000))
    pipe = Pipe(url, batch=9000)
    text = "".join(opening(n, name=f"/f{n}" * 20) for n in range(3000))
    with pytest.raises(StoreError, match="the disk is full") as caught:
        pipe.load(text)
    assert "\n" not in str(caught.value)
    pipe.close()
    filler.unlink()
    assert balanced(url)
    stored = ledger(url)["stored"]
    assert stored == rows(url, "SELECT count(*) * 4 AS n FROM syscalls")[0]["n"]
    load(url, text[: len(text) // 4])
    assert ledger(url)["stored"] > stored
    assert balanced(url)


def test_a_full_disk_at_the_beginning(small_disk):
    """A store that cannot even be made says why."""
    free = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(free.f_bavail * free.f_bsize))
    refused(f"sqlite:///{small_disk}/store.db", "disk")


def test_a_read_only_folder(small_disk):
    """A mount that is read-only is said to be."""
    url = f"sqlite:///{small_disk}/store.db"
    open_store(url).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(url, "cannot be (written|opened)")
    refused(f"sqlite:///{small_disk}/new.db", "cannot be made: Read-only file system")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


def test_a_locked_database(tmp_path):
    """Another writer that holds the lock too long is named, and trying again helps."""
    url = f"sqlite:///{tmp_path}/store.db"
    open_store(url).close()
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    database = SQLite(parse_url(url), busy=0.1)
    with pytest.raises(StoreError, match="locked") as caught, database.begin(alone=False):
        pass
    assert caught.value.retryable
    other.execute("ROLLBACK")
    other.close()
    with database.begin(alone=False) as connection:
        assert not database.empty(connection)
    database.engine.dispose()


def test_a_damaged_database(tmp_path):
    """A store whose pages were overwritten is said to be damaged."""
    path = tmp_path / "store.db"
    load(f"sqlite:///{path}", "".join(EVENTS))
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    refused(f"sqlite:///{path}", "damaged")


# --- both ------------------------------------------------------------------------------


def test_a_newer_schema(url):
    """A store of a newer program is refused, and stays as it is."""
    with open_store(url) as store, store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    refused(url, "newer auditsvc")
    with pytest.raises(StoreError, match="newer auditsvc"):
        migrate(url)


def test_two_programs_make_one_store(url):
    """Programs that open a new store at once agree on it."""
    secrets, errors = [], []

    def run():
        try:
            with open_store(url) as store:
                secrets.append(store.secret)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(secrets)) == 1


@pytest.mark.one_database
def test_an_error_within_a_batch_stores_nothing(url):
    """A batch that cannot be stored whole is not stored at all, and the store goes on."""
    pipe = Pipe(url)
    pipe.load(opening(1), finish=True)
    source = pipe.store.source("file", "log")
    made = make_decoder("reference", secret=pipe.store.secret, host="box")
    made.feed(opening(2).encode(), 0.0)
    made.finish()
    batch = made.take()
    batch.facts["path"].append((5, 0, 0, None))  # a column that may not be NULL
    with pytest.raises(StoreError):
        pipe.store.write(source.id, batch, Checkpoint("1", 99))
    assert rows(url, "SELECT count(*) AS n FROM syscalls") == [{"n": 1}]
    pipe.load(opening(1) + opening(2))
    pipe.close()
    assert rows(url, "SELECT count(*) AS n FROM syscalls") == [{"n": 2}]
    assert balanced(url)


@pytest.mark.parametrize("wrong", ["", "nonsense", "mysql://host/x", "sqlite"])
def test_a_wrong_url(wrong):
    """What is no store's URL is refused with the two forms that are."""
    with pytest.raises(ConfigError, match="sqlite:////PATH") as caught:
        open_store(wrong)
    assert caught.value.status == 2


# --- PostgreSQL ------------------------------------------------------------------------


@pytest.mark.postgres
def test_a_wrong_password(postgres_server):
    """The message names the place and never the password."""
    error = refused(postgres_server.url("postgres", password="hunter2"), "wrong user name or pass")
    assert "hunter2" not in str(error)
    assert str(postgres_server.port) in str(error)


@pytest.mark.parametrize("url", ["u:hunter2@127.0.0.1:1/x", "127.0.0.1:1/x?password=hunter2"])
def test_no_message_holds_the_password(url):
    """Neither the URL's password nor the one among its options is shown."""
    assert "hunter2" not in str(refused(f"postgresql://{url}", "no server answers"))


def test_an_option_that_does_nothing():
    """An option in SQLite's URL would be ignored, so it is refused."""
    with pytest.raises(ConfigError, match="takes no options"):
        parse_url("sqlite:////tmp/x.db?mode=ro")


@pytest.mark.postgres
def test_a_missing_database(postgres_server):
    """A database that is not there is said to be missing, with how to make it."""
    assert "createdb" in str(refused(postgres_server.url("none"), "no such database"))


def test_a_refused_connection():
    """Where no server listens the message says so, and trying again may help."""
    assert refused("postgresql://u:secret@127.0.0.1:1/x", "no server answers").retryable


@pytest.mark.postgres
def test_tables_of_another_program(postgres_url):
    """A database with other tables is refused and left alone."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE theirs (x int)")
    refused(postgres_url, "another program")
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute("SELECT relname FROM pg_stat_user_tables").fetchall()
    assert tables == [("theirs",)]


@pytest.mark.postgres
def test_a_role_that_may_not_create(postgres_server, postgres_url):
    """The error for a role without rights names the right that it needs."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DROP ROLE IF EXISTS poor")
        connection.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
    name = postgres_url.rpartition("/")[2]
    url = f"postgresql://poor:poor@127.0.0.1:{postgres_server.port}/{name}"
    refused(url, "permission is denied")


@pytest.mark.postgres
def test_a_server_that_goes_away(postgres_server, postgres_url):
    """A server that stops in between costs nothing: from the checkpoint on all is there."""
    data = "".join(EVENTS)
    pipe = Pipe(postgres_url, batch=9000)
    pipe.load(data[:30_000], finish=False)
    postgres_server.stop()
    try:
        with pytest.raises(StoreError) as caught:
            pipe.load(data, finish=True)
        assert caught.value.retryable
        assert "\n" not in str(caught.value)
        with pytest.raises(StoreError) as caught:
            pipe.store.source("file", "log")
        assert caught.value.retryable
    finally:
        postgres_server.start()
    pipe.load(data)
    pipe.close()
    assert rows(postgres_url, "SELECT count(*) AS n FROM syscalls") == [{"n": 400}]
    assert ledger(postgres_url)["duplicate"] == 0
    assert balanced(postgres_url)


@pytest.mark.postgres
def test_a_connection_that_is_cut_within_a_transaction(postgres_url):
    """A backend that is terminated in mid-batch leaves nothing of the batch."""
    pipe = Pipe(postgres_url)
    pipe.load(opening(1))
    engine = create_engine(parse_url(postgres_url))
    real = pipe.store._writer._database.insert_facts
    cut = []

    def insert(connection, batch):
        if not cut:
            cut.append(True)
            with engine.begin() as other:
                other.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid != pg_backend_pid()"
                )
        real(connection, batch)

    pipe.store._writer._database.insert_facts = insert
    with pytest.raises(StoreError) as caught:
        pipe.load(opening(1) + opening(2))
    assert caught.value.retryable
    assert rows(postgres_url, "SELECT count(*) AS n FROM syscalls") == [{"n": 1}]
    pipe.load(opening(1) + opening(2))
    pipe.close()
    engine.dispose()
    assert rows(postgres_url, "SELECT count(*) AS n FROM syscalls") == [{"n": 2}]
