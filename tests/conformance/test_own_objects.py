"""Foreign objects in a store's schema are named, and nothing is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from faults.test_service_faults import Run, stored
from fixtures.logs import Pipe, load, opening, rows
from fixtures.waiting import until
from sqlalchemy import Engine, event

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.errors import StoreError
from auditsvc.store import objects_postgres, open_store
from auditsvc.store.partitions import DAY

pytestmark = pytest.mark.each_database

SQLITE = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON syscall BEGIN DELETE FROM syscall; END",
    "trigger of a view": "CREATE TRIGGER t INSTEAD OF INSERT ON syscalls BEGIN SELECT 1; END",
    "changed view": "DROP VIEW syscalls; CREATE VIEW syscalls AS SELECT 1 AS serial",
    "view that leaves out": "DROP VIEW tamper; CREATE VIEW tamper AS SELECT * FROM events LIMIT 0",
    "view in a table's place": "ALTER TABLE raw RENAME TO r; CREATE VIEW raw AS SELECT * FROM r",
    "table": "CREATE TABLE theirs (x)",
    "virtual table": "CREATE VIRTUAL TABLE theirs USING fts5(x)",
    "index": "CREATE INDEX theirs ON syscall (serial)",
    "unique index": "CREATE UNIQUE INDEX theirs ON syscall (serial)",
    "index on an expression": "CREATE INDEX theirs ON text (upper(value))",
    "changed index": "DROP INDEX file_name; CREATE UNIQUE INDEX file_name ON file (name)",
    "column": "ALTER TABLE syscall ADD COLUMN theirs",
    "generated column": "ALTER TABLE syscall ADD COLUMN theirs AS (serial + 1)",
    "check": "ALTER TABLE raw RENAME TO r; "
    "CREATE TABLE raw (id INTEGER PRIMARY KEY, x CHECK (x > 1)); DROP TABLE r",
}


def _rewritten(table, ours, theirs):
    """Give what makes a table anew, with a part of its statement changed."""
    made = f"SELECT replace(sql, '{ours}', '{theirs}') FROM sqlite_schema WHERE name = '{table}'"
    return f"@{table}@{made}"


# A clause of a table's statement is no object, and most of them no pragma shows.
CLAUSES = {
    "table that drops rows": ("event", "ses BIGINT", "ses BIGINT NOT NULL ON CONFLICT IGNORE"),
    "table of few types": ("event", "(id)", "(id), UNIQUE (type) ON CONFLICT IGNORE"),
    "table that replaces": ("exec", "(event)", "(event) ON CONFLICT REPLACE"),
    "table with a hidden check": ("event", "ses BIGINT", "ses BIGINT CHECK/**/(ses > 1)"),
    "table of equal texts": ("text", "value TEXT NOT NULL", "value TEXT NOT NULL COLLATE NOCASE"),
    "table that deletes": ("exec", "argv BIGINT", "argv BIGINT REFERENCES text ON DELETE CASCADE"),
    "table with a default": ("event", "ses BIGINT", "ses BIGINT DEFAULT 7"),
    "table with another head": ("text", "substr(value, 1, 200 + 0)", "lower(value)"),
    "table of another type": ("event", "ses BIGINT", "ses TEXT"),
    "table with another key": ("event", "KEY (id)", "KEY (type)"),
}
SQLITE |= {what: _rewritten(*clause) for what, clause in CLAUSES.items()}
FIRST_DAY = f"FROM (0) TO ({DAY << SERIAL_BITS})"
POSTGRES = {
    "trigger": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
    "CREATE TRIGGER t BEFORE INSERT ON syscall FOR EACH ROW EXECUTE FUNCTION f()",
    "rule": "CREATE RULE r AS ON INSERT TO syscall DO INSTEAD NOTHING",
    "changed view": "DROP VIEW syscalls; CREATE VIEW syscalls AS SELECT 1 AS serial",
    "view that leaves out": "DROP VIEW tamper; CREATE VIEW tamper AS SELECT * FROM events LIMIT 0",
    "foreign table": "CREATE EXTENSION file_fdw; CREATE SERVER s FOREIGN DATA WRAPPER file_fdw;"
    "CREATE FOREIGN TABLE theirs (x text) SERVER s OPTIONS (filename '/dev/null')",
    "foreign table in place": "CREATE EXTENSION file_fdw;"
    "CREATE SERVER s FOREIGN DATA WRAPPER file_fdw; ALTER TABLE raw RENAME TO r;"
    "CREATE FOREIGN TABLE raw (x text) SERVER s OPTIONS (filename '/dev/null')",
    "table": "CREATE TABLE theirs (x int)",
    "part of a table": "CREATE SCHEMA s; CREATE TABLE s.theirs () INHERITS (raw)",
    "part elsewhere": "CREATE SCHEMA s;"
    f" CREATE TABLE s.syscall_19700101 PARTITION OF syscall FOR VALUES {FIRST_DAY}",
    "part with another name": f"CREATE TABLE theirs PARTITION OF syscall FOR VALUES {FIRST_DAY}",
    "trigger of a part": f"CREATE TABLE path_19700101 PARTITION OF path FOR VALUES {FIRST_DAY};"
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
    "CREATE TRIGGER t BEFORE INSERT ON path_19700101 FOR EACH ROW EXECUTE FUNCTION f()",
    "index of a part": f"CREATE TABLE path_19700101 PARTITION OF path FOR VALUES {FIRST_DAY};"
    "CREATE INDEX theirs ON path_19700101 (item)",
    "index": "CREATE INDEX theirs ON syscall (serial)",
    "index on an expression": "CREATE INDEX theirs ON text (upper(value))",
    "changed index": "DROP INDEX file_name; CREATE UNIQUE INDEX file_name ON file (name)",
    "changed index on time": "DROP INDEX syscall_time;"
    " CREATE INDEX syscall_time ON syscall ((to_timestamp((id >> 29)::float8)))",
    "index on time of another kind": "DROP INDEX event_time; CREATE INDEX event_time ON event"
    " USING brin ((to_timestamp((id >> 30)::float8 + ms::float8 / 1000)))",
    "row security": "ALTER TABLE syscall ENABLE ROW LEVEL SECURITY",
    "default": "ALTER TABLE syscall ALTER COLUMN serial SET DEFAULT 7",
    "check": "ALTER TABLE syscall ADD CHECK (serial > 0)",
    "column": "ALTER TABLE syscall ADD COLUMN theirs int",
    "column of a domain": "CREATE DOMAIN d AS text CHECK (VALUE <> 'x');"
    "ALTER TABLE raw ALTER reason TYPE d",
    "column of another type": "ALTER TABLE raw ALTER reason TYPE varchar(3)",
    "column of equal texts": "CREATE COLLATION nd (provider=icu, locale='und-u-ks-level2',"
    " deterministic=false); ALTER TABLE consumer ALTER name TYPE text COLLATE nd",
    "column with numbers": "ALTER TABLE raw ALTER id ADD GENERATED ALWAYS AS IDENTITY",
    "table that a crash empties": "ALTER TABLE raw SET UNLOGGED",
    "constraint of another key": "ALTER TABLE exec DROP CONSTRAINT exec_pkey;"
    "ALTER TABLE exec ADD CONSTRAINT exec_pkey PRIMARY KEY (event, argv)",
    "constraint with a name of ours": "ALTER TABLE ledger_entry"
    " ADD CONSTRAINT source_kind_name_ UNIQUE (cause)",
    "statistics": "CREATE FUNCTION f(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
    "CREATE STATISTICS theirs ON (f(reason)), reason FROM raw",
    "function in place of the server's": "CREATE FUNCTION to_timestamp(bigint)"
    " RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'",
    "operator in place of the server's": "CREATE FUNCTION f(text, bigint) RETURNS bool"
    " LANGUAGE sql AS 'SELECT true';"
    "CREATE OPERATOR = (LEFTARG = text, RIGHTARG = bigint, FUNCTION = f)",
}
# Of PostgreSQL's, those that are looked for in each transaction.
AT_WRITES = {
    *("trigger", "rule", "foreign table", "row security"),
    *("part of a table", "part elsewhere", "part with another name", "trigger of a part"),
}


def cases(which=None):
    """Each change with the kind of store that it is for; `which`: of PostgreSQL's, these."""
    return pytest.mark.parametrize(
        ("url", "what"),
        [
            *(("sqlite", what) for what in SQLITE),
            *(
                pytest.param("postgres", what, marks=pytest.mark.postgres)
                for what in POSTGRES
                if which is None or what in which
            ),
        ],
        indirect=["url"],
    )


