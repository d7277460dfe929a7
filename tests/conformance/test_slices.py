"""A search in slices of time finds what one statement finds, in the same order, and at once."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fixtures import searching
from fixtures.logs import SECOND, call, load, opening, record, rows
from fixtures.repeats import pairs

from auditsvc.search import select, slices
from auditsvc.search.dialect import dialect_of
from auditsvc.search.pace import Pace
from auditsvc.search.select import found_events
from auditsvc.search.statement import Page, statement
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.sql import run_query
from auditsvc.store.read.time_span import Span

DAY = 86400


def log():
    """Give calls and others of four days: some minutes with many, days with none."""
    made = ""
    for n in range(60):
        where = {"second": SECOND + n // 20 * DAY + n % 20 * (1 if n % 3 else 600)}
        said = f"pid=3 uid=0 auid=1000 ses=3 msg='op=login acct=\"m{n}\" res=failed'"
        match n % 4:
            case 0:
                made += opening(n, f"/etc/f{n}", pid=70, auid=1000, exe='"/bin/sh"', **where)
            case 1:
                made += opening(n, f"f{n}", success="no", exit=-13, pid=71, **where)
            case 2:
                made += call(n, nr=39, auid=1001, **where)
            case _:
                made += record("USER_LOGIN", n, said, **where)
    return made


SEARCHES = [
    (),
    ("--loginuid", "1000"),
    ("--executable", "/bin/sh"),
    ("--syscall", "openat", "--success", "no"),
    ("--file", "etc"),
    ("--path", "/etc"),
    ("--message", "USER_LOGIN,AVC"),
    ("--where", "pid = 70"),
    ("--since", "2025-06-16", "--until", "2025-06-17"),
    ("--pid", "99999"),
    ("--path", "/root"),
    ("--object", "etc_t"),
    ("--key", "(null)"),
    ("--terminal", "ssh"),
    ("--message", "USER_LOGIN", "--success", "no"),
    ("--uid-all", "0"),
    ("--uid-all", "unset"),
    ("--uid-all", "unset", "--syscall", "getpid"),
    ("--gid-all", "0"),
    ("--context", "unconfined"),
    ("--syscall", "getpid"),
    ("--syscall", "39", "--loginuid", "1001"),
    ("--syscall", "openat", "--uid", "0", "--loginuid", "unset"),
    ("--syscall", "getpid", "--success", "no"),
    ("--syscall", "swapon"),
    ("--syscall", "tuxcall", "--arch", "b64"),
]


@pytest.fixture(scope="module")
def url(common_url):
    """Give a store with events of several days."""
    load(common_url, log())
    return common_url


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Have slices of few events."""
    monkeypatch.setattr(slices, "FIRST", 3)


def in_slices(url, criteria, **words):
    """Give the ids of each slice."""

    def ask(sql):
        return [tuple(row.values()) for row in rows(url, sql)]

    found = slices.slices(criteria, dialect_of(url), ask, **words)
    return [[each["event_id"] for each in rows(url, sql)] for sql in found]


@pytest.mark.parametrize(("newest", "words"), pairs([False, True], SEARCHES))
def test_slices_are_the_whole(url, words, newest):
    """No event twice, none missing, each in its place; from an event on, too."""
    criteria = searching.options("--utc", *words).criteria(url)
    sql = statement(criteria, dialect_of(url), newest=newest)
    whole = [row["event_id"] for row in rows(url, sql)]
    parts = in_slices(url, criteria, page=Page(newest=newest))
    assert [each for part in parts for each in part] == whole
    assert len(parts) > 1
    if len(whole) > 2:
        parts = in_slices(url, criteria, page=Page(newest=newest, after=whole[1]))
        assert [each for part in parts for each in part] == whole[2:]


@pytest.mark.parametrize("words", SEARCHES, ids=" ".join)
def test_each_text_that_is_read_once_tells_the_same(url, words):
    """The statement of the views alone, which asks each event, finds the same events."""
    criteria = searching.options("--utc", *words).criteria(url)
    once, each = (statement(criteria, dialect_of(url), views_only=only) for only in (False, True))
    assert rows(url, once) == rows(url, each)


