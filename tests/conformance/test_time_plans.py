"""Queries by time read only the range that they name, on stores of any size.

The plans are those of a large store: SQLite has the statistics of one in each store, and
PostgreSQL collects them of generated rows.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from fixtures.commands import run
from fixtures.logs import SECOND, call, load, login, opening, rows

from auditsvc.errors import QueryError
from auditsvc.store import open_store, partitions
from auditsvc.store.partitions import DAY as DAY_SECONDS
from auditsvc.store.read.sql import run_query
from auditsvc.store.read.time_span import ALL, Span

pytestmark = pytest.mark.each_database

DAY = "2025-06-15"  # of SECOND, which is 15:06:40
AROUND = f"time >= '{DAY} 15:06:40' AND time < '{DAY} 15:06:41'"
BOTH = "SELECT time, pid FROM syscalls UNION ALL SELECT time, pid FROM events"
SECONDS = 40
"""Seconds with events, an hour apart."""


@pytest.fixture(scope="module")
def filled(common_url):
    """Give a store with 40 seconds an hour apart, with ten calls and two logins in each."""
    lines = []
    for n in range(SECONDS):
        when = {"second": SECOND + n * 3600}
        lines += [
            opening(serial, name=f"/etc/f{serial}", ms=serial % 20 * 7, **when)
            for serial in range(n * 20 + 1, n * 20 + 11)
        ]
        lines += [login(n * 20 + 11, **when), login(n * 20 + 12, **when)]
    load(common_url, "".join(lines))
    return common_url


@pytest.fixture
def steps(monkeypatch):
    """Let the first rows be searched in steps of a few events, as the store is small."""
    monkeypatch.setattr("auditsvc.store.read.time_order._STEPS", (15, 60, 200))


BY_TIME = [
    f"SELECT * FROM syscalls WHERE {AROUND}",
    f"SELECT * FROM events WHERE {AROUND}",
    f"SELECT count(*) FROM syscalls WHERE time BETWEEN '{DAY} 15:06:40' AND '{DAY} 15:06:41'",
    f"SELECT exe, count(*) FROM syscalls AS s WHERE {AROUND} AND success GROUP BY exe",
    f"SELECT name FROM paths JOIN syscalls USING (event_id) WHERE {AROUND}",
    f"SELECT name FROM syscalls s LEFT JOIN paths p ON p.event_id = s.event_id WHERE {AROUND}",
    f"SELECT * FROM (SELECT time, exe, pid FROM syscalls) q WHERE {AROUND}",
    f"WITH r AS (SELECT time, exe FROM syscalls) SELECT exe FROM r WHERE {AROUND}",
    f"SELECT * FROM ({BOTH}) u WHERE {AROUND}",
    f"SELECT name FROM paths WHERE event_id IN (SELECT event_id FROM syscalls WHERE {AROUND})",
    f"SELECT * FROM syscalls WHERE NOT (time < '{DAY} 15:06:40' OR time >= '{DAY} 15:06:41')",
    f"SELECT * FROM syscalls WHERE {AROUND} ORDER BY time DESC LIMIT 5",
]
SQLITE_ALONE = [
    f"SELECT * FROM syscalls WHERE time LIKE '{DAY} 15:06%'",
    f"SELECT * FROM syscalls WHERE time = '{DAY} 15:06:40.007'",
    f"SELECT * FROM syscalls WHERE substr(time, 1, 16) = '{DAY} 15:06'",
    f"SELECT * FROM syscalls WHERE date(time) = '{DAY}'",
    f"SELECT * FROM syscalls WHERE time LIKE '{DAY} 15%' OR time LIKE '{DAY} 16%'",
    "SELECT * FROM syscalls WHERE time >= datetime('2025-06-17 05:00:00', '-1 hour')",
    "SELECT * FROM syscalls WHERE time > datetime('now', '-1 hour')",
]
LAST = [
    "SELECT * FROM syscalls ORDER BY time DESC LIMIT 20",
    "SELECT * FROM events ORDER BY time DESC LIMIT 3",
    "SELECT time, exe FROM syscalls ORDER BY time LIMIT 5",
    "SELECT * FROM (SELECT * FROM syscalls) s ORDER BY s.time DESC LIMIT 5",
]
SQLITE_LAST = [
    "SELECT time, exe FROM syscalls ORDER BY event_id DESC LIMIT 3",
    "SELECT time, exe FROM syscalls WHERE exe = '/usr/bin/cat' ORDER BY 1 DESC LIMIT 5",
    "WITH r AS (SELECT * FROM syscalls) SELECT * FROM r WHERE pid = 100 ORDER BY time LIMIT 5",
]


def plan(url, sql):
    """Give the database's plan, a step a line."""
    word = "EXPLAIN QUERY PLAN" if url.startswith("sqlite") else "EXPLAIN"
    with run_query(url, f"{word} {sql}") as result:
        return "\n".join(str(row[-1]) for row in result)


