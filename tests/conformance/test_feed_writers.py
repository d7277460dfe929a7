"""Each event exactly once for a reader, while several writers commit at the same time."""

from __future__ import annotations

import random
import threading

import pytest
from fixtures.logs import SECOND, Pipe, call, rows
from fixtures.repeats import seeds

from auditsvc.store import open_store
from auditsvc.store.read.feed import Feed
from auditsvc.store.read.selection import Selection

ALL = Selection(keyed=False, exclude_keys=())
WRITERS, BATCHES, CALLS = 3, 25, 12


def _write(url, number, ready):
    """Write batches of one host, of times before and after those of the others."""
    chance = random.Random(number)
    pipe = Pipe(url, f"log{number}", host=f"host{number}")
    data = ""
    for batch in range(BATCHES):
        for each in range(CALLS):
            second = SECOND + chance.choice([batch, chance.randrange(60), -chance.randrange(500)])
            data += call(batch * CALLS + each + 1, second=second)
        pipe.load(data)
        if batch == 0:
            ready.wait()
    pipe.close()


def _stored(url):
    return {row["event_id"] for row in rows(url, "SELECT event_id FROM syscalls")}


@pytest.mark.one_database
@pytest.mark.parametrize("seed", seeds(1, 10))
def test_several_writers(url, seed):
    """All events that arrived after the reader's registration, none before it, none twice."""
    chance = random.Random(seed)
    open_store(url).close()
    ready = threading.Barrier(WRITERS + 1)
    writers = [
        threading.Thread(target=_write, args=(url, 10 * seed + number, ready))
        for number in range(WRITERS)
    ]
    for each in writers:
        each.start()
    ready.wait(300)
    with open_store(url) as store:
        before = _stored(url)
        feed = Feed(store, "journal")
        around = _stored(url)
        taken = []
        while True:
            ended = not any(each.is_alive() for each in writers)
            part = feed.ids(ALL, chance.randrange(1, 80))
            taken += part.ids
            feed.save(part.end)
            if ended and not part.ids and not part.more:
                break
    for each in writers:
        each.join(60)
    stored = _stored(url)
    assert len(stored) == WRITERS * BATCHES * CALLS
    assert len(taken) == len(set(taken))
    assert stored - around <= set(taken) <= stored - before
