"""A query that only counts calls is answered from their counts, and the answer is the same."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing

import psycopg
import pytest
from fixtures.logs import SECOND, call, load, opening
from fixtures.repeats import seeds

from auditsvc.errors import QueryError
from auditsvc.store.read.count_query import SHARED, counted
from auditsvc.store.read.sql import run_query
from auditsvc.store.read.sql_postgres import _view_columns
from auditsvc.store.read.time_span import ALL, Span
from auditsvc.store.read.time_sqlite import with_ranges

COUNTED = [
    "SELECT count(*) FROM syscalls",
    "SELECT COUNT( * ) FROM syscalls WHERE exe = '/usr/bin/cat' AND success = {no}",
    "SELECT count(1) AS n FROM syscalls s WHERE s.uid = 1000",
    "SELECT count(*) FROM syscalls WHERE exe = 'none'",
    "SELECT exe, count(*) AS calls FROM syscalls GROUP BY exe ORDER BY count(*) DESC, exe LIMIT 3",
    "SELECT exe AS program, count(*) AS n FROM syscalls GROUP BY program ORDER BY n DESC, program",
    "SELECT exe AS exe, max(uid) FROM syscalls GROUP BY exe ORDER BY exe",
    "SELECT syscall AS name, count(*) FROM syscalls GROUP BY 1 HAVING count(*) > 2 ORDER BY name",
    "SELECT DISTINCT exe FROM syscalls WHERE key IS NOT NULL ORDER BY exe",
    "SELECT count(DISTINCT comm), min(exe), max(syscall) FROM syscalls",
    "SELECT n FROM (SELECT uid, count(*) AS n FROM syscalls GROUP BY uid) u ORDER BY n",
    "WITH a AS (SELECT auid, count(*) AS n FROM syscalls GROUP BY auid) SELECT max(n) FROM a",
    "SELECT exe, count(*) AS calls FROM syscalls GROUP BY exe ORDER BY calls DESC, exe",
    "SELECT count(*) FROM story",
    "SELECT count(*) AS n, count(1) FROM all_events e",
    "SELECT n + 1 AS n FROM (SELECT count(*) AS n FROM story) s",
]
AS_WRITTEN = [
    "SELECT exe FROM syscalls",
    "SELECT count(*) FROM syscalls WHERE pid = 3",
    "SELECT count(exit) FROM syscalls",
    "SELECT sum(uid) FROM syscalls",
    "SELECT count(*) * 2 FROM syscalls",
    "SELECT count(*), count(*) OVER () FROM syscalls GROUP BY exe",
    "SELECT count(*) FROM syscalls JOIN paths USING (event_id)",
    "SELECT count(*) FROM syscalls, paths",
    "SELECT (SELECT count(*) FROM syscalls s WHERE s.exe = o.exe) FROM syscalls o",
    "SELECT count(*) FROM syscalls WHERE time > '2001-01-01'",
    "SELECT count(*) FROM syscalls WHERE uid IN (SELECT uid FROM events)",
    "WITH syscalls AS (SELECT 1 AS uid) SELECT count(*) FROM syscalls",
    "SELECT exe AS uid, count(*) FROM syscalls GROUP BY uid",
    "SELECT DISTINCT exe, pid FROM syscalls",
    "SELECT * FROM syscalls WHERE uid = 1",
    "SELECT count(*) FILTER (WHERE uid = 0) FROM syscalls",
    "SELECT max(time) AS time FROM syscalls",
    "SELECT max(n) AS n FROM (SELECT max(pid) AS n FROM syscalls)",
    "SELECT count(DISTINCT pid) AS pid FROM syscalls",
    "SELECT exe AS pid, count(*) FROM syscalls GROUP BY pid, exe",
    "SELECT exe AS pid, count(*) FROM syscalls GROUP BY exe ORDER BY pid",
    "SELECT count(*) AS exit FROM syscalls GROUP BY exe HAVING max(exit) = 0",
    "SELECT count(*) AS n FROM syscalls GROUP BY exe ORDER BY max(pid)",
    "SELECT count(*) FROM story WHERE pid = 3",
    "SELECT count(*), max(pid) FROM all_events",
    "SELECT count(*) + 1 AS n FROM story",
    "SELECT count(object) FROM story",
    "SELECT count(*) FROM story, events",
    "SELECT count(*) FROM story GROUP BY pid",
    "WITH events AS (SELECT 1 AS a) SELECT count(*) FROM story",
    "WITH story AS (SELECT 1 AS a) SELECT count(*) FROM story",
    "SELECT exe AS hour, count(*) FROM syscalls GROUP BY hour",
    "SELECT exe AS calls, count(*) FROM syscalls GROUP BY calls",
    "SELECT exe, count(*) AS calls FROM syscalls GROUP BY exe HAVING calls > 3",
    "SELECT exe, count(*) AS calls FROM syscalls GROUP BY exe ORDER BY -calls",
]


@pytest.fixture(scope="module")
def filled(common_url):
    """Fill a store with calls of many kinds, two hosts, and one event that came twice."""
    chance = random.Random(20251129)
    lines = []
    for serial in range(200):
        failed = {"success": "no", "exit": str(-chance.choice((2, 13)))}
        how = chance.choice(({}, {}, failed, {"success": None}))
        who = {
            "uid": chance.choice((0, 1000)),
            "auid": chance.choice((None, 1000, 1001)),
            "nr": chance.choice((2, 59, 257)),
            "exe": chance.choice(('"/usr/bin/cat"', '"/usr/bin/ls"', "2F746D702F6120")),
            "key": chance.choice((None, '"files"', '"x"')),
            "pid": chance.randrange(4),
            "second": SECOND + chance.choice((0, 1, 7200)),
        }
        who = {name: value for name, value in who.items() if value is not None or name == "key"}
        lines.append(call(serial, **who, **how))
    load(common_url, "".join(lines))
    load(common_url, "".join(lines[:20]) + opening(900), "again")
    load(common_url, call(1000) + call(1001, success="no", exit="-1"), "other", host="second")
    return common_url


def plain(url, sql):
    """Ask as another program does, which changes nothing of the query."""
    reach = sqlite3.connect if url.startswith("sqlite") else psycopg.connect
    with closing(reach(url.removeprefix("sqlite:///"))) as connection:
        cursor = connection.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def asked(url, sql, period=ALL):
    """Ask through auditsvc."""
    with run_query(url, sql, period=period) as result:
        return result.columns, [tuple(row) for row in result.rows]


def written(url, sql):
    """Give the SQL that is run."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            return with_ranges(connection, sql, ALL)
    with psycopg.connect(url) as connection:
        return counted(sql, "postgres", _view_columns(connection))


