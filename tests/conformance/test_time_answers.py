"""The ranges that a query on SQLite is given change no answer (`auditsvc.store.read.time_query`).

Random conditions, joins, subqueries, CTEs and orders on a random store, with and without.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from datetime import UTC, datetime

import pytest
from fixtures.logs import SECOND, call, load, login, opening

from auditsvc.store.read.time_span import ALL
from auditsvc.store.read.time_sqlite import with_ranges

SEED = 20251128
STEPS = (0, 1, 2, 59, 60, 3599, 3600, 3601, 86400, 86401, 31 * 86400)
"""Seconds with events."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Make a store with events in some seconds, crowded ones and lone ones, of two hosts."""
    chance = random.Random(SEED)
    url = f"sqlite:///{tmp_path_factory.mktemp('time')}/store.db"
    lines, serial = [], 1
    for step in STEPS:
        for _ in range(chance.choice((1, 3, 12))):
            when = {"second": SECOND + step, "ms": chance.choice((0, 1, 123, 500, 999))}
            lines += [
                opening(serial, name=f"/etc/f{serial % 5}", pid=serial % 3 + 1, **when),
                call(serial + 1, success=chance.choice(("yes", "no")), pid=serial % 3 + 1, **when),
                login(serial + 2, **when),
            ]
            serial += 3
    load(url, "".join(lines))
    other = [call(n, second=SECOND + n * 700, ms=n, pid=1) for n in range(20)]
    load(url, "".join(other), "other", host="second")
    return url


