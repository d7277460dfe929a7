"""One connection that asks a store again and again: each statement as if it had its own."""

from __future__ import annotations

from contextlib import closing

import pytest
from fixtures.logs import SECOND, load, opening

from auditsvc.errors import QueryError
from auditsvc.store.read.limits import NO_LIMITS, Limits
from auditsvc.store.read.sql import open_session
from auditsvc.store.read.time_span import ALL, Span

COUNT = "SELECT count(*) FROM syscalls"
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def session(new_url):
    """Give a session with a store of one event."""
    load(new_url, opening(1, "/etc/first", second=SECOND), "first")
    with closing(open_session(new_url)) as made:
        yield made


def ask(session, sql, limits=NO_LIMITS, period=ALL):
    """Give the rows of a statement."""
    with session.run(sql, limits, period) as result:
        return [tuple(row) for row in result]


@pytest.mark.one_database
def test_each_statement_sees_what_was_stored_before_it(session, new_url):
    """No earlier statement keeps the store as it was."""
    assert ask(session, COUNT) == [(1,)]
    load(new_url, opening(2, "/etc/second", second=SECOND + 9), "second")
    assert ask(session, COUNT) == [(2,)]
    assert ask(session, COUNT, period=Span(SECOND + 9, SECOND + 9)) == [(1,)]
    assert ask(session, COUNT) == [(2,)]


@pytest.mark.one_database
def test_what_was_loaded_is_seen_and_nothing_else(session, new_url):
    """Also right after a statement."""
    before = session.loaded()
    assert session.loaded() == before
    ask(session, COUNT)
    assert session.loaded() == before
    load(new_url, opening(2, "/etc/second", second=SECOND + 9), "second")
    assert session.loaded() != before


@pytest.mark.parametrize(
    "wrong", ["SELECT nothing", "DELETE FROM syscall", "SELECT 1; SELECT 2", "COMMIT", "BEGIN"]
)
def test_what_is_refused_hinders_nothing_that_follows(session, wrong):
    """A mistake, or a statement that would not only read."""
    for _ in range(2):
        with pytest.raises(QueryError):
            ask(session, wrong)
        assert ask(session, COUNT) == [(1,)]


@pytest.mark.one_database
def test_a_statement_that_takes_too_long_is_the_end_of_itself_alone(new_url):
    """Each has its own time; one that nobody reads to its end is ended, too."""
    load(new_url, opening(1, "/etc/first", second=SECOND), "first")
    limits = Limits(seconds=60)
    with closing(open_session(new_url, limits)) as session:
        with pytest.raises(QueryError, match=r"took longer than 0\.3 s"):
            ask(session, ENDLESS, Limits(seconds=0.3))
        many = ENDLESS.replace("count(*)", "x") + " LIMIT 100000"
        with session.run(many, limits, ALL) as result:
            assert next(iter(result)) == (1,)
        assert ask(session, COUNT, limits) == [(1,)]