def is_file(url):
    """Whether a store is an SQLite file."""
    return url.startswith("sqlite")


def do(url, script):
    """Change a store's schema as its owner."""
    if is_file(url):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            if script.startswith("@"):
                _, table, made = script.split("@")
                (new,) = connection.execute(made).fetchone()
                of_table = f"FROM sqlite_schema WHERE tbl_name = '{table}' AND type = 'index'"
                indexes = connection.execute(f"SELECT sql {of_table} AND sql NOT NULL").fetchall()
                parts = [f"DROP TABLE {table}", new, *(sql for (sql,) in indexes)]
                script = "PRAGMA legacy_alter_table = 1;" + ";".join(parts)
            connection.executescript(script)
        return
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute(script)
        except (psycopg.errors.UndefinedFile, psycopg.errors.FeatureNotSupported) as error:
            pytest.skip(f"the server lacks it: {error}")


def changes(url):
    """Give the ways in which a store of this kind can be changed."""
    return SQLITE if is_file(url) else POSTGRES


@cases()
def test_it_is_refused_at_the_opening(url, what):
    """Before a row, a migration or a secret is written; the line names it."""
    do(url, changes(url)[what])
    with pytest.raises(StoreError, match="auditsvc did not make: ") as caught:
        open_store(url)
    kind = (
        what.split()[-1] if what.startswith(("changed", "generated", "unique")) else what.split()[0]
    )
    named = caught.value.what.partition("did not make: ")[2]
    assert {"part": "table", "check": "c"}.get(kind, kind) in named
    assert "\n" not in str(caught.value)


