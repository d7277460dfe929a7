"""Retention: whole days go with all that belongs to them, and nothing else does."""

from __future__ import annotations

import time

import pytest
from fixtures import days
from fixtures.days import NOW, TODAY, contents, dangling, log, prune, table, text_of, unused
from fixtures.logs import Pipe, balanced, call, ledger, load, opening, record, rows
from fixtures.repeats import seeds

from auditsvc.config import RetentionSettings
from auditsvc.decode import DECODERS, make_decoder
from auditsvc.errors import SupersededError
from auditsvc.ingest.load import Load, Route
from auditsvc.retention.job import Job
from auditsvc.store import open_store
from auditsvc.store.read.feed import Feed
from auditsvc.store.read.selection import Selection
from auditsvc.store.schema import metadata
from auditsvc.store.write import prune as prune_module


@pytest.fixture
def twin(request, url, tmp_path):
    """Give the URL of a second store with the same secret: its rows have the same ids."""
    with days.copy_of(request, url, tmp_path) as made:
        yield made


@pytest.mark.one_database
@pytest.mark.parametrize("seed", seeds(2, 60))
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
    pruned = prune(pipe.store.database, keep=f"{keep}d")
    pipe.close()
    gone = {day: sum(d == day for d, _ in made) for day in set(some) - kept}
    assert pruned.events == gone
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

    def __init__(self, url, decoder="auto"):
        self.data = bytearray()
        self.store = open_store(url)

        def make(secret):
            return make_decoder(None if decoder == "auto" else decoder, secret=secret, host="box")

        route = Route("file", "log", lambda _, position: Memory(self.data, position), make)
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


def job(store):
    """Give a job that keeps yesterday and today, in a store that is open a second time."""
    return Job(store.database, RetentionSettings(keep="1d"), now=lambda: NOW)


OLD, NEW = (TODAY - 5) * 86_400, TODAY * 86_400


@pytest.mark.one_database
def test_what_a_decoder_relies_on_is_given_again(url):
    """A row of a pruned day that the loader has given before stands where it is used again."""
    writer = Writer(url)
    writer.write(opening(1, "/only/old", second=OLD, exe='"/usr/bin/old"', pid=7))
    with open_store(url) as store:
        for _ in job(store).steps():
            pass
    assert writer.write(opening(2, "/only/old", second=NEW, exe='"/usr/bin/old"', pid=7)) == 1
    assert writer.write(opening(3, "/only/old", second=NEW, exe='"/usr/bin/old"', pid=7)) == 0
    writer.close()
    assert dangling(url) == []
    assert unused(url) == {}


@pytest.mark.one_database
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_row_that_comes_back_while_it_is_removed_stays(url, decoder):
    """Whichever step of a job a batch comes after, what it uses is there in the end."""
    writer, number, is_done = Writer(url, decoder), 0, False
    store = open_store(url)
    while not is_done:
        only = {"name": f"/only/{number}", "exe": f'"/usr/bin/only{number}"', "pid": 100 + number}
        title = f"{number:04d}"
        writer.write(opening(2 * number + 1, second=OLD, title=title, **only))
        is_done = True
        for step, _ in enumerate(job(store).steps()):
            if step == number:
                is_done = False
                writer.write(opening(2 * number + 2, second=NEW, title=title, **only))
        number += 1
    assert number > 15
    store.close()
    writer.close()
    assert dangling(url) == []
    assert unused(url) == {}


def test_a_text_that_is_moved_is_used(url):
    """A batch that moves what is stored takes its text from the notes, as one that brings it."""
    load(url, record("FD_PAIR", 1, "fd0=7 fd1=8", second=NEW), "orphan", finish=True)
    with open_store(url) as store:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO unused_row SELECT 1, id FROM text")
        load(url, call(1, second=NEW, items=0), "call")
    assert table(url, "record")
    left = {row[1] for row in table(url, "unused_row")}
    assert left.isdisjoint(row[-1] for row in table(url, "record"))


@pytest.mark.one_database
@pytest.mark.parametrize("seed", seeds(2, 100))
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
    store = open_store(url)
    for _ in job(store).steps():
        if half < len(batches) and chance.random() < 0.5:
            writer.write(text_of(batches[half]))
            half += 1
    for batch in batches[half:]:
        writer.write(text_of(batch))
    for _ in job(store).steps():
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