_CALL = "((1700000000 + n / 10)::bigint << 30) + n % 10"
_EVENT = "((1700000000 + n)::bigint << 30) + n"
GENERATED = [
    ("context", "id, host, arch, pid, exe", "n, host, arch, n % 1000, exe"),
    (
        "syscall",
        "id, ms, serial, nr, a0, a1, a2, a3, success, state, items, context",
        f"{_CALL}, n % 1000, n, n % 300, '', '', '', '', (n % 10 > 0)::int, 0, 0, n / 20 + 1",
    ),
    ("path", "event, seq, item, file", f"{_CALL}, 0, 0, file"),
    (
        "event",
        "id, host, ms, serial, type, pid, state, fields",
        f"{_EVENT}, host, n % 1000, n, 1112, n % 1000, 0, exe",
    ),
]
"""Tables, columns and the values of row n."""


@pytest.fixture(scope="module")
def large(filled):
    """Give the store with 200,000 further calls on PostgreSQL, and statistics of them."""
    if filled.startswith("sqlite"):
        return filled
    with open_store(filled) as store, store.engine.begin() as connection:
        days = (1_700_000_000 + n for n in range(0, 300_000, DAY_SECONDS))
        partitions.ensure(connection, (each // DAY_SECONDS for each in days), today=0)
        for table, columns, made in GENERATED:
            count = 10_000 if table == "context" else 200_000
            connection.exec_driver_sql(
                f"INSERT INTO {table} ({columns}) SELECT {made.replace('%', '%%')}"
                f" FROM generate_series(1, {count}) n,"
                " (SELECT host, arch, exe, file FROM context, path LIMIT 1) one"
            )
    with open_store(filled) as store, store.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")
    return filled


READS_ALL = re.compile(
    r"SCAN (s|c|e|p|t|syscall|context)\b|Seq Scan on (syscall|event|path)_2023111[45]\b"
)
"""The partitions that have nearly all rows; one with few is read as fast without an index."""
BY_INDEX = re.compile(
    r"SEARCH [se] USING INTEGER PRIMARY KEY \(rowid"
    r"|Scan.* (syscall|event)_[0-9]+_to_timestamp_idx"
)


SPEAKING = ("story", "all_events", "files", "connections", "denials", "commands", "changes")
FILTERS = (AROUND, f"auid = 7 AND {AROUND}", f"pid = 100 AND {AROUND}")
READS_CALLS = re.compile(r"SCAN s\b|Seq Scan on syscall\b")


@pytest.mark.parametrize("view", SPEAKING)
def test_views_that_speak_are_read_by_an_index(large, view):
    """By time; by process and by user alone no view of calls reads the table of calls.

    On PostgreSQL a user of half of all calls is no reason for an index: only times are held there.
    """
    for condition in FILTERS:
        found = plan(large, f"SELECT * FROM {view} WHERE {condition}")
        assert not READS_ALL.search(found), (condition, found)
    if large.startswith("sqlite"):
        for condition in ("pid = 100", "auid = 7"):
            found = plan(large, f"SELECT * FROM {view} WHERE {condition}")
            assert not READS_CALLS.search(found), (condition, found)
        named = plan(large, "SELECT * FROM files WHERE name = '/etc/f1'")
        assert "text_head" in named
        assert not READS_CALLS.search(named), named


ON_SQLITE = pytest.mark.parametrize("common_url", ["sqlite"], indirect=True, scope="module")


def check_plan(url, sql):
    """See that a question reads its part of a table of events, by an index."""
    found = plan(url, sql)
    assert BY_INDEX.search(found), found
    assert not READS_ALL.search(found), found


@pytest.mark.parametrize("sql", BY_TIME)
def test_a_range_of_time_is_read_by_an_index(large, sql):
    """No question that names a time reads all rows of a table of events."""
    on_sqlite = large.startswith("sqlite")
    check_plan(large, sql if on_sqlite else sql.replace("AND success G", "AND success = true G"))


@ON_SQLITE
@pytest.mark.parametrize("view", ["syscalls", "all_events", "story", "events"])
@pytest.mark.parametrize("condition", [AROUND, f"auid = 7 AND {AROUND}"])
def test_a_range_with_two_ends_ends(large, view, condition):
    """A minute of long ago is not read together with all that came after it."""
    found = plan(large, f"SELECT * FROM {view} WHERE {condition}")
    assert re.search(r"SEARCH [se] USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\)", found)
    assert not re.search(r"SEARCH [se] USING INTEGER PRIMARY KEY \(rowid>\?\)", found), found


@ON_SQLITE
@pytest.mark.parametrize("sql", SQLITE_ALONE)
def test_a_comparison_of_texts_is_a_range_of_time(large, sql):
    """There is none on PostgreSQL, whose times are no texts."""
    check_plan(large, sql)


@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("sql", LAST)
def test_the_first_rows_by_time_are_read_by_an_index(large, sql):
    """The last 20 events are not searched among all."""
    check_plan(large, sql)


@ON_SQLITE
@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("sql", SQLITE_LAST)
def test_the_first_rows_with_a_condition_are_read_by_an_index(large, sql):
    """PostgreSQL's planner decides, by its statistics, which one serves."""
    check_plan(large, sql)


@pytest.mark.usefixtures("steps")
def test_a_rare_condition_keeps_its_own_index(large):
    """Where the rows are not among the last ones, the question is planned as before."""
    if large.startswith("sqlite"):
        found = plan(
            large,
            "SELECT time FROM paths p JOIN syscalls s USING (event_id)"
            " WHERE p.name = '/etc/f1' ORDER BY time DESC LIMIT 5",
        )
        assert "text_head" in found
        assert not READS_ALL.search(found), found


@pytest.mark.parametrize("common_url", ["sqlite"], indirect=True)
def test_other_clients_name_the_range_of_ids(filled):
    """The README's form for sqlite3 is read by the key."""
    sql = (
        "EXPLAIN QUERY PLAN SELECT * FROM syscalls WHERE event_id"
        f" BETWEEN strftime('%s', '{DAY} 15:06') << 30 AND strftime('%s', '{DAY} 15:07') << 30"
    )
    with closing(sqlite3.connect(filled.removeprefix("sqlite:///"))) as connection:
        found = "\n".join(row[-1] for row in connection.execute(sql))
    assert BY_INDEX.search(found), found
    assert not READS_ALL.search(found), found


def test_time_is_to_the_millisecond(url):
    """What the views show is what the kernel said, in any year that it can say."""
    seconds = [0, 1, 951_782_400, SECOND, 4_294_967_295, (1 << 33) - 1]
    milliseconds = [0, 1, 123, 499, 500, 999]
    log = [
        call(n * 10 + m, second=second, ms=ms)
        for n, second in enumerate(seconds)
        for m, ms in enumerate(milliseconds)
    ]
    load(url, "".join(log))
    found = rows(url, "SELECT time, event_id >> 30 AS second FROM syscalls ORDER BY time")
    assert [row["second"] for row in found] == [each for each in seconds for _ in milliseconds]
    assert [int(row["time"][-3:]) for row in found] == milliseconds * len(seconds)


NOT_A_TIME = [
    "time > 'foo'",
    "'foo' > time",
    'time > "foo"',
    "time = ''",
    "time >= 1750000000",
    "time BETWEEN '2025-06-15' AND '2025-13-01'",
    "NOT time IN ('2025', 'x')",
    "time LIKE '15:06%'",
    "time > datetime('now', '-1 huor')",
    "time > time('now', '-1 hour')",
    "time > strftime('%s', 'now')",
    "exe = 'x' OR time < '15h'",
]


@pytest.mark.parametrize("condition", NOT_A_TIME)
@pytest.mark.parametrize("common_url", ["sqlite"], indirect=True)
def test_what_cannot_be_a_time_is_an_error(filled, condition):
    """SQLite would compare the texts and say nothing."""
    with pytest.raises(QueryError, match=r"^`time` is compared with") as caught:
        rows(filled, f"SELECT * FROM syscalls WHERE {condition}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("common_url", ["sqlite"], indirect=True)
def test_other_columns_and_texts_are_left_alone(filled):
    """Only a view's own time is compared with times."""
    assert rows(filled, "SELECT * FROM (SELECT exe AS time FROM syscalls) WHERE time > 'zz'") == []
    assert rows(filled, "SELECT 1 AS a FROM syscalls WHERE substr(time, 12, 5) = '99:99'") == []
    assert rows(filled, "SELECT 1 AS a FROM syscalls WHERE time LIKE '%99:99%'") == []
    assert rows(filled, "SELECT 1 AS time WHERE time = 'x'") == []


@pytest.mark.parametrize("common_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("terms", [1, 300, 900])
def test_a_long_condition_is_no_error(filled, terms):
    """As many terms as SQLite takes are taken, and signs of any width stand before them."""
    condition = " OR ".join([f"time LIKE '{DAY} 15:06:40%'"] * terms)
    sql = f"SELECT '\U0001f600\u00e9' AS a, count(*) AS n FROM syscalls WHERE {condition}"
    assert rows(filled, sql) == [{"a": "\U0001f600\u00e9", "n": 10}]


@pytest.mark.parametrize("common_url", ["sqlite"], indirect=True)
def test_a_time_of_day_is_today(filled):
    """So it is with a word for a day, and with ISO 8601 in all its forms."""
    count = "SELECT count(*) AS n FROM syscalls WHERE time {}"
    assert rows(filled, count.format("> '00:00'")) == [{"n": 0}]
    assert rows(filled, count.format("< '00:00'")) == [{"n": SECONDS * 10}]
    assert rows(filled, count.format("< 'yesterday'")) == [{"n": SECONDS * 10}]
    assert rows(filled, count.format(f"<= '{DAY}T15:06:40.999Z'")) == [{"n": 10}]
    assert rows(filled, count.format(f"<= '{DAY}T17:06:40.999+02:00'")) == [{"n": 10}]


VIEWS = ("syscalls", "paths", "events", "records", "origins")


@pytest.mark.parametrize("view", VIEWS)
def test_a_period_bounds_every_view(filled, view):
    """--since and --until apply wherever a view of events stands in a query."""
    count = f"SELECT count(*) AS n FROM {view}"
    forms = [
        count,
        f"SELECT count(*) AS n FROM {view} AS v",
        f"WITH r AS (SELECT event_id FROM {view}) SELECT count(*) AS n FROM r",
        f"SELECT count(*) AS n FROM (SELECT {view}.event_id FROM {view}) q",
        f"SELECT (SELECT count(*) FROM {view}) AS n",
        f"SELECT count({view}.event_id) AS n FROM ledger LEFT JOIN {view} ON cause = 'received'",
        f"WITH {view} AS (SELECT * FROM {view}) SELECT count(*) AS n FROM {view};"
        if not filled.startswith("sqlite")
        else count,
    ]
    period = Span(SECOND, SECOND + 3600)
    ((everything,),) = values(filled, count)
    ((expected,),) = values(
        filled,
        f"{count} WHERE event_id >= {SECOND << 30} AND event_id < {(SECOND + 3601) << 30}",
    )
    assert 0 < expected < everything
    for sql in forms:
        assert values(filled, sql, period) == [(expected,)], sql


@pytest.mark.parametrize("view", ["processes", "names", "activity", "pruned", "ledger"])
def test_a_period_leaves_a_view_without_events_as_it_is(filled, view):
    """There is no event_id to bound; the rows are those without a period."""
    every = f"SELECT * FROM {view}"
    assert sorted(map(str, values(filled, every, Span(SECOND + 3600)))) == sorted(
        map(str, values(filled, every))
    )


def values(url, sql, period=ALL):
    """Give the rows of a query with a period."""
    with run_query(url, sql, period=period) as result:
        return [tuple(row) for row in result]


def test_a_period_needs_sql_that_is_understood(filled):
    """It is never left out silently."""
    with pytest.raises(QueryError, match="--since and --until need"):
        values(filled, "VALUES (1)", Span(SECOND))
    for sql in ("SELECT 1; SELECT 2", "PRAGMA user_version", "SELECT (1", "DELETE FROM syscall"):
        with pytest.raises(QueryError) as caught:
            values(filled, sql, Span(SECOND))
        assert "\n" not in str(caught.value)


def test_options_of_the_command(filled):
    """`auditsvc query --since --until` takes times as people write them."""

    def query(*options):
        sql = "SELECT count(*) AS n FROM syscalls"
        return run("query", sql, "--store", filled, *options, text=True)

    between = query("--since", f"{DAY} 15:00", "--until", f"{DAY}T17:00Z")
    assert between.stdout.split() == ["n", "20"], between.stderr
    assert query("--since", "yesterday").stdout.split() == ["n", "0"]
    assert query("--since=-1h").stdout.split() == ["n", "0"]
    assert int(query("--until", "2 hours ago").stdout.split()[1]) >= SECONDS * 10
    for wrong in (["--since", "noon"], ["--since", "14:00", "--until", "14:00"]):
        refused = query(*wrong)
        assert refused.returncode == 2
        assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("common_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT time FROM syscalls WHERE",
        "SELECT time FROM syscalls; DELETE FROM syscall",
        "DELETE FROM syscall WHERE 'time' = 'time'",
        "SELECT time FROM nothing",
        "SELECT 1 FROM syscalls WHERE time > datetime('now', , '-1 hour')",
        "SELECT time, no_such FROM syscalls WHERE time > '2025'",
        "SELECT " + "(" * 2000 + "time" + ")" * 2000 + " FROM syscalls",
    ],
)
def test_what_is_not_parsed_is_sqlites_to_judge(filled, sql):
    """The user sees SQLite's own message, in one line."""
    with pytest.raises(QueryError) as caught:
        rows(filled, sql)
    assert "\n" not in str(caught.value)
    assert "sqlglot" not in str(caught.value)
