"""The first rows by time are the same as without bounds, on both databases, of every view.

Random queries with ORDER BY and LIMIT, and what another program is answered without LIMIT.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing

import psycopg
import pytest
from fixtures.cookbook_log import cookbook_log
from fixtures.logs import SECOND, call, load, login, opening

from auditsvc.store.read import time_sqlite
from auditsvc.store.read.sql import run_query
from auditsvc.store.read.sql_postgres import _view_columns
from auditsvc.store.read.time_postgres import with_first_rows
from auditsvc.store.read.time_span import ALL
from auditsvc.store.views import NAMES

SEED = 20251129
WITHOUT_TIME = {"processes", "names", "activity", "ledger", "pruned", "paths", "sockaddrs"}
WITHOUT_TIME |= {"records", "partials", "origins"}
VIEWS = sorted(set(NAMES) - WITHOUT_TIME)
OF_PERSONS = ("story", "all_events", "files", "connections", "commands", "changes", "logins")
CONDITIONS = ("pid > 0", "auid = 1001", "auid IS NULL", "pid = 12 OR auid = 0", "host = 'none'")
LATER = SECOND + 60_000_000
"""After all events of the cookbook."""


@pytest.fixture(scope="module")
def filled(common_url):
    """Fill a store with events of all kinds, and with seconds that have many, in no order."""
    load(common_url, cookbook_log()[0])
    chance = random.Random(SEED)
    lines = []
    for serial in range(1, 250, 2):
        when = {"second": LATER + serial // 60, "ms": chance.randrange(1000)}
        lines += [opening(serial, pid=serial % 5 + 9, **when), login(serial + 1, **when)]
    load(common_url, "".join(lines), "second", host="second")
    load(common_url, "".join(call(n, second=LATER + 9, ms=999 - n) for n in range(9)), "third")
    return common_url


@pytest.fixture(autouse=True)
def steps(monkeypatch):
    """Let the rows be searched in steps of a few events, as the store is small."""
    monkeypatch.setattr("auditsvc.store.read.time_order._STEPS", (3, 15, 60, 100))


def plain(url, sql):
    """Ask as another program does."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return connection.execute(sql).fetchall()
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'; SET jit = off")
        return connection.execute(sql).fetchall()


