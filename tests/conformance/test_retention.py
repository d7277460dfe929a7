"""Retention: whole days go with all that belongs to them, and nothing else does."""

from __future__ import annotations

import shutil

import pytest
from fixtures import days
from fixtures.days import NOW, TODAY, contents, dangling, log, prune, text_of, unused
from fixtures.logs import Pipe, balanced, load, opening
from fixtures.repeats import seeds

from auditsvc.config import RetentionSettings
from auditsvc.decode import make_decoder
from auditsvc.ingest.load import Load, Route
from auditsvc.retention.job import Job
from auditsvc.store import open_store


@pytest.fixture
def twin(request, url, tmp_path, monkeypatch):
    """Give the URL of a second store with the same secret: its rows have the same ids."""
    if url.startswith("sqlite"):
        shutil.copy(tmp_path / "store.db", tmp_path / "twin.db")
        yield f"sqlite:///{tmp_path}/twin.db"
        return
    with request.getfixturevalue("postgres_server").database(url) as made:
        yield made


@pytest.mark.parametrize("seed", seeds(3, 60))
def test_a_pruned_store_equals_one_that_never_had_those_days(url, twin, seed):
    """All views, and the dimension rows behind them, whatever kinds of events the days had."""
    chance = days.chance(seed)
    last = range(TODAY - 6, TODAY + 1)
    some = [day for day in last if chance.random() < 0.8] + [TODAY]
    made = log(chance, set(some), each=chance.randrange(1, 30))
    keep = chance.randrange(1, 6)
    kept = {day for day in some if day >= TODAY - keep}
    load(twin, text_of(made, kept), kind=chance.choice(("file", "spool")))
    pipe = Pipe(url, kind=chance.choice(("file", "spool")), batch=3000)
    pipe.load(text_of(made))
    job = prune(pipe.store.database, keep=f"{keep}d")
    pipe.close()
    gone = {day: sum(d == day for d, _ in made) for day in set(some) - kept}
    assert job.events == gone
    assert days.pruned_events(url) == gone
    assert dangling(url) == []
    assert unused(url) == {}
    ours, theirs = contents(url), contents(twin)
    kinds = {row[1] for row in ours.views.pop("origins")}
    assert len(kinds) <= 1
    theirs.views.pop("origins")
    assert ours.views == theirs.views
    assert ours.dimensions == theirs.dimensions
    assert balanced(url)


class Memory:
    """A log in memory that grows: what `Load` reads."""

    missing = 0

    def __init__(self, data, position):
        self.data, self.position = data, position

    def read(self, limit):
        """Give the next bytes."""
        found = bytes(self.data[self.position : self.position + limit])
        self.position += len(found)
        return found

    def checkpoint(self):
        """Give how far it was read."""
        return "1", self.position

    def origin(self):
        """Give the same."""
        return self.position

    def close(self):
        """Do nothing."""


class Writer:
    """A loader as that of `run`: one decoder from batch to batch, until it has to begin anew."""

    def __init__(self, url, name="log"):
        self.data = bytearray()
        self.store = open_store(url)

        def make(secret):
            return make_decoder("auto", secret=secret, host="box")

        route = Route("file", name, lambda _, position: Memory(self.data, position), make)
        self.load = Load(self.store, route)

    def write(self, lines):
        """Commit lines; gives how often reading began anew."""
        self.data += lines.encode()
        again = 0
        while True:
            while self.load.step():
                pass
            if self.load.commit():
                return again
            again += 1

    def close(self):
        """End the log."""
        done = False
        while not done:
            while self.load.step():
                pass
            self.load.finish()
            done = self.load.commit()
        self.load.close()
        self.store.close()


def start(url, keep="1d"):
    """Begin a job in a store that is open a second time, as by another program."""
    store = open_store(url)
    return store, Job(store.database, RetentionSettings(keep=keep), now=lambda: NOW).steps()


OLD, NEW = (TODAY - 5) * 86_400, TODAY * 86_400


def test_what_a_decoder_relies_on_is_given_again(url):
    """A row of a pruned day that the loader has given before stands where it is used again."""
    writer = Writer(url)
    writer.write(opening(1, "/only/old", second=OLD, exe='"/usr/bin/old"', pid=7))
    store, steps = start(url)
    for _ in steps:
        pass
    store.close()
    assert writer.write(opening(2, "/only/old", second=NEW, exe='"/usr/bin/old"', pid=7)) == 1
    assert writer.write(opening(3, "/only/old", second=NEW, exe='"/usr/bin/old"', pid=7)) == 0
    writer.close()
    assert dangling(url) == []
    assert unused(url) == {}


@pytest.mark.parametrize("at", range(3))
def test_a_row_that_comes_back_while_it_is_removed_stays(url, at):
    """Whichever step of a job a batch comes after, what it uses is there in the end."""
    writer = Writer(url)
    lines = [opening(n, "/only/old", second=OLD, exe='"/usr/bin/old"', pid=7) for n in range(9)]
    writer.write("".join(lines))
    store, steps = start(url)
    for number, _ in enumerate(steps):
        if number % 3 == at:
            writer.write(
                opening(10 + number, "/only/old", second=NEW, exe='"/usr/bin/old"', pid=7)
            )
            assert dangling(url) == []
    store.close()
    writer.close()
    assert dangling(url) == []
    assert unused(url) == {}


@pytest.mark.parametrize("seed", seeds(4, 100))
def test_while_the_loader_writes(url, twin, seed):
    """Between any two steps of a job any events come, late ones too, and all is as it must be."""
    chance = days.chance(seed)
    made = log(chance, range(TODAY - 3, TODAY + 1), each=chance.randrange(4, 25))
    chance.shuffle(made)
    batches = [made[n : n + 5] for n in range(0, len(made), 5)]
    half = len(batches) // 2
    writer = Writer(url)
    for batch in batches[:half]:
        writer.write(text_of(batch))
    store, steps = start(url)
    for _ in steps:
        if half < len(batches) and chance.random() < 0.5:
            writer.write(text_of(batches[half]))
            half += 1
    for batch in batches[half:]:
        writer.write(text_of(batch))
    for _ in Job(store.database, RetentionSettings(keep="1d"), now=lambda: NOW).steps():
        pass
    store.close()
    writer.close()
    load(twin, text_of(made, {TODAY - 1, TODAY}))
    assert dangling(url) == []
    assert unused(url) == {}
    ours, theirs = contents(url), contents(twin)
    ours.views.pop("origins")
    theirs.views.pop("origins")
    assert ours.views == theirs.views
    assert ours.dimensions == theirs.dimensions
    assert sum(days.pruned_events(url).values()) == sum(d < TODAY - 1 for d, _ in made)
