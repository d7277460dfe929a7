"""The events of a process around one of its events, as the page of an event shows them."""

from __future__ import annotations

import random

import pytest
from fixtures.logs import SECOND, call, load, login, rows

from auditsvc.search.dialect import dialect_of
from auditsvc.search.nearest import NEAR, nearest, statement
from auditsvc.store import open_store
from auditsvc.store.read.sql import run_query


@pytest.mark.one_database
def test_they_are_the_nearest_of_the_process(url):
    """Of a process with many calls and of one with few; of each side, on its host alone."""
    chance = random.Random(1)
    log = []
    for n in range(300):
        at = chance.choice((0, 1, 5, 29, 31, 600, 3599, 3601))
        where = {"second": SECOND + chance.choice((-1, 1)) * at, "ms": n}
        node = chance.choice(("", "", "node=other "))
        pid = chance.choice((12, 100, 100, 100))
        log.append(login(n, node=node, **where) if n % 7 == 0 else "")
        log.append(call(1000 + n, pid=pid, node=node, **where))
    load(url, "".join(log))

    def ask(sql):
        with run_query(url, sql) as result:
            return [row[0] for row in result]

    found = rows(url, "SELECT event_id, pid, host FROM all_events ORDER BY event_id")
    for each in chance.sample(found, 12):
        if each["pid"] is None:
            continue
        second = each["event_id"] >> 30
        own = [
            row["event_id"]
            for row in found
            if (row["pid"], row["host"]) == (each["pid"], each["host"])
            and abs((row["event_id"] >> 30) - second) <= NEAR[-1]
        ]
        at = own.index(each["event_id"])
        wanted = own[max(0, at - 4) : at] + own[at + 1 : at + 5]
        process = each["host"], each["pid"]
        assert nearest(ask, each["event_id"], process, dialect_of(url), 4) == wanted


@pytest.mark.parametrize("is_after", [False, True])
def test_a_process_with_few_calls_is_not_looked_for_in_all_calls(tmp_path, is_after):
    """Of an hour not all calls are read; of some seconds they are."""
    url = f"sqlite:///{tmp_path}/store.db"
    open_store(url).close()
    for seconds in NEAR:
        sql = statement(SECOND << 30, ("box", 5), dialect_of(url), 4, seconds, is_after=is_after)
        with run_query(url, f"EXPLAIN QUERY PLAN {sql}") as result:
            plan = [str(row[3]) for row in result]
        by_range = any(line.startswith("SEARCH s USING INTEGER PRIMARY KEY") for line in plan)
        assert by_range == (seconds != NEAR[-1]), plan
