"""Commands that only read open a store read-only: nothing is made, migrated or written."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from fixtures import commands
from fixtures.logs import everything, load, opening
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from auditsvc.errors import StoreError
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.databases import parse_url
from auditsvc.store.read.sql import run_query
from auditsvc.store.schema import host, metadata


def test_a_reader_sees_what_is_there(url):
    """Rows are read through it, while a writer goes on."""
    load(url, opening(1))
    with open_store(url, read=True) as store:
        load(url, opening(1) + opening(2))
        with reading(store.database) as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM syscalls").scalar_one() == 2


def test_a_reader_cannot_write(url):
    """Neither rows nor tables, whatever SQL it is given."""
    before = everything(url)
    with open_store(url, read=True) as store:
        for table in metadata.sorted_tables:
            with pytest.raises(DBAPIError), store.engine.begin() as connection:
                connection.execute(table.delete())
        with pytest.raises(DBAPIError), store.engine.begin() as connection:
            connection.execute(host.insert().values(id=1, name="forged"))
        with pytest.raises(DBAPIError), store.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE mine (a INTEGER)")
    assert everything(url) == before


def test_a_reader_checks_the_pages_of_a_file_that_others_may_write(tmp_path):
    """SQLite looks at the cells of each page before it uses them."""
    file = f"sqlite:///{tmp_path}/store.db"
    open_store(file).close()
    with open_store(file, read=True) as store, reading(store.database) as connection:
        assert connection.exec_driver_sql("PRAGMA cell_size_check").scalar_one() == 1


def test_a_reader_makes_no_store(new_url, tmp_path):
    """If there is none, the error says so, and no file is made."""
    with pytest.raises(StoreError, match="there is no store"):
        open_store(new_url, read=True)
    assert not list(tmp_path.glob("*.db*"))


def set_revision(url, revision):
    """Mark a store as one of another schema."""
    with open_store(url) as store, store.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")


@pytest.fixture
def old(url):
    """Give a store that says it has the first schema."""
    set_revision(url, "0001")
    return url


def test_a_reader_migrates_nothing(old):
    """An older schema is refused with the command that brings it up, and stays as it is."""
    for _ in range(2):  # the first time changed nothing
        with pytest.raises(StoreError, match=r"older auditsvc \(0001\)") as caught:
            open_store(old, read=True)
        assert "auditsvc migrate" in caught.value.hint


def test_a_preview_of_the_forwarder_migrates_nothing(old):
    """`forward --dry-run` only looks: a second look finds the same."""
    for _ in range(2):
        done = commands.run("forward", "--dry-run", "--store", old, text=True)
        assert done.returncode == 1
        assert "auditsvc migrate" in done.stderr


ASKING = [
    ("query", "SELECT * FROM syscalls"),
    ("search", "-m", "ALL"),
    ("report", "--summary"),
    ("tree", "--session", "1"),
]
"""Commands that read a store, each by a way of its own."""


@pytest.fixture(params=["empty", "begun"])
def unfinished(request, new_url, tmp_path):
    """Give the URL of a store that another program is just making."""
    if new_url.startswith("sqlite"):
        path = tmp_path / "store.db"
        path.touch(0o600)
        if request.param == "begun":
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("CREATE TABLE alembic_version (version_num)")
                yield new_url
                return
        yield new_url
        return
    if request.param == "begun":
        engine = create_engine(parse_url(new_url))
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num text)")
            yield new_url
        engine.dispose()
        return
    yield new_url


@pytest.mark.parametrize("command", ASKING, ids=lambda each: each[0])
def test_who_reads_a_store_that_is_being_made_is_told_so(unfinished, command):
    """In one line that says what to do, not in the database's words."""
    done = commands.run(*command, "--store", unfinished, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()[-1:]
    assert "try again" in line, done.stderr
    assert "no such" not in done.stderr
    assert "relation" not in done.stderr


@pytest.mark.parametrize("kind", ["a view", "a column"])
def test_a_store_of_another_schema_that_lacks_something_is_named(old, kind):
    """A view that came later is asked for in an older store."""
    sql = "SELECT 1 FROM later" if kind == "a view" else "SELECT later FROM syscalls"
    with pytest.raises(StoreError, match=r"older auditsvc \(0001\)"), run_query(old, sql):
        pass
