"""A store that an older program made is brought up, and keeps what it holds."""

from __future__ import annotations

import re

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fixtures.activity import differs
from fixtures.first_program import write_as_the_first_program
from fixtures.logs import LOOKED_UP, SECOND, call, everything, load, login, opening, rows, told_of
from sqlalchemy import inspect

from auditsvc.errors import StoreError
from auditsvc.store import migrate, moving, open_store
from auditsvc.store.migrate import revisions
from auditsvc.store.read.feed import Feed
from auditsvc.store.read.selection import Selection
from auditsvc.store.read.sql import run_query
from auditsvc.store.schema import TIME_INDEX, metadata

# The column that SQLite computes for its index is none that is written; the other names are of
# indexes of one database alone.
OF_ONE_DATABASE = (
    *(
        "head",
        "text_head",
        "text_value",
        "settled",
        "path_file",
        "path_recent",
        "sockaddr_address",
        "sockaddr_recent",
        "activity_hour",
        "event_user_login",
    ),
    *TIME_INDEX,
)
DATED = re.compile(r"_[0-9]{8}")
"""Partitions and their indexes."""
COMPARED = {
    "compare_type": True,
    "include_object": lambda _, name, *__: name not in OF_ONE_DATABASE and not DATED.search(name),
}
LOG = opening(1) + opening(2, second=SECOND + 1)


@pytest.fixture
def make_old(new_url, monkeypatch):
    """Give what makes a store of schema 0001 with an event for each kind of source named."""

    def make(*kinds):
        _make_old(new_url, monkeypatch, kinds)
        return new_url

    return make


@pytest.fixture
def old(make_old):
    """Give a store of schema 0001 with two events, as the first program left it."""
    return make_old("file")


def _make_old(new_url, monkeypatch, kinds):
    with monkeypatch.context() as first:
        write_as_the_first_program(first)
        for n, kind in enumerate(kinds):
            load(new_url, LOG if not n else opening(10 + n), f"log{n}" if n else "log", kind=kind)


def _has_processes(url, before):
    """The processes of what was there are made from it; nobody had recorded names or groups."""
    process = (SECOND << 30) + (123 >> 2 << 22) + 100
    told = dict.fromkeys(LOOKED_UP) | {"process_id": process}
    assert [told_of(url, row["event_id"]) for row in before["syscalls"]] == [told, told]


@pytest.mark.one_database
def test_from_the_first_schema(old):
    """Nothing is lost, the schema is this program's, and a log goes on where it was left."""
    before = everything(old)
    assert len(before["syscalls"]) == 2
    assert migrate(old).endswith(f"schema {revisions()[-1]}, before: 0001")
    assert everything(old) == before
    _has_processes(old, before)
    name = before["paths"][0]["name"]
    by_name = rows(old, f"SELECT event_id FROM paths WHERE name = '{name}'")
    assert len(by_name) == sum(row["name"] == name for row in before["paths"])
    assert rows(old, "SELECT sum(calls) AS n FROM activity") == [{"n": 2}]
    assert differs(old) == []
    with open_store(old) as store, store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=COMPARED)
        assert compare_metadata(context, metadata) == []
        if store.engine.dialect.name == "postgresql":
            there = {index["name"] for index in inspect(store.engine).get_indexes("syscall")}
            assert "syscall_time" in there
    load(old, LOG + opening(3))
    assert [row["serial"] for row in rows(old, "SELECT serial FROM syscalls ORDER BY 1")] == [
        1,
        2,
        3,
    ]