def written(url, sql):
    """Give the SQL that is run."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return time_sqlite.with_ranges(connection, sql, ALL)
    with psycopg.connect(url) as connection:
        return with_first_rows(connection, sql, _view_columns(connection))


def asked(url, sql):
    """Ask through auditsvc."""
    with run_query(url, sql) as result:
        return [tuple(row) for row in result]


@pytest.mark.parametrize("view", VIEWS)
def test_last_rows_are_the_last_of_all(filled, view):
    """Of each view, for a few rows and for more than there are; newest or oldest first."""
    all_rows = [tuple(map(str, row)) for row in plain(filled, f"SELECT time, * FROM {view}")]
    for order, limit, offset in (("DESC", 4, 3), ("ASC", 5000, 0)):
        times = sorted((row[0] for row in all_rows), reverse=order == "DESC")
        times = times[offset : offset + limit]
        sql = f"SELECT time, * FROM {view} ORDER BY time {order} LIMIT {limit} OFFSET {offset}"
        rows = [tuple(map(str, row)) for row in asked(filled, sql)]
        assert [row[0] for row in rows] == times
        assert set(rows) <= set(all_rows)


def query(chance):
    """Give a query without its LIMIT, that orders by time and event."""
    view = chance.choice(OF_PERSONS)
    where = chance.choice(("", "", f" WHERE {chance.choice(CONDITIONS)}"))
    order = f"{chance.choice(('DESC', 'ASC', ''))}, {{}}event_id"
    shown = "time, pid, event_id"
    joined = f"{view} v JOIN all_events e ON e.event_id = v.event_id"
    return chance.choice(
        (
            f"SELECT {shown} FROM {view}{where} ORDER BY time {order.format('')}",
            f"SELECT time AS at, event_id FROM {view}{where} ORDER BY at {order.format('')}",
            f"SELECT event_id, pid FROM {view}{where} ORDER BY event_id DESC",
            f"SELECT event_id AS e FROM {view} AS v{where} ORDER BY v.event_id",
            f"SELECT pid, time, event_id FROM {view}{where} ORDER BY 2 {order.format('')}",
            f"SELECT v.time, e.pid FROM {joined} ORDER BY v.time {order.format('v.')}",
            f"SELECT {shown} FROM (SELECT * FROM {view}{where}) q ORDER BY time {order.format('')}",
            (
                f"WITH q AS (SELECT * FROM {view}{where}) SELECT {shown} FROM q"
                f" ORDER BY q.time {order.format('q.')}"
            ),
            f"SELECT DISTINCT {shown} FROM {view}{where} ORDER BY time {order.format('')}",
            (
                f"SELECT time, count(*), min(event_id) AS event_id FROM {view}{where} GROUP BY time"
                " ORDER BY time DESC"
            ),
            (
                f"SELECT time, event_id FROM {view}{where} UNION ALL"
                " SELECT time, event_id FROM events ORDER BY time DESC, event_id"
            ),
            (
                f"SELECT * FROM (SELECT {shown} FROM {view} ORDER BY event_id LIMIT 30) q"
                f" ORDER BY time {order.format('')}"
            ),
        )
    )


@pytest.mark.one_database
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 9))]
)
def test_random_orders(filled, seed):
    """Whatever is selected, joined, grouped and cut: the rows of before, up to the limit."""
    chance = random.Random(SEED + seed)
    for _ in range(12):
        sql = query(chance)
        limit, offset = chance.choice((0, 1, 3, 20, 70)), chance.choice((0, 0, 2))
        found = asked(filled, f"{sql} LIMIT {limit} OFFSET {offset}")
        before = plain(filled, sql)[offset : offset + limit]
        keys = [tuple(row[:2]) for row in found]
        assert Counter(keys) == Counter(tuple(row[:2]) for row in before), sql


SEVERAL = (
    "SELECT time, unnest(ARRAY[1, 2]) FROM story ORDER BY time DESC LIMIT 3",
    "SELECT time, jsonb_array_elements('[]'::jsonb) FROM story ORDER BY time DESC LIMIT 3",
    "SELECT time FROM (SELECT time, generate_series(1, pid % 2) FROM story) q ORDER BY 1 LIMIT 3",
)


@pytest.mark.parametrize("sql", SEVERAL)
def test_functions_of_several_rows_are_left_alone(filled, sql):
    """PostgreSQL has some that give no row, so that the rows of the view cannot be counted."""
    if not filled.startswith("sqlite"):
        assert written(filled, sql) == sql
        assert asked(filled, sql) == plain(filled, sql)


@pytest.mark.parametrize("view", OF_PERSONS)
def test_last_rows_alone_are_made(filled, view):
    """The view is bounded to the last row that is wanted, also where its rows are rare."""
    found = written(filled, f"SELECT * FROM {view} ORDER BY time DESC LIMIT 2")
    assert "event_id >= " in found
    assert "time >= " in found


@pytest.mark.parametrize(("order", "end"), [("DESC", "event_id <= "), ("ASC", "event_id >= ")])
def test_rare_rows_are_searched_where_they_are(new_url, order, end):
    """The counts of hours tell in which time changes are, among other events before and after."""
    others = [login(n, second=SECOND + n * 60) for n in range(1, 400)]
    mounts = [call(n + 1000, nr=165, items=0, second=SECOND + n * 60) for n in (200, 201, 202)]
    load(new_url, "".join(others + mounts))
    sql = f"SELECT event_id FROM changes ORDER BY event_id {order} LIMIT 2"
    assert end in written(new_url, sql)
    assert asked(new_url, sql) == plain(new_url, sql)