class Maker:
    """Makes random queries; all in forms that people write."""

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def pick(self, *options):
        """Give one of some."""
        return self.chance.choice(options)

    def moment(self):
        """Give a text that begins a time: near the store's seconds, and cut anywhere."""
        step = self.pick(*STEPS, *STEPS, 10_000, -(10**9))
        when = datetime.fromtimestamp(SECOND + step + self.pick(-1, 0, 0, 0, 1), UTC)
        text = when.strftime("%Y-%m-%d %H:%M:%S") + self.pick(".000", ".123", ".999", ".5", "")
        length = self.pick(4, 7, 10, 13, 16, 19, 19, 19, 30, 30)
        return text[:length]

    def value(self):
        """Give an expression to compare a time with."""
        text = self.moment()
        if self.chance.random() < 0.25:
            shift = self.pick("+1 second", "-1 hour", "+0 days", "start of day", "start of month")
            function = self.pick("datetime", "date")
            return f"{function}('{(text + '-01-01')[:10]}', '{shift}')"
        return f"'{text}'"

    def condition(self, columns, depth=0):
        """Give a condition on these columns of time."""
        if depth < 3 and self.chance.random() < 0.4:
            parts = [self.condition(columns, depth + 1) for _ in range(2)]
            joined = f"{parts[0]} {self.pick('AND', 'AND', 'OR')} {parts[1]}"
            return self.pick(joined, f"({joined})", f"NOT ({joined})")
        column = self.pick(*columns)
        if self.chance.random() < 0.15:
            length = self.pick(4, 7, 10, 13, 16, 19, 21)
            column = self.pick(
                f"substr({column}, 1, {length})", f"date({column})", f"datetime({column})",
                f"strftime('%Y-%m-%d %H', {column})",
            )  # fmt: skip
        return self.pick(
            f"{column} {self.pick('>', '>=', '<', '<=', '=', '<>', '!=', '==')} {self.value()}",
            f"{self.value()} {self.pick('>', '>=', '<', '<=', '=')} {column}",
            f"{column} {self.pick('', 'NOT ')}BETWEEN {self.value()} AND {self.value()}",
            f"{column} {self.pick('', 'NOT ')}LIKE '{self.moment()}{self.pick('%', '_%', '')}'",
            f"{column} {self.pick('', 'NOT ')}GLOB '{self.moment()}{self.pick('*', '?*', '[0]*')}'",
            f"{column} {self.pick('', 'NOT ')}IN ({self.value()}, {self.value()})",
            f"{column} IS {self.pick('', 'NOT ')}{self.value()}",
            f"NOT {column} >= {self.value()}",
            f"{column} IS NULL",
            f"coalesce({column}, '') > 'x'",
            "1 = 1",
        )

    def query(self):
        """Give a query of one of the usual forms."""
        view = self.pick("syscalls", "syscalls", "events")
        one = lambda *columns: self.condition(columns)  # noqa: E731 - short in the forms below
        join = self.pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", ",")
        where = f"WHERE {one('time')}"
        limit = f"LIMIT {self.pick(0, 1, 3, 7, 1000)}{self.pick('', ' OFFSET 2')}"
        order = f"ORDER BY time {self.pick('', 'ASC', 'DESC')}{self.pick('', ', event_id')}"
        if join in ("CROSS JOIN", ","):
            both = one("s.time", "e.time")
            joined = f"syscalls s {join} events e WHERE s.pid = e.pid - 11 AND {both}"
        else:
            joined = (
                f"syscalls s {join} events e ON s.serial + {self.pick(1, 2)} = e.serial"
                f" AND {one('s.time', 'e.time')} WHERE {one('s.time', 'e.time')}"
            )
        return self.pick(
            lambda: f"SELECT * FROM {view} {where}",
            lambda: f"SELECT count(*), min(time) FROM {view} {where}",
            lambda: f"SELECT time AS t, pid FROM {view} AS v WHERE {one('v.time', 't')}",
            lambda: f"SELECT s.time, e.time AS other, s.serial FROM {joined}",
            lambda: f"SELECT p.name, s.time FROM paths p JOIN syscalls s USING (event_id) {where}",
            lambda: f"SELECT time, name FROM syscalls LEFT JOIN paths USING (event_id) {where}",
            lambda: f"SELECT * FROM (SELECT time, pid FROM {view} {where}) WHERE {one('time')}",
            lambda: f"SELECT * FROM (SELECT * FROM {view} {limit}) WHERE {one('time')}",
            lambda: f"SELECT * FROM (SELECT time, count(*) AS n FROM {view} GROUP BY time) {where}",
            lambda: f"SELECT * FROM (SELECT DISTINCT time FROM {view}) {where}",
            lambda: (
                f"SELECT * FROM (SELECT time, row_number() OVER (ORDER BY time) n FROM {view})"
                f" {where}"
            ),
            lambda: f"SELECT * FROM (SELECT max(time) AS time FROM {view}) {where}",
            lambda: (
                "SELECT * FROM"
                f" (SELECT time, pid FROM syscalls UNION ALL SELECT time, pid FROM events) {where}"
            ),
            lambda: (
                f"SELECT * FROM (SELECT time FROM syscalls EXCEPT SELECT time FROM events) {where}"
            ),
            lambda: (
                "SELECT * FROM (SELECT time, 1 FROM syscalls UNION SELECT 'x', 2) AS q"
                f" WHERE {one('q.time')}"
            ),
            lambda: (
                f"WITH r AS (SELECT * FROM {view} {where})"
                f" SELECT pid, time FROM r WHERE {one('time')}"
            ),
            lambda: (
                f"WITH r (a, b) AS (SELECT time, pid FROM {view}) SELECT * FROM r WHERE {one('a')}"
            ),
            lambda: (
                f"WITH r AS (SELECT * FROM {view}) SELECT count(*) FROM r a JOIN r b"
                f" ON a.serial = b.serial WHERE {one('a.time', 'b.time')}"
            ),
            lambda: f"WITH events AS (SELECT time, pid FROM syscalls) SELECT * FROM events {where}",
            lambda: (
                f"SELECT pid FROM events e WHERE EXISTS (SELECT 1 FROM syscalls s WHERE"
                f" s.pid = e.pid - 11 AND {one('s.time', 'e.time')})"
            ),
            lambda: (
                f"SELECT pid, (SELECT count(*) FROM syscalls s WHERE {one('time', 'e.time')}) AS n"
                f" FROM events e WHERE {one('e.time')}"
            ),
            lambda: (
                f"SELECT name FROM paths WHERE event_id IN (SELECT event_id FROM syscalls {where})"
            ),
            lambda: f"SELECT time, serial FROM {view} {where} {order} {limit}",
            lambda: f"SELECT time, serial FROM {view} {order} {limit}",
            lambda: f"SELECT time, serial FROM syscalls WHERE success = 0 {order} {limit}",
            lambda: f"SELECT pid AS time, serial FROM {view} {order} {limit}",
            lambda: f"SELECT DISTINCT time FROM {view} {order} {limit}",
            lambda: f"SELECT time, count(*) AS n FROM {view} GROUP BY time {order} {limit}",
            lambda: f"SELECT time, count(*) OVER () AS n FROM {view} {order} {limit}",
            lambda: f"SELECT time, serial FROM (SELECT * FROM {view} {where}) {order} {limit}",
            lambda: f"SELECT time, serial FROM (SELECT * FROM {view} {order} {limit}) {where}",
            lambda: (
                f"WITH r AS (SELECT * FROM {view} {where})"
                f" SELECT serial, time FROM r {order} {limit}"
            ),
            lambda: f"SELECT s.time, e.serial FROM {joined} ORDER BY s.time DESC, s.serial {limit}",
            lambda: (
                f"SELECT time, name FROM paths JOIN syscalls USING (event_id)"
                f" {where} {order} {limit}"
            ),
        )()


