"""kill -9 at any moment of pruning: events are whole or gone, counts agree, the next goes on."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter

import pytest
from fixtures import days
from fixtures.days import NOW, TODAY, contents, dangling, log, text_of, unused
from fixtures.logs import Pipe, everything, load
from fixtures.repeats import times

from auditsvc.config import RetentionSettings
from auditsvc.retention.job import Job
from auditsvc.store import open_store
from auditsvc.store.partitions import DAY

FORK = multiprocessing.get_context("fork")
LONGEST = 0.25
"""Seconds; about what a job needs here."""


def _prune(url, begun):
    with open_store(url) as store:
        job = Job(store.database, RetentionSettings(keep="1d"), step=0.002, now=lambda: NOW)
        begun.send(True)
        for _ in job.steps():
            pass


def _load(url, lines, begun):
    begun.send(True)
    pipe = Pipe(url, "late", batch=600)
    pipe.load(lines)
    pipe.close()


def _until_killed(chance, target, *arguments):
    """Run it in a process and kill that at some moment."""
    theirs, ours = FORK.Pipe()
    child = FORK.Process(target=target, args=(*arguments, ours))
    child.start()
    theirs.recv()
    time.sleep(chance.uniform(0, LONGEST))
    os.kill(child.pid, signal.SIGKILL)
    child.join()


def by_event(url):
    """Give all rows of each event, of all views."""
    found = {}
    for view, rows in everything(url).items():
        for row in rows:
            found.setdefault(row["event_id"], Counter())[view, repr(sorted(row.items()))] += 1
    return found


@pytest.fixture
def second(request, url, tmp_path):
    """Give a second empty store with the same secret."""
    with days.copy_of(request, url, tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    """Give the URL of an empty store."""
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path}/store.db"
    else:
        made = request.getfixturevalue("postgres_url")
    open_store(made).close()
    return made


@pytest.mark.one_database
@pytest.mark.parametrize("most", times(2, 60))
def test_killed_at_any_moment_of_pruning(url, second, most):
    """Killed again and again, it never leaves half an event, and at last it is done."""
    chance = random.Random(11)
    made = log(chance, range(TODAY - 3, TODAY + 1), each=150 if most > 3 else 80)
    load(url, text_of(made))
    load(second, text_of(made, {TODAY - 1, TODAY}))
    whole = by_event(url)
    for number in range(most):
        _until_killed(chance, _prune, url)
        there = by_event(url)
        assert all(whole[event] == rows for event, rows in there.items())
        gone = Counter((event >> 30) // DAY for event in whole.keys() - there.keys())
        assert days.pruned_events(url) == gone
        assert dangling(url) == []
        later = log(
            chance, [TODAY - 3], each=80 if most > 3 else 40, serial=100_000 + 1000 * number
        )
        load(url, text_of(later), f"later{number}")
        more = by_event(url)
        whole |= {event: rows for event, rows in more.items() if event not in there}
    _finish(url)
    assert dangling(url) == []
    assert unused(url) == {}
    ours, theirs = contents(url), contents(second)
    ours.views.pop("origins")
    theirs.views.pop("origins")
    assert ours.views == theirs.views
    assert ours.dimensions == theirs.dimensions


def _finish(url):
    with open_store(url) as store:
        job = Job(store.database, RetentionSettings(keep="1d"), now=lambda: NOW)
        for _ in job.steps():
            pass
    assert days.table(url, "unused_row") == []


@pytest.mark.one_database
@pytest.mark.parametrize("most", times(1, 40))
def test_killed_while_a_loader_is_killed_too(url, second, most):
    """Both at once, each killed at some moment: nothing that is used is missing."""
    chance = random.Random(12)
    made = log(chance, range(TODAY - 3, TODAY + 1), each=60)
    load(url, text_of(made))
    late = log(chance, range(TODAY - 3, TODAY + 1), each=100 if most > 1 else 60, serial=50_000)
    load(second, text_of(made, {TODAY - 1, TODAY}))
    load(second, text_of(late, {TODAY - 1, TODAY}), "late")
    lines = text_of(late)
    for _ in range(most):
        theirs, ours = FORK.Pipe()
        loader = FORK.Process(target=_load, args=(url, lines, ours))
        loader.start()
        theirs.recv()
        _until_killed(chance, _prune, url)
        loader.kill()
        loader.join()
        assert dangling(url) == []
    load(url, lines, "late")
    _finish(url)
    assert dangling(url) == []
    ours, theirs = contents(url), contents(second)
    ours.views.pop("origins")
    theirs.views.pop("origins")
    assert ours.views == theirs.views
    assert ours.dimensions == theirs.dimensions
    stored = sum(days.stored_events(url).values())
    assert stored + sum(days.pruned_events(url).values()) == len(made) + len(late)
