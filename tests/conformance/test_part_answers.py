"""A sum over a view of several parts makes only the columns it names; the answer is the same."""

from __future__ import annotations

import random
import sqlite3

import pytest
from fixtures.logs import SECOND, call, load, opening, record
from fixtures.repeats import seeds

from auditsvc.store.read.parsed import OF_PARTS
from auditsvc.store.read.sql import run_query
from auditsvc.store.read.time_span import ALL
from auditsvc.store.read.time_sqlite import with_ranges

CHANGED = [
    "SELECT count(*) FROM changes",
    "SELECT what, count(*) AS n FROM changes WHERE auid = 1001 GROUP BY what ORDER BY n DESC, what",
    "SELECT f.action, count(*), max(f.uid) FROM files f WHERE f.auid > 1 GROUP BY 1 ORDER BY 1",
    "SELECT DISTINCT outcome FROM story WHERE uid IS NOT NULL ORDER BY outcome",
    "SELECT max(time) FROM all_events -- the last\n",
    "SELECT count(DISTINCT address) AS n FROM connections c WHERE c.port BETWEEN 1 AND 9 LIMIT 1",
    "SELECT n FROM (SELECT how, count(*) AS n FROM commands GROUP BY how) h ORDER BY n",
    "WITH a AS (SELECT type, count(*) AS n FROM records GROUP BY type) SELECT max(n) FROM a",
    "SELECT pid AS auid, count(*) FROM denials GROUP BY auid HAVING count(*) > 0 ORDER BY auid",
    "SELECT count(*) FROM story WHERE time >= '2001-01-01'",
    "SELECT substr(time, 1, 13) AS hour, count(*) FROM files GROUP BY hour ORDER BY hour",
    "SELECT count(*) FROM changes UNION ALL SELECT count(*) FROM files",
]
AS_WRITTEN = [
    "SELECT what FROM changes",
    "SELECT * FROM files",
    "SELECT count(*) FROM syscalls",
    "SELECT count(*) FROM files JOIN events USING (event_id)",
    "SELECT count(*) FROM files, changes",
    "SELECT count(*) FROM files WHERE uid IN (SELECT uid FROM changes)",
    "SELECT length(path) AS long, count(*) FROM files WHERE long > 3 GROUP BY long",
    "SELECT count(*), count(*) OVER () FROM files GROUP BY path",
    "WITH files AS (SELECT 1 AS uid) SELECT count(*) FROM files",
]


def log():
    """Give some of each kind."""
    made = ""
    for n in range(40):
        where = {"second": SECOND + n}
        head = f"pid={70 + n % 3} uid=0 auid={1000 + n % 4} ses=3"
        match n % 5:
            case 0:
                made += opening(n, f"/etc/f{n % 7}", auid=1000 + n % 3, **where)
            case 1:
                made += call(n, nr=165, auid=1001, items=0, **where)
                made += call(1000 + n, nr=44, items=0, **where)
                said = f'auid=1001 ses=3 op=add_rule key="k{n}" list=4 res=1'
                made += record("CONFIG_CHANGE", 1000 + n, said, **where)
            case 2:
                said = f'{head} msg=\'op=add acct="u{n}" exe="/usr/sbin/useradd" res=success\''
                made += record("ADD_USER", n, said, **where)
            case 3:
                said = f'{head} msg=\'cwd="/root" cmd=6C73 exe="/usr/bin/sudo" terminal=pts/0'
                made += record("USER_CMD", n, f"{said} res=success'", **where)
            case _:
                made += call(n, nr=42, items=0, **where)
                made += record("SOCKADDR", n, f"saddr=0200{n:04X}0A0000010000000000000000", **where)
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Give the path of a store with some of each."""
    path = tmp_path_factory.mktemp("parts") / "store.db"
    load(f"sqlite:///{path}", log())
    return path


def written(store, sql):
    """Give the query as it is asked."""
    connection = sqlite3.connect(store)
    try:
        return with_ranges(connection, sql, ALL)
    finally:
        connection.close()


def answers(store, sql):
    """Give the rows, and the names of the columns, as it is asked and as it is written."""
    with run_query(f"sqlite:///{store}", sql) as result:
        asked = list(result.columns), [tuple(row) for row in result]
    connection = sqlite3.connect(store)
    try:
        cursor = connection.execute(sql)
        return asked, ([each[0] for each in cursor.description], cursor.fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize("sql", CHANGED)
def test_a_sum_names_its_columns(store, sql):
    """It is changed, and has the same answer."""
    assert "LIMIT -1" in written(store, sql)
    asked, plain = answers(store, sql)
    assert asked == plain


@pytest.mark.parametrize("sql", AS_WRITTEN)
def test_what_is_not_certain_stays(store, sql):
    """A join, a name of a value that the condition has, a window, a view that is a table."""
    assert "LIMIT -1" not in written(store, sql)


@pytest.mark.parametrize("seed", seeds(25, 500))
def test_drawn_sums(store, seed):
    """Any columns in any place have the same answer."""
    chance = random.Random(seed)
    view = chance.choice(OF_PARTS)
    connection = sqlite3.connect(store)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({view})")]
    connection.close()
    shown = chance.sample(columns, chance.randint(0, 2))
    sums = [
        chance.choice(("count(*)", "count({})", "count(DISTINCT {})", "max({})", "min({})"))
        for _ in range(chance.randint(1, 2))
    ]
    sums = [each.format(chance.choice(columns)) for each in sums]
    sql = f"SELECT {', '.join([*shown, *sums])} FROM {view}"
    if chance.random() < 0.6:
        test = chance.choice(("IS NOT NULL", "IS NULL", "> 1000", "<> 'x'", "LIKE '%e%'"))
        sql += f" WHERE {chance.choice(columns)} {test}"
    if shown:
        sql += f" GROUP BY {', '.join(shown)} ORDER BY {', '.join(shown)}"
    asked, plain = answers(store, sql)
    assert asked == plain, sql


@pytest.mark.parametrize("view", OF_PARTS)
def test_a_view_of_parts_is_read_through(store, view):
    """SQLite puts a condition into its parts, and makes no column that nobody asks for."""
    connection = sqlite3.connect(store)
    try:
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN SELECT event_id FROM {view} WHERE event_id = 5"
        )
        found = [row[3] for row in plan]
    finally:
        connection.close()
    assert not {f"CO-ROUTINE {view}", f"MATERIALIZE {view}"} & set(found)