def _for(url, sql):
    return sql.replace("{no}", "0" if url.startswith("sqlite") else "false")


@pytest.mark.parametrize("sql", COUNTED)
def test_what_only_counts_reads_the_counts(filled, sql):
    """With the same names of columns and the same rows."""
    sql = _for(filled, sql)
    assert "activity" in written(filled, sql)
    before = plain(filled, sql)
    columns, found = asked(filled, sql)
    assert [dict(zip(columns, row, strict=True)) for row in found] == before


@pytest.mark.parametrize("sql", AS_WRITTEN)
def test_all_else_stays_as_it_is(filled, sql):
    """A condition that the counts do not know, or rows that are calls."""
    assert "activity" not in written(filled, _for(filled, sql))


@pytest.mark.parametrize("seed", seeds(2, 12))
def test_random_counts(filled, seed):
    """Any choice of columns, conditions and groups."""
    chance = random.Random(seed)
    for _ in range(25):
        columns = chance.sample(sorted(SHARED), chance.randrange(4))
        conditions = [_condition(chance, filled) for _ in range(chance.randrange(3))]
        where = f" WHERE {chance.choice((' AND ', ' OR ')).join(conditions)}" if conditions else ""
        having = chance.choice(("", "", " HAVING count(*) > 3")) if columns else ""
        group = f" GROUP BY {', '.join(columns)}" if columns else ""
        shown = ", ".join([*columns, chance.choice(("count(*)", "count(*) AS n", "count(1) c"))])
        sql = f"SELECT {shown} FROM syscalls{where}{group}{having}"
        assert "activity" in written(filled, sql)
        names, found = asked(filled, sql)
        before = plain(filled, sql)
        if before:
            assert list(names) == list(before[0])
        assert Counter(found) == Counter(tuple(row.values()) for row in before), sql


