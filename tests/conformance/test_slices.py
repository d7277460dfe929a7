"""A search in slices of time finds what one statement finds, in the same order, and at once."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fixtures import searching
from fixtures.logs import SECOND, call, load, opening, record, rows
from fixtures.repeats import pairs

from auditsvc.search import few_callers, select, slices
from auditsvc.search.criteria import Criteria
from auditsvc.search.dialect import POSTGRESQL, dialect_of
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
OF_CALLERS = [
    ("--success", "no", "--pid", "71"),
    ("--success", "no", "--key", "files"),
    ("--success", "no", "--key", "(null)"),
    ("--success", "no", "--file", "root"),
    ("--success", "yes", "--path", "/etc"),
    ("--success", "no", "--path", "/root"),
    ("--exit", "-13", "--executable", "cat"),
    ("--exit", "-13", "--executable", "no-such"),
    ("--exit", "3", "--loginuid", "1000"),
    ("--file", "etc", "--loginuid", "1000"),
    ("--file", "etc", "--loginuid", "4711", "--success", "yes"),
    ("--host", "192", "--executable", "cat"),
    ("--key", "files", "--message", "PATH", "--pid", "70"),
    ("--arch", "b64", "--exit", "3"),
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
    monkeypatch.setattr(slices, "_FIRST_PLACED", 3)


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


@pytest.mark.parametrize(("most", "words"), pairs([0, 10, 200_000], OF_CALLERS))
def test_a_search_that_begins_with_callers_finds_the_same(url, monkeypatch, words, most):
    """Whether its callers made few calls or many."""
    monkeypatch.setattr(few_callers, "MOST", most)
    criteria = searching.options("--utc", *words).criteria(url)
    each = statement(criteria, dialect_of(url), views_only=True)
    parts = in_slices(url, criteria)
    assert len(parts) > 1
    whole = [row["event_id"] for row in rows(url, each)]
    assert [each for part in parts for each in part] == whole


@pytest.mark.parametrize(
    ("words", "of_few", "of_many"),
    [
        (("--success", "no", "--pid", "71"), "syscall_context_nr", "syscall_failed"),
        (("--exit", "-13", "--executable", "cat"), "syscall_context_nr", "syscall_failed"),
        (("--success", "no", "--key", "files"), "syscall_context_nr", "syscall_failed"),
        (("--host", "192", "--executable", "cat"), "syscall_context_nr", "LIST SUBQUERY"),
    ],
)
def test_where_callers_made_few_calls_a_search_begins_with_these(
    tmp_path, monkeypatch, words, of_few, of_many
):
    """SQLite would begin with all failed calls, or with all uses of addresses."""
    sqlite = f"sqlite:///{tmp_path}/store.db"
    load(sqlite, log())
    criteria = searching.options("--utc", *words).criteria(sqlite)

    def ask(sql):
        return [tuple(row.values()) for row in rows(sqlite, sql)]

    for most, index in ((200_000, of_few), (0, of_many)):
        monkeypatch.setattr(few_callers, "MOST", most)
        *_, last = slices.slices(criteria, dialect_of(sqlite), ask)
        plan = "\n".join(str(row["detail"]) for row in rows(sqlite, f"EXPLAIN QUERY PLAN {last}"))
        first = re.search("syscall_context_nr|syscall_failed|LIST SUBQUERY", plan)
        assert first is not None
        assert first[0] == index, plan


@pytest.mark.parametrize(("common", "wide"), [(0, False), (10, True)])
def test_a_result_of_a_common_call_is_not_looked_up_call_by_call(
    tmp_path, monkeypatch, common, wide
):
    """Of a call that makes up half of the store each would be found by the index."""
    monkeypatch.setattr(slices, "_COMMON", common)
    sqlite = f"sqlite:///{tmp_path}/store.db"
    load(sqlite, "".join(call(n, nr=39, second=SECOND + 60 * n) for n in range(10)))
    criteria = searching.options("--utc", "--syscall", "getpid", "--exit", "77").criteria(sqlite)

    def ask(sql):
        return [tuple(row.values()) for row in rows(sqlite, sql)]

    *_, last = slices.slices(criteria, dialect_of(sqlite), ask)
    assert ("likelihood(event_id" in last) == wide


def test_postgres_has_the_calls_in_a_folder_before_it_looks_for_others():
    """Of a list of unknown length it may read all calls to join it: 12 s of ten million events."""
    sql = statement(Criteria(path="/home"), POSTGRESQL)
    found = re.findall(
        r"event_id (= ANY|IN) \((?:ARRAY\()?SELECT (?:o\.)?event_id FROM \(SELECT 1", sql
    )
    assert found == ["= ANY", "= ANY"]


def test_events_of_a_file_are_found_by_it(tmp_path):
    """Of half a million events without a call none is asked whether it names the file."""
    sqlite = f"sqlite:///{tmp_path}/store.db"
    load(sqlite, log())
    criteria = searching.options("--utc", "--path", "/etc", "--success", "yes").criteria(sqlite)
    sql = statement(criteria, dialect_of(sqlite))
    plan = [str(row["detail"]) for row in rows(sqlite, f"EXPLAIN QUERY PLAN {sql}")]
    assert "MULTI-INDEX OR" in plan
    assert "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)" in plan


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


def test_what_gains_nothing_is_one_statement(url):
    """One number is found by it."""
    assert len(in_slices(url, searching.options("--utc", "--event", "9").criteria(url))) == 1


def test_a_place_is_looked_for_in_two_slices(url):
    """Of each call of a short time, and then by all processes there: that costs each the same."""
    criteria = searching.options("--utc", "--unit", "none.service").criteria(url)
    assert in_slices(url, criteria) == [[], []]


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