def answer(connection, sql):
    """Give a query's columns and rows, or its error."""
    try:
        cursor = connection.execute(sql)
        return [each[0] for each in cursor.description], cursor.fetchall()
    except sqlite3.Error as error:
        return str(error)


def same(sql, plain, ranged):
    """Whether two answers are one: with a LIMIT, rows with equal keys may be others."""
    if isinstance(plain, str) or isinstance(ranged, str) or plain[0] != ranged[0]:
        return plain == ranged
    if Counter(plain[1]) == Counter(ranged[1]):
        return True
    names = [name.lower() for name in plain[0]]
    if "time" not in names or "ORDER BY" not in sql or "LIMIT" not in sql:
        return False
    keyed = names.index("time")
    return [row[keyed] for row in plain[1]] == [row[keyed] for row in ranged[1]]


@pytest.fixture
def steps(monkeypatch):
    """Let the first rows be searched in steps of a few events, as the store is small."""
    monkeypatch.setattr("auditsvc.store.read.time_order._STEPS", (2, 10, 40))


@pytest.mark.usefixtures("steps")
def test_no_answer_changes(store, request):
    """300 random queries (60,000 with --long) give the same rows with ranges and without."""
    count = 60_000 if request.config.getoption("--long") else 300
    connection = sqlite3.connect(store.removeprefix("sqlite:///"))
    changed = 0
    for seed in range(count):
        sql = Maker(SEED + seed).query()
        plain = answer(connection, sql)
        if isinstance(plain, str):
            continue  # an older SQLite has no RIGHT JOIN
        ranged = with_ranges(connection, sql, ALL)
        changed += ranged != sql
        assert same(sql, plain, answer(connection, ranged)), (seed, sql, ranged)
    # Most are such that there is a range to put in.
    assert changed > count / 3


def test_only_the_views_of_a_query_are_asked_for_their_columns(store):
    """To ask for all of them takes longer than many a query."""
    asked = []
    with sqlite3.connect(store.removeprefix("sqlite:///")) as connection:
        connection.set_trace_callback(asked.append)
        with_ranges(connection, "SELECT s.time FROM syscalls s JOIN paths p USING (event_id)", ALL)
    told = {each.partition("(")[2] for each in asked if "table_info" in each}
    assert {"paths)", "syscalls)"} <= told <= {"paths)", "syscalls)", "activity)"}