ALONE = pytest.mark.parametrize(
    "new_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
SOME_DAYS = "".join(
    opening(n, second=SECOND + n * 9000, a1=value) + login(100 + n, second=SECOND + n * 9000)
    for n, value in enumerate(("0", "7", "80", "ff00", "7fff12345678", "ffffffffffffff9c"), 1)
)


@ALONE
def test_moving_rows_into_partitions_goes_on_where_it_was_killed(make_old, monkeypatch):
    """Any number of times, each after a few events; nothing is lost, and nothing twice."""
    url = make_old("file")
    with monkeypatch.context() as first:
        write_as_the_first_program(first)
        load(url, SOME_DAYS, "days")
    before = everything(url)
    monkeypatch.setattr(moving, "_ROWS", 2)
    seen = []

    def killed(what, done, total):
        if what == "schema":
            return
        seen.append((done, total))
        raise KeyboardInterrupt

    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            migrate(url, progress=killed)
        assert everything(url) == before  # as clients see it meanwhile
        with pytest.raises(StoreError, match="its rows are just moved to a newer schema"):
            open_store(url, read=True)
    assert seen == [(0, 14)] * 4  # told before the first step of each
    seen.clear()

    def killed_later(what, done, total):
        if what == "schema":
            return
        seen.append((done, total))
        if len(seen) % 3 == 0:
            raise KeyboardInterrupt

    while True:
        try:
            migrate(url, progress=killed_later)
        except KeyboardInterrupt:
            continue
        break
    assert everything(url) == before
    assert seen[-1] == (14, 14)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 6
    names = {row["n"] for row in rows(url, "SELECT relname AS n FROM pg_class")}
    assert {"syscall_20250615", "syscall_20250616", "record_20250616"} <= names
    assert not [name for name in names if name.startswith("earlier_")]
    load(url, SOME_DAYS, "days again")
    assert everything(url)["syscalls"] == before["syscalls"]


@pytest.mark.one_database
def test_a_reader_of_a_store_that_was_brought_up(old):
    """It begins with what comes from then on, as in a new store."""
    with open_store(old) as store:
        assert inspect(store.engine).has_table("consumer")
        feed = Feed(store, "journal")
        assert feed.ids(Selection(), 10).ids == []
        load(old, LOG + call(3) + call(4, second=SECOND - 500))
        found = feed.fetch(feed.ids(Selection(), 10).ids)
        assert sorted(event.syscall["serial"] for event in found) == [3, 4]


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        (("spool",), {("spool", "log")}),
        (("file",), {("file", "log")}),
        (("spool", "file"), {(None, None)}),
        (("file", "journal"), {(None, None)}),
    ],
)
def test_sources_of_events_that_were_there(make_old, kinds, found):
    """Of one source alone it is known that they are its; of several, said that it is not known."""
    url = make_old(*kinds)
    migrate(url)
    load(url, opening(90, second=SECOND + 9), "new", kind="file")
    told = rows(url, "SELECT kind, source FROM origins ORDER BY event_id")
    assert {(row["kind"], row["source"]) for row in told[:-1]} == found
    assert (told[-1]["kind"], told[-1]["source"]) == ("file", "new")


def test_questions_before_it_is_brought_up(old):
    """What only reads works on the old schema too."""
    sql = "SELECT count(*) AS n FROM syscalls"
    assert rows(old, sql) == [{"n": 2}]
    with run_query(old, sql) as result:
        assert [tuple(row) for row in result.rows] == [(2,)]


@pytest.mark.one_database
def test_a_migration_that_is_interrupted_continues(old, monkeypatch):
    """At each revision: what is done stays, the store is refused as older, nothing is lost."""
    before = everything(old)
    known = revisions()
    stops = []
    upgrade = command.upgrade

    def stop(config, revision):
        upgrade(config, revision)
        if revision not in stops:
            stops.append(revision)
            raise StoreError("killed")

    monkeypatch.setattr(command, "upgrade", stop)
    seen = []
    for _ in known[1:]:
        with pytest.raises(StoreError, match="killed"):
            migrate(old, progress=lambda what, *of: seen.append(of) if what == "schema" else None)
        with pytest.raises(StoreError, match="of an older auditsvc"):
            open_store(old, read=True)
    assert migrate(old).endswith(f"before: {known[-2]}")
    assert stops == known[1:]
    assert seen == [(done, len(known)) for done in range(2, len(known))]
    assert everything(old) == before
    _has_processes(old, before)
    assert differs(old) == []
