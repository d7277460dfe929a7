"""A query in SQLite's SQL, read for DuckDB: which views it asks, of which times, and its text.

    question = Question("SELECT exe, count(*) FROM syscalls GROUP BY exe", views)
    question.text      the same in DuckDB's words
    question.spans     for each view that it asks the seconds that its conditions leave
    question.columns   for each view the columns that it may need
    question.headings()    what SQLite calls the columns of its answer

One SELECT (or VALUES, WITH, EXPLAIN of one); QueryError for anything else.
"""

from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from auditsvc.errors import QueryError
from auditsvc.store.read import time_query
from auditsvc.store.read.result import ONLY_READS
from auditsvc.store.read.time_span import ALL, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# It warns of paths into JSON that count from the end, which it leaves as DuckDB reads them.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


class Question:
    """A query, which views it asks, and in DuckDB's words."""

    def __init__(
        self,
        sql: str,
        views: Mapping[str, Sequence[str]],
        period: Span = ALL,
        change: Callable[[exp.Expr], exp.Expr] = lambda root: root,
    ) -> None:
        """`views`: their columns; `change`: what else is to be done with the parsed query."""
        head, body = time_query.split(sql.strip().rstrip(";"))
        if not body.strip():
            raise QueryError("the SQL is empty", "try: SELECT * FROM syscalls LIMIT 10")
        try:
            body.encode()
            statement = time_query.parse(body, "sqlite", views)
            if statement is None and _is_values(body):
                body_as_table = f"SELECT * FROM ({body}\n) given"  # noqa: S608 - asked as it is
                statement = time_query.parse(body_as_table, "sqlite", views)
            if statement is None:
                raise QueryError("the SQL cannot be read, or is not a SELECT", ONLY_READS)
            statement.period = period
            time_query.put_ranges(statement, datetime.now(UTC), _Clock(views))
            statement.dialect = "duckdb"  # SQLite's hints mean nothing to it
            self.spans = self._spans(statement, views)
            root = change(sqlglot.parse_one(statement.written(), read="sqlite"))
            self.columns = _named(root, views)
            text = root.transform(_as_duckdb).sql("duckdb")
        except (SqlglotError, RecursionError, UnicodeError) as error:
            raise QueryError("the SQL cannot be read", str(error).partition("\n")[0]) from error
        self.text = f"EXPLAIN {text}" if head else text
        self._asked, self._views = "" if head else body, views

    def headings(self) -> tuple[str, ...]:
        """Give SQLite's names of the columns, as `count(*)`; () if SQLite does not say."""
        connection = sqlite3.connect(":memory:")
        try:
            for view, columns in self._views.items():
                listed = ", ".join(f'"{name}"' for name in columns)
                connection.execute(f'CREATE TABLE "{view}" ({listed})')
            # No table has a row; it may go on for ever, or make a long text, all the same.
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
            connection.set_progress_handler(lambda: 1, _MOST_STEPS)
            found = connection.execute(self._asked).description or ()
        except (sqlite3.Error, sqlite3.Warning, ValueError):
            return ()
        finally:
            connection.close()
        return tuple(each[0] for each in found)

    @staticmethod
    def _spans(
        statement: time_query.Statement, views: Mapping[str, Sequence[str]]
    ) -> dict[str, Span]:
        """Give for each view the seconds of which it is asked."""
        found: dict[str, Span] = {}
        for table in statement.root.find_all(exp.Table):
            name = table.name.lower()
            if name not in views:
                continue
            span = statement.spans.get(id(table), ALL)
            if statement.is_view(table):
                span = span.both(statement.period)
            found[name] = found[name].either(span) if name in found else span
        return found


_MOST_STEPS: Final = 1_000_000
"""Of SQLite's machine, for an answer without rows: some 10 ms."""
_LONGEST: Final = 1 << 20
"""Bytes of a value, and of a query, that SQLite makes for that."""


def _is_values(sql: str) -> bool:
    roots = sqlglot.parse(sql, read="sqlite")
    return len(roots) == 1 and isinstance(roots[0], exp.Values)


class _Clock:
    """What the query's ranges need of a store (`auditsvc.store.read.time_query`).

    Only what SQLite says of a constant, as `datetime('now', '-1 day')`.
    """

    def __init__(self, columns: Mapping[str, Sequence[str]]) -> None:
        self.columns = columns

    @staticmethod
    def ask(sql: str) -> object:
        """Give the value of an expression without a table; None for any other."""
        return _constant(sql)

    @staticmethod
    def count(sql: str) -> int:
        """Give 0: it is not known."""
        del sql
        return 0

    @staticmethod
    def moment(sql: str) -> time_query.Moment | None:
        """Give None: it is not known."""
        del sql
        return None


def _constant(sql: str) -> object:
    """Give the value of a query on SQLite that reads no table; None if it is another."""
    connection = sqlite3.connect(":memory:")
    try:
        found = connection.execute(sql).fetchone()
        return None if found is None else found[0]
    except sqlite3.Error:
        return None
    finally:
        connection.close()


def _named(root: exp.Expr, views: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Give for each view the columns that the query may need."""
    words = {each.name.lower() for each in root.find_all(exp.Identifier)}
    tables = {each.alias_or_name.lower() for each in root.find_all(exp.Table)}
    stars = any(not isinstance(each.parent, exp.Count) for each in root.find_all(exp.Star))
    natural = any(each.method for each in root.find_all(exp.Join))
    rows = any(each.name.lower() in tables for each in root.find_all(exp.Column))
    if stars or natural or rows:
        return {view: set(columns) for view, columns in views.items()}
    return {
        view: {each for each in columns if each in words} | {columns[0]}
        for view, columns in views.items()
    }


_HINTS: Final = ("likelihood", "likely", "unlikely")
"""Functions by which SQLite's planner is told how many rows there are."""


def _as_duckdb(node: exp.Expr) -> exp.Expr:
    """Write what has the same form in both, and another meaning."""
    if type(node) is exp.Like:  # SQLite's does not distinguish upper and lower case
        return exp.ILike(this=node.this, expression=node.expression)
    if isinstance(node, exp.Anonymous) and node.name.lower() in _HINTS:
        told: exp.Expr = node.expressions[0]
        return told
    if isinstance(node, exp.JSONExtractScalar | exp.JSONExtract) and not isinstance(
        node.parent, exp.Paren
    ):  # binds less than a comparison there
        return exp.Paren(this=node)
    return node