NAMES = [
    *("activity", "Activity", '"activity"', '"ACTIVITY"', "syscalls", "SYSCALLS", '"Syscalls"'),
    *("story", "all_events", "events", "context_row", "activity_part", "activity_row", "context"),
    *("syscall", "text", "counted", "a", "changes", "files"),
]
"""What the queries that we write read, or call something, and the views that they replace."""
ALIASES = [*sorted(SHARED), "hour", "calls", "activity", "n", "counted", "syscalls", "errno"]


@pytest.mark.parametrize("seed", seeds(2, 30))
def test_a_users_own_names_are_read_where_they_are_given(filled, seed):
    """CTEs and aliases with the names that a changed query has: the answer is the plain one's."""
    chance = random.Random(seed)
    asked_for = [_with_names(chance) for _ in range(20)]
    for sql in asked_for:
        known = _answer(plain, filled, sql)
        assert _answer(lambda *given: [*_dicts(*asked(*given))], filled, sql) == known, sql
        within = _answer(lambda *given: [*_dicts(*asked(*given, Span(1, SECOND * 2)))], filled, sql)
        assert within == known, sql


def _with_names(chance):
    """Give a query of two CTEs at most, each of which may count and have any of the names."""
    ctes = []
    for _ in range(chance.randrange(3)):
        name, columns = chance.choice(NAMES), chance.choice(("", "(exe)", "(exe, calls)"))
        body = {"": [_made(), _counting(chance)]}.get(columns, [_made(columns.count(",") + 1)])
        own = f"SELECT 'w' AS exe UNION SELECT DISTINCT exe FROM {name}"
        body = chance.choice([*body, own] if columns == "(exe)" else body)
        ctes.append(f"{name}{columns} AS ({body})")
    start = f"WITH {chance.choice(('', 'RECURSIVE '))}{', '.join(ctes)} " if ctes else ""
    inner = _counting(chance)
    shape = chance.choice(("{}", "SELECT * FROM ({}) z", "SELECT count(*) AS n FROM ({}) activity"))
    if chance.randrange(4):
        return start + shape.format(inner)
    return shape.format(start + inner)


def _made(width=2):
    return f"SELECT 'mine' AS exe{', 7 AS calls' if width == 2 else ''}"


def _counting(chance):
    """Give a query that counts what has a name, perhaps by a column with an alias."""
    source, alias = chance.choice(["syscalls"] * 6 + NAMES), chance.choice(ALIASES)
    count = f"count(*) AS {chance.choice(ALIASES)}"
    order = chance.choice(("", "", f" HAVING {alias} > 1", f" ORDER BY {alias}"))
    return chance.choice(
        (
            f"SELECT {count} FROM {source}",
            f"SELECT {count} FROM {source} WHERE exe LIKE '/usr%'",
            f"SELECT exe, count(*) AS {alias} FROM {source} GROUP BY exe{order}",
            f"SELECT exe AS {alias}, {count} FROM {source} GROUP BY {alias}{order}",
            f"SELECT DISTINCT exe FROM {source}",
        )
    )


def _dicts(columns, found):
    return (dict(zip(columns, row, strict=True)) for row in found)


def _answer(ask, url, sql):
    """Give the rows, in no order; "refused" for what the database does not take."""
    try:
        found = ask(url, sql)
    except (sqlite3.Error, psycopg.Error, QueryError):
        return "refused"
    return Counter(repr(sorted(row.items())) for row in found)


def _condition(chance, url):
    yes = "1" if url.startswith("sqlite") else "true"
    return chance.choice(
        (
            "exe = '/usr/bin/cat'",
            "exe LIKE '%ls'",
            "key IS NULL",
            "NOT (key = 'x')",
            "uid IN (0, 7)",
            "auid BETWEEN 1000 AND 1001",
            f"success = {yes}",
            "success IS NULL",
            "syscall <> 'open'",
            "host = 'second'",
            "lower(comm) = 'cat'",
        )
    )
