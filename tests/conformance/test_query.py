"""`auditsvc.store.read.sql`: one statement, nothing but reading, every format."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pytest
from fixtures.logs import load, opening, rows

from auditsvc.errors import QueryError, StoreError
from auditsvc.render.rows import Format, write_rows
from auditsvc.store.read.result import Result
from auditsvc.store.read.sql import run_query

pytestmark = pytest.mark.each_database


@pytest.fixture(scope="module")
def filled(common_url):
    """Give a store with three calls."""
    load(common_url, opening(1) + opening(2, nr=257) + opening(3))
    return common_url


WRITES = [
    "DELETE FROM syscall",
    "INSERT INTO host VALUES (1, 'x')",
    "UPDATE syscall SET exit = 0",
    "DROP VIEW syscalls",
    "CREATE TABLE mine (x int)",
    "SELECT 1; DELETE FROM syscall",
    "WITH gone AS (DELETE FROM host RETURNING *) SELECT * FROM gone",
    "BEGIN",
    "COMMIT",
    "VACUUM",
    "ATTACH DATABASE '/tmp/other.db' AS other",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 3",
    "PRAGMA wal_checkpoint",
    "SELECT load_extension('/tmp/x.so')",
    "SET default_transaction_read_only = off",
    "COPY (SELECT 1) TO PROGRAM 'touch /tmp/auditsvc-was-here'",
    "EXPLAIN ANALYZE DELETE FROM host; SELECT 1",
    "EXPLAIN SELECT 1; DELETE FROM host",
    "SELECT nextval('x')",
    "",
    " ; ",
]


@pytest.mark.parametrize("sql", WRITES)
def test_nothing_can_be_written(filled, sql):
    """SQL that would change the store, or is not one statement, is refused with one line."""
    with pytest.raises(QueryError) as caught, run_query(filled, sql) as result:
        list(result)
    assert "\n" not in str(caught.value)
    assert rows(filled, "SELECT count(*) AS n FROM syscalls") == [{"n": 3}]


@pytest.mark.postgres
def test_a_read_only_transaction_stays_one(postgres_url):
    """SQL that changes its own session cannot write."""
    load(postgres_url, opening(1))
    sql = "SELECT set_config('transaction_read_only', 'off', false)"
    with pytest.raises(QueryError, match="read-write"), run_query(postgres_url, sql) as result:
        list(result)


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT nothing FROM syscalls", "SELECT * FROM gone"])
def test_errors_are_the_databases_own(filled, sql):
    """A wrong statement gives the database's message, in one line."""
    with pytest.raises(QueryError, match=r"syntax|no such|does not exist") as caught:
        rows(filled, sql)
    assert "\n" not in str(caught.value)


def test_reading_statements_run(filled):
    """WITH, VALUES, a trailing semicolon, a comment, percent signs and EXPLAIN are fine."""
    assert rows(filled, "WITH x AS (SELECT 1 AS a) SELECT a FROM x;") == [{"a": 1}]
    assert rows(filled, "SELECT 5 % 3 AS a -- comment") == [{"a": 2}]
    assert rows(filled, "SELECT count(*) AS n FROM syscalls WHERE exe LIKE '%cat'") == [{"n": 3}]
    assert rows(filled, "EXPLAIN SELECT * FROM syscalls")
    assert len(rows(filled, "VALUES (1), (2)")) == 2


def test_json_columns_can_be_taken_apart(tmp_path):
    """SQLite's json_each works on argv and fields, although it is made at its first use."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, opening(1))
    assert rows(url, "SELECT value FROM json_each('[1, 2]')") == [{"value": 1}, {"value": 2}]


def test_rows_come_as_they_are_read(filled):
    """The first row of a hundred million is given at once."""
    big = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000000)"
        " SELECT x FROM n"
        if filled.startswith("sqlite")
        else "SELECT 1 AS x FROM generate_series(1, 10000) a, generate_series(1, 10000) b"
    )
    with run_query(filled, big) as result:
        assert next(iter(result))[0] == 1


def test_a_store_that_is_not_there(tmp_path):
    """A query never makes a store."""
    with pytest.raises(StoreError, match="there is no store"):
        rows(f"sqlite:///{tmp_path}/none.db", "SELECT 1")
    assert list(tmp_path.iterdir()) == []


def written(form, url, sql):
    """Give what a format writes."""
    out = io.StringIO()
    with run_query(url, sql) as result:
        write_rows(result, form, out)
    return out.getvalue()


COLUMNS = "SELECT serial, time, success, subj, key FROM syscalls ORDER BY serial"


def test_formats(filled):
    """CSV, JSON and JSON lines hold the same values, on both databases the same."""
    table = list(csv.reader(io.StringIO(written(Format.CSV, filled, COLUMNS))))
    assert table[0] == ["serial", "time", "success", "subj", "key"]
    assert table[1] == ["1", "2025-06-15 15:06:40.123", "1", "", "files"]
    objects = json.loads(written(Format.JSON, filled, COLUMNS))
    assert objects == [json.loads(x) for x in written(Format.JSONL, filled, COLUMNS).splitlines()]
    assert objects[0]["subj"] is None
    assert json.loads(written(Format.JSON, filled, "SELECT 1 AS a WHERE 1 = 0")) == []
    shown = written(Format.TABLE, filled, COLUMNS)
    assert "2025-06-15 15:06:40.123" in shown
    assert (
        written(Format.TABLE, filled, "SELECT 1 AS lonely WHERE 1 = 0").strip().startswith("lonely")
    )


def test_columns_of_one_name_keep_their_values():
    """No value is missing in an object because two columns have one name."""
    out = io.StringIO()
    write_rows(Result(("a", "a", "a_2"), [(1, 2, 3)]), Format.JSONL, out)
    assert sorted(json.loads(out.getvalue()).values()) == [1, 2, 3]


def test_a_table_writes_no_control_bytes():
    """A program's name cannot move the cursor of the terminal."""
    out = io.StringIO()
    evil = "\x1b[2Jgone\x9b31m\u202e[bold]"
    write_rows(Result(("comm", evil), [(evil, b"\x00\xff")]), Format.TABLE, out)
    assert "\x1b" not in out.getvalue()
    assert "\x9b" not in out.getvalue()
    assert r"\x1b[2Jgone\x9b31m\u202e[bold]" in out.getvalue()
    assert "00ff" in out.getvalue()


@pytest.mark.parametrize("form", list(Format))
def test_a_closed_pipe_is_no_error(tmp_path, form):
    """`| head` ends the query quietly."""
    program = (
        "import sys\nfrom auditsvc.render.rows import Format, write_rows\n"
        "from auditsvc.store.read.result import Result\n"
        f"write_rows(Result(('x',), (('y' * 100,) for _ in range(200000))), Format({form.value!r}),"
        " sys.stdout)\n"
    )
    read, write = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", program], stdout=write, stderr=subprocess.PIPE, cwd=tmp_path
    )
    os.close(write)
    os.read(read, 10)
    os.close(read)
    _, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (0, b"")
