"""`auditsvc.arrow.question`: SQLite's SQL for DuckDB."""

from __future__ import annotations

import duckdb
import pytest

from auditsvc.arrow.question import Question
from auditsvc.errors import QueryError

VIEWS = {"syscalls": ("event_id", "exe")}


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("VALUES (1, 'a'), (2, 'b')", [(1, "a"), (2, "b")]),
        ("-- a comment\nVALUES (1) -- another", [(1,)]),
        ("VALUES ((SELECT max(exe) FROM syscalls))", [("/bin/sh",)]),
    ],
)
def test_values_are_a_query_as_in_sqlite(sql, rows):
    """With SQLite's names of the columns."""
    question = Question(sql, VIEWS)
    with duckdb.connect() as duck:
        duck.execute("CREATE TABLE syscalls AS SELECT 1 AS event_id, '/bin/sh' AS exe")
        assert duck.execute(question.text).fetchall() == rows
    assert question.headings() == ("column1", "column2")[: len(rows[0])]


@pytest.mark.parametrize(
    "sql", ["VALUES", "VALUES (1)) x; DROP TABLE y; --", "VALUES (1); SELECT 1"]
)
def test_what_is_no_one_query_is_refused(sql):
    """Also if it begins as one."""
    with pytest.raises(QueryError):
        Question(sql, VIEWS)