@cases(AT_WRITES)
def test_it_is_refused_while_the_store_is_open(url, what):
    """A change during a run is found before the next transaction writes."""
    with closing(Pipe(url)) as pipe:
        pipe.load(opening(1))
        do(url, changes(url)[what])
        with pytest.raises(StoreError, match="auditsvc did not make"):
            pipe.load(opening(1) + opening(2))
        with pytest.raises(StoreError, match="auditsvc did not make"):
            pipe.load(opening(1) + opening(2))


def test_a_store_that_a_newer_program_brought_up_is_told_as_that(tmp_path):
    """As by an upgrade of the package, before its service is started again."""
    url = f"sqlite:///{tmp_path}/store.db"
    with closing(Pipe(url)) as pipe:
        pipe.load(opening(1))
        do(url, "CREATE TABLE newer (n); UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(StoreError, match="was brought to schema 9999 while it was open"):
            pipe.load(opening(1) + opening(2))


def test_a_view_that_was_dropped_is_made_again(url):
    """So a changed view only has to be dropped."""
    load(url, opening(1))
    do(url, "DROP VIEW syscalls")
    open_store(url).close()
    assert stored(url) == (1, 1)


def test_further_views_are_the_administrators(url):
    """They are permitted."""
    do(url, "CREATE VIEW execs AS SELECT * FROM syscalls WHERE syscall = 'execve'")
    load(url, opening(1))
    assert rows(url, "SELECT * FROM execs") == []


def test_what_a_trigger_would_have_taken_is_stored_later(tmp_path):
    """The service says what it is, and stores everything once it is dropped."""
    url = f"sqlite:///{tmp_path}/store.db"
    open_store(url).close()
    do(url, SQLITE["trigger"])
    run = Run(tmp_path, url)
    run.wait_ready()
    run.feed(100)
    until(lambda: "trigger t on syscall" in (run.state("store_trouble") or ""))
    do(url, "DROP TRIGGER t")
    until(lambda: run.state("store_trouble") == "")
    assert run.end()[0] == 0
    assert stored(url) == (100, 100)


def test_a_log_that_is_deleted_while_the_store_is_open_is_told(tmp_path):
    """SQLite would continue to write into a deleted file, which nobody else can read."""
    url = f"sqlite:///{tmp_path}/store.db"
    run = Run(tmp_path, url)
    run.wait_ready()
    run.feed(100)
    until(lambda: run.state("spool_waiting") == 0 and run.state("records"))
    Path(tmp_path, "store.db-wal").unlink()
    run.feed(100)
    status, said = run.end()
    assert "write-ahead log" in said
    assert "deleted or replaced" in said
    assert status == 0, said
    assert stored(url) == (200, 200)


@pytest.mark.postgres
def test_a_server_is_asked_once_what_it_makes_of_our_views(
    postgres_url, monkeypatch, compared_once
):
    """A process that opens a store again compares it with that; a change is found as before."""
    for name, own in compared_once.items():
        monkeypatch.setattr(objects_postgres, name, own)
    for known in ("_UNCHANGED", "_UNCHANGED_INDEXES"):
        monkeypatch.setattr(objects_postgres, known, {})
    trials = []

    def note(_connection, _cursor, statement, *_):
        trials.extend(kind for kind in ("VIEW", "TABLE") if f"CREATE TEMPORARY {kind}" in statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        open_store(postgres_url).close()
        assert "VIEW" in trials
        assert "TABLE" in trials
        trials.clear()
        open_store(postgres_url).close()
        assert trials == []
        for what in ("view that leaves out", "changed index on time"):
            do(postgres_url, POSTGRES[what])
            with pytest.raises(StoreError, match="auditsvc did not make"):
                open_store(postgres_url)
            assert trials
            trials.clear()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
