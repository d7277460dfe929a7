"""`auditsvc search --checkpoint`: each event once, however late, on both databases."""

from __future__ import annotations

import os

import pytest
from fixtures.commands import run
from fixtures.logs import SECOND, Pipe, login, opening

from auditsvc.search.checkpoint import events_since, forget
from auditsvc.search.criteria import Criteria
from auditsvc.search.lines import identity
from auditsvc.store.read.questions import lag

FILES = Criteria(key="files")


def since(url, name, criteria=FILES):
    """Give the serials of what is new for a name."""
    with events_since(url, name, criteria) as found:
        return [identity(event)[2] for event in found.events]


@pytest.fixture
def log(url):
    """Give a function that stores more lines."""
    pipe = Pipe(url)
    lines = []

    def more(*new):
        lines.extend(new)
        pipe.load("".join(lines))

    yield more
    pipe.close()


@pytest.mark.one_database
def test_each_event_comes_once(url, log):
    """First all so far, then what arrived since, late events too, and for each name apart."""
    log(opening(1), login(2))
    assert since(url, "a") == [1]
    assert since(url, "a") == []
    log(opening(3), login(4))
    log(opening(5, second=SECOND - 86400))
    assert since(url, "a") == [3, 5]
    assert since(url, "b") == [5, 1, 3]
    log(opening(6))
    assert since(url, "b") == [6]
    assert since(url, "a") == [6]
    assert since(url, "a") == []


def test_what_does_not_match_is_passed_over(url, log):
    """An event that was passed over does not come when other conditions are asked for."""
    assert since(url, "a") == []
    log(opening(1), login(2))
    assert since(url, "a", Criteria(types=("USER_LOGIN",))) == [2]
    assert since(url, "a") == []


@pytest.mark.one_database
def test_the_place_stays_if_not_all_was_taken(url, log):
    """A reader that goes away early gets the events again."""
    assert since(url, "a") == []
    log(*(opening(n) for n in range(1, 30)))
    with events_since(url, "a", FILES) as found:
        assert identity(next(found.events))[2] == 1
    assert since(url, "a") == list(range(1, 30))


@pytest.mark.one_database
def test_many_arrivals(url, log):
    """More than are read at once, in one transaction and in several."""
    assert since(url, "a") == []
    log(*(opening(n) for n in range(1, 700)))
    log(*(opening(n) for n in range(700, 1300)))
    assert sorted(since(url, "a")) == list(range(1, 1300))
    assert since(url, "a") == []


@pytest.mark.one_database
def test_it_can_be_forgotten(url, log):
    """Then the store keeps nothing for it, and the next search is a first one."""
    log(opening(1))
    assert since(url, "a") == [1]
    assert lag(url, "search a") is not None
    forget(url, "a")
    assert lag(url, "search a") is None
    assert since(url, "a") == [1]


def test_the_command(tmp_path):
    """Found, then nothing; what it does not go with is an error."""
    url = f"sqlite:///{tmp_path}/store.db"
    pipe = Pipe(url)
    pipe.load(opening(1))
    environment = os.environ | {"AUDITSVC_STORE": url}
    words = ["search", "-k", "files", "--checkpoint", "a"]
    for more, status in ([[], 0], [[], 1], [["--forget"], 0], [[], 0], [["--just-one"], 1]):
        assert run(*words, *more, environment=environment).returncode == status
    pipe.close()