@pytest.mark.parametrize("wide", [False, True])
def test_a_slice_of_most_of_the_time_is_served_by_an_index(tmp_path, wide):
    """SQLite takes a range of ids to leave out nearly all; where it does not, it is told so."""
    sqlite = f"sqlite:///{tmp_path}/store.db"
    load(sqlite, log())
    criteria = searching.options("--utc", "--comm", "x").criteria(sqlite)
    period = Span(SECOND, SECOND + DAY)
    sql = statement(replace(criteria, period=period), dialect_of(sqlite), wide=wide)
    plan = [str(row["detail"]) for row in rows(sqlite, f"EXPLAIN QUERY PLAN {sql}")]
    by_context = any(re.match("SEARCH s USING .*syscall_context_nr", line) for line in plan)
    assert by_context == wide


@pytest.mark.parametrize(
    ("words", "wide"),
    [
        (("--exit", "77"), False),
        (("--success", "yes"), False),
        (("--where", "exit > 77"), False),
        (("--where", "exit > 77 AND exe LIKE '%x'"), True),
        (("--exit", "77", "--comm", "x"), True),
    ],
)
def test_what_no_context_has_is_read_in_the_order_of_calls(tmp_path, words, wide):
    """A search by results alone would ask the index for each call, one by one."""
    sqlite = f"sqlite:///{tmp_path}/store.db"
    load(sqlite, log())
    criteria = searching.options("--utc", *words).criteria(sqlite)

    def ask(sql):
        return [tuple(row.values()) for row in rows(sqlite, sql)]

    *_, last = slices.slices(criteria, dialect_of(sqlite), ask)
    assert ("likelihood(event_id" in last) == wide


@pytest.mark.parametrize(
    ("call_", "first", "number"),
    [("getpid", 3, 4), ("getpid", 10_000, 1), ("swapon", 3, 1), ("mkdir", 3, 1)],
)
def test_calls_are_read_where_there_are_some(url, monkeypatch, call_, first, number):
    """After the first slice, by the counts of hours; if those are few, all the rest is one.

    mkdir has on i386 the number that getpid has on this machine, and no call is of i386.
    """
    criteria = searching.options("--utc", "--syscall", call_).criteria(url)

    def ask(sql):
        return [tuple(row.values()) for row in rows(url, sql)]

    found = slices.slices(criteria, dialect_of(url), ask)
    next(found)
    monkeypatch.setattr(slices, "FIRST", first)
    others = list(found)
    assert len(others) >= number > 0
    assert (len(others) == 1) == (number == 1)
    assert any("FROM syscalls WHERE" in sql for sql in others) == (call_ == "getpid")


def test_a_search_that_ends_after_a_time_has_no_large_slice(url):
    """What is left is not one slice, however few calls it has: it may have many other events."""
    criteria = searching.options("--utc", "--syscall", "swapon").criteria(url)

    def ask(sql):
        return [tuple(row.values()) for row in rows(url, sql)]

    assert len(list(slices.slices(criteria, dialect_of(url), ask, pace=Pace(3600)))) > 3


def test_the_first_slice_has_few(url):
    """So many as it was asked for, and some of the same second."""
    first = in_slices(url, searching.options("--utc").criteria(url), page=Page(newest=True))[0]
    second = rows(url, "SELECT max(event_id) >> 30 AS at FROM all_events")[0]["at"]
    assert 3 <= len(first) < 30
    assert first[0] >> 30 == second


@pytest.mark.parametrize("words", [("--event", "9"), ("--unit", "none.service")], ids=" ".join)
def test_what_gains_nothing_is_one_statement(url, words):
    """One number is found by it, a place costs the same in each slice."""
    assert len(in_slices(url, searching.options("--utc", *words).criteria(url))) == 1


def test_events_come_before_the_search_has_ended(url, monkeypatch):
    """Who reads the first one has not asked all slices; who reads on gets all, or what is asked."""
    criteria = searching.options("--utc", "--loginuid", "1000").criteria(url)
    whole = [row["event_id"] for row in rows(url, statement(criteria, dialect_of(url)))]
    asked = []
    monkeypatch.setattr(select, "run_query", lambda *what: asked.append(what) or run_query(*what))
    monkeypatch.setattr(select, "FIRST", 1)
    with found_events(url, criteria, limits=Limits(60)) as found:
        ids = [next(found.events).id]
        before = len(asked)
        ids += [each.id for each in found.events]
    assert ids == whole
    assert before < len(asked)
    with found_events(url, criteria, Page(7)) as found:
        assert len(list(found.events)) == 7