@pytest.mark.one_database
def test_the_ledger_says_what_went(url):
    """Received is what it was and still adds up; what was pruned is there, by day too."""
    made = log(days.chance(7), [TODAY - 3, TODAY - 2, TODAY], each=10)
    load(url, text_of(made) + "no record\n")
    before = ledger(url)
    with open_store(url) as store:
        prune(store.database, keep="1d")
    assert ledger(url) == before | {"pruned": 20}
    assert balanced(url)
    found = rows(url, "SELECT kind, source, unit FROM ledger WHERE cause = 'pruned'")
    assert found == [{"kind": "store", "source": "", "unit": "events"}]
    shown = rows(url, "SELECT day, events, lines FROM pruned ORDER BY day")
    assert shown == [
        {"day": "2025-11-05", "events": 10, "lines": 0},
        {"day": "2025-11-06", "events": 10, "lines": 0},
    ]
    with open_store(url) as store:  # nothing is counted twice
        assert prune(store.database, keep="1d").events == {}
    assert ledger(url)["pruned"] == 20


@pytest.mark.one_database
def test_raw_lines_go_by_the_day_on_which_they_were_stored(url):
    """A line that is no record has no time of its own."""
    load(url, "no record\nnor this\n" + opening(1, second=OLD))
    now = int(time.time())
    with open_store(url) as store:
        assert prune(store.database, now=now, keep="1d").lines == 0
        assert len(rows(url, "SELECT * FROM raw")) == 2
        assert prune(store.database, now=now + 3 * 86_400, keep="1d").lines == 2
    assert rows(url, "SELECT * FROM raw") == rows(url, "SELECT * FROM raw_day") == []
    assert ledger(url)["pruned_raw"] == 2
    assert balanced(url)


@pytest.mark.one_database
def test_what_a_reader_has_not_had_stays(url):
    """A day goes when every reader of the feed has had its events, and not before."""
    made = log(days.chance(3), [TODAY - 4, TODAY - 3, TODAY - 2], each=6)
    load(url, text_of(made, {TODAY - 4}), "first")
    everything = Selection(keyed=False, exclude_keys=())
    with open_store(url) as store:
        feed = Feed(store, "journal")
        load(url, text_of(made, {TODAY - 3, TODAY - 2}), "second")
        pruned = prune(store.database, keep="1d")
        assert set(pruned.events) == {TODAY - 4}
        assert pruned.held == {TODAY - 3: "journal", TODAY - 2: "journal"}
        part = feed.ids(everything, 9)
        assert len(feed.fetch(part.ids)) == 9
        feed.save(part.end)
        assert set(prune(store.database, keep="1d").held) == {TODAY - 2}
        while part.ids:
            part = feed.ids(everything, 9)
            feed.save(part.end)
        assert prune(store.database, keep="1d").held == {}
        assert days.stored_events(url) == {}
        load(url, text_of(log(days.chance(4), [TODAY - 3], serial=900)), "late")
        assert set(prune(store.database, keep="1d").held) == {TODAY - 3}
    assert sum(days.pruned_events(url).values()) == len(made)


@pytest.mark.one_database
def test_an_event_that_arrives_while_its_day_goes_is_held_for_its_reader(url):
    """The reader is asked in the transaction that deletes, not only before."""
    load(url, text_of(log(days.chance(3), [TODAY - 3], each=400)))
    with open_store(url) as store:
        Feed(store, "journal")
        made, is_late = job(store), False
        for step, _ in enumerate(made.steps()):
            begun = made.events or (step == 1 and url.startswith("postgres"))  # texts are noted
            if begun and not is_late:
                is_late = True
                load(url, text_of(log(days.chance(5), [TODAY - 3], serial=9000)), "late")
    assert is_late
    assert made.held == {TODAY - 3: "journal"}
    assert days.stored_events(url)[TODAY - 3] >= 12


@pytest.mark.one_database
def test_one_program_prunes_at_a_time(url):
    """A second one takes over; the first ends with an error that says so."""
    load(url, text_of(log(days.chance(3), [TODAY - 3], each=30)))
    with open_store(url) as store:
        first = job(store).steps()
        next(first)
        next(first)
        for _ in job(store).steps():
            pass
        with pytest.raises(SupersededError, match="another program prunes"):
            next(first)
    assert days.stored_events(url) == {}
    assert unused(url) == {}


def test_every_table_with_rows_of_events_is_pruned():
    """Also one that is added later; not a reader's position, nor what waits to be shipped.

    `repeated` is pruned by itself, as its rows are of none of the kinds that partitions have.
    """
    with_events = {name for name, each in metadata.tables.items() if "event" in each.columns}
    assert with_events - {"consumer", "amended", "repeated"} | {"syscall", "event"} == {
        each.name for each in prune_module._WITH_IDS
    }
