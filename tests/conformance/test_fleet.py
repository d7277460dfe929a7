"""The fleet: what hosts ship is in the lake once, event for event, whatever ends whom."""

from __future__ import annotations

import json
import os
import random
import shutil
from contextlib import suppress

import pytest
from fixtures import days
from fixtures.commands import run
from fixtures.days import NOW, TODAY, prune, text_of
from fixtures.lake import Stop, StoppingInbox, differences, open_feed, store_of
from fixtures.logs import Pipe, call, end, load, opening, path
from fixtures.repeats import seeds
from fixtures.waiting import until

from auditsvc.config import load_settings
from auditsvc.errors import FleetError, StoreError
from auditsvc.fleet import lake as tables
from auditsvc.fleet.commit import Committer
from auditsvc.fleet.names import batch_of, object_of
from auditsvc.fleet.prune import prune as prune_table
from auditsvc.fleet.report import make_report
from auditsvc.fleet.ship import ALL, Shipper
from auditsvc.retention import report as retention
from auditsvc.service.shipping import Shipping
from auditsvc.status import fleet as of_host
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.partitions import DAY
from auditsvc.store.read.feed import Feed


def lines(seed, each=12):
    """Give the events of three days, in an order in which they may arrive."""
    chance = days.chance(seed)
    made = days.log(chance, range(TODAY - 2, TODAY + 1), each=each)
    late = [one for one in made if chance.random() < 0.2]
    return [one for one in made if one not in late] + late


@pytest.mark.long
def test_stores_of_several_hosts_come_whole(lake, tmp_path):
    """Late events, several batches and commits; the sums add up, and all is well."""
    hosts = [lake.host(tmp_path, name, batch_events=15) for name in ("web1", "db/1")]
    for seed, settings in enumerate(hosts):
        made = lines(seed)
        load(settings.store, text_of(made[:20]))
        lake.ship(settings)
        load(settings.store, text_of(made), name="more")
        lake.ship(settings)
    committer = lake.commit()
    assert committer.done.batches > 4
    assert committer.refused == []
    assert differences(lake, hosts) == []
    marks = tables.watermarks(tables.open_table(lake.settings))
    assert {host for host, _ in marks} == {"web1", "db/1"}
    assert all(mark.events == mark.told for mark in marks.values())
    assert lake.waiting() == []
    found = make_report(lake.settings, silent=1e6)
    assert [each["wrong"] for each in found["hosts"]] == [[], []]
    order = [(row["host"], row["event_id"]) for row in lake.rows().to_pylist()]
    assert len(set(order)) == len(order)
    facts = of_host.make_report(hosts[0])
    assert (facts["events"], facts["waiting_transactions"]) == (len(lines(0)), 0)


def test_an_event_that_is_completed_later_gets_a_new_version(lake, tmp_path):
    """Its path comes from another log after it was shipped; other readers get no event twice."""
    settings = lake.host(tmp_path, "web1")
    with open_store(settings.store) as store:
        journal = Feed(store, "journal")
    load(settings.store, call(1, nr=257, items=1) + end(1) + opening(2))
    lake.ship(settings)
    load(settings.store, call(1, nr=257, items=1) + path(1, "/etc/shadow") + end(1), name="late")
    lake.ship(settings)
    lake.commit()
    versions = {row["event_id"]: [] for row in lake.rows().to_pylist() if row["event_id"] > 0}
    for row in lake.rows().to_pylist():
        if row["event_id"] > 0:
            versions[row["event_id"]].append((row["version"], len(row["paths"])))
    assert sorted(sorted(each) for each in versions.values()) == [[(0, 0), (2, 1)], [(0, 1)]]
    assert differences(lake, [settings]) == []
    with open_feed(settings, "journal") as feed:
        assert journal.position <= feed.position
        assert len(feed.ids(ALL, 100).ids) == 2
    assert lake.ship(settings).batches == 0  # nothing is left to be told


STEPS = ("before the PUT", "after the PUT", "before the next PUT")


@pytest.mark.parametrize(
    "step",
    [pytest.param(each, marks=() if each == STEPS[1] else pytest.mark.long) for each in STEPS],
)
def test_a_host_that_is_killed_ships_each_event_once(lake, tmp_path, step):
    """Before and after the PUT of each batch, with more events in between, and the next goes on."""
    settings = lake.host(tmp_path, "web1", batch_events=3)
    made = lines(5, each=8)
    killed = 0
    for number in range(1, 6):
        load(settings.store, text_of(made[: number * 4]), name=f"log{number}")
        try:
            lake.ship(settings, inbox=StoppingInbox(lake.inbox, step))
        except Stop:
            killed += 1
        if number == 3:
            lake.commit()
    assert killed > 2
    load(settings.store, text_of(made))
    lake.ship(settings)
    lake.commit()
    assert differences(lake, [settings]) == []
    (mark,) = tables.watermarks(tables.open_table(lake.settings)).values()
    assert mark.events == mark.told == len(made)


@pytest.mark.parametrize("seed", seeds(0, 20))
def test_a_store_that_was_put_back_loses_and_doubles_nothing(lake, tmp_path, seed):
    """A copy of the store from some batches before takes its place; its log is loaded again."""
    chance = random.Random(seed)
    settings = lake.host(tmp_path, "web1", batch_events=chance.randrange(3, 9))
    made = lines(seed)
    copied = tmp_path / "copy.db"
    when = chance.randrange(2, 6)
    for number in range(1, 8):
        load(settings.store, text_of(made[: number * 4]), name=f"log{number}")
        if chance.random() < 0.8:
            lake.ship(settings)
        if number == when:
            shutil.copy(store_of(settings), copied)
        if chance.random() < 0.3:
            lake.commit()
    load(settings.store, text_of(made[:32]), name="log20")
    with suppress(Stop):
        lake.ship(settings, inbox=StoppingInbox(lake.inbox, chance.choice(STEPS)))
    shutil.copy(copied, store_of(settings))
    load(settings.store, text_of(made))
    lake.ship(settings)
    committer = lake.commit()
    assert committer.refused == []
    assert differences(lake, [settings]) == []
    (mark,) = tables.watermarks(tables.open_table(lake.settings)).values()
    assert mark.events == mark.told


def test_two_programs_cannot_ship_two_ranges_with_one_number(lake, tmp_path):
    """The one that comes second finds that the note is not as it left it."""
    settings = lake.host(tmp_path, "web1", batch_events=5)
    load(settings.store, text_of(lines(3)))
    with open_store(settings.store) as store:
        one, other = Shipper(store, settings), Shipper(store, settings)
        assert one._intend(one.position, only_due=False).intent.n == 1
        with pytest.raises(StoreError, match="not where it was left"):
            other._intend(other.position, only_due=False)
        steps = one.steps(only_due=False)
        next(steps)
        with pytest.raises(FleetError, match="another program ships"):
            next(other.steps(only_due=False))
        steps.close()


def test_committers_that_meet_commit_each_batch_once(lake, tmp_path):
    """One commits between the other's look and commit: a conflict, and it looks again."""
    settings = lake.host(tmp_path, "web1", batch_events=10)
    load(settings.store, text_of(lines(7)))
    lake.ship(settings)
    one = lake.committer()
    other = lake.committer()
    commit = one._commit

    def late(*arguments):
        if not one.done.conflicts:
            other.step()
        return commit(*arguments)

    one._commit = late
    while one.step():
        pass
    assert (one.done.conflicts, one.done.commits, other.done.commits) == (1, 0, 1)
    assert differences(lake, [settings]) == []
    assert lake.waiting() == []


def test_a_committer_that_ended_before_it_deleted(lake, tmp_path):
    """The batches that are in the table already are deleted by the next, not committed again."""
    settings = lake.host(tmp_path, "web1", batch_events=10)
    load(settings.store, text_of(lines(8)))
    lake.ship(settings)
    ended = Committer(lake.settings, shards=[lake.settings.shard])
    ended._inbox.delete = lambda _: None
    while ended.done.commits == 0:
        ended.step()
    assert len(lake.waiting()) > 2
    assert lake.commit().done.commits == 0
    assert lake.waiting() == []
    assert differences(lake, [settings]) == []


def test_a_batch_that_another_committer_took_is_no_error(lake, tmp_path):
    """NoSuchKey between the list and the read says: look again."""
    settings = lake.host(tmp_path, "web1")
    load(settings.store, text_of(lines(9)))
    lake.ship(settings)
    committer = lake.committer()
    names = committer._names()
    lake.commit()
    committer._names = lambda: names
    assert committer.step() is False
    assert committer.refused == []


def test_what_is_not_what_its_name_says_is_not_taken(lake, tmp_path):
    """Another's rows, another number, damage, a missing batch: told, and left where they are."""
    web, db = (lake.host(tmp_path, name, batch_events=8) for name in ("web1", "db1"))
    for settings in (web, db):
        load(settings.store, text_of(lines(4)))
        lake.ship(settings)
    inbox, (mine, second, *rest) = lake.inbox, lake.waiting("web1")
    (host, store, _), shard = batch_of(mine), lake.settings.shard
    data = inbox.get(mine)
    forged = object_of(shard, "db2", store, 1)
    inbox.put(forged, data)
    odd = object_of(shard, "web3", store, 1)
    inbox.put(odd, data[:-100])
    inbox.delete([second])
    inbox.put(second, data)
    committer = lake.commit()
    why = {each.name: each.why for each in committer.refused}
    assert why.pop(forged) == "it has rows whose host is not that of its name"
    assert "it cannot be read" in why.pop(odd)
    assert why.pop(second) == "it has rows whose batch is not that of its name"
    assert why == {}
    assert set(lake.waiting()) == {forged, odd, second, *rest}
    assert tables.watermarks(tables.open_table(lake.settings))[host, store].n == 1
    inbox.delete([second])
    assert "batch 2 is missing" in [each.why for each in lake.commit().refused]
    found = make_report(web.fleet, silent=1e6)["hosts"]
    wrong = {each["host"]: each["wrong"] for each in found if each["store"] == store}
    assert (wrong["web1"], wrong["db2"]) == (["batch 2 is missing"], [])


def test_a_host_that_went_back_on_its_word_shows(lake, tmp_path):
    """Another batch with a number that is in the table stays in the inbox, and is told."""
    settings = lake.host(tmp_path, "web1", batch_events=20)
    load(settings.store, text_of(lines(4)))
    lake.ship(settings)
    first, second, *_ = names = lake.waiting()
    before = [lake.inbox.get(name) for name in (first, second)]
    lake.commit()
    lake.inbox.put(first, before[0])
    assert lake.commit().refused == []
    assert lake.waiting() == []
    lake.inbox.put(first, before[1])
    lake.inbox.put(names[-1], before[0])
    assert {each.why for each in lake.commit().refused} == {"the table has another batch with it"}
    assert lake.waiting() == sorted({first, names[-1]})


def test_a_host_that_was_killed_after_its_batch_was_taken_is_not_suspected(lake, tmp_path):
    """It puts the batch again, which is in the table and no more in the inbox: the same one."""
    settings = lake.host(tmp_path, "web1")
    load(settings.store, text_of(lines(4)))
    with pytest.raises(Stop):
        lake.ship(settings, inbox=StoppingInbox(lake.inbox, "after the PUT"))
    lake.commit()
    assert lake.waiting() == []
    lake.ship(settings)
    assert lake.waiting() != []
    assert lake.commit().refused == []
    assert lake.waiting() == []
    assert differences(lake, [settings]) == []


def test_retention_waits_for_the_fleet(lake, tmp_path):
    """Events that were not shipped stay, and so do those that were amended since."""
    settings = lake.host(tmp_path, "web1")
    first = call(1, nr=257, items=1, second=(TODAY - 2) * DAY)
    load(settings.store, first + end(1, second=(TODAY - 2) * DAY))
    with open_store(settings.store) as store:
        Feed(store, "fleet", from_beginning=True)
        assert list(prune(store.database, keep="1d").held.values()) == ["fleet"]
        kept = load_settings(retention={"keep": "1d"}).retention
        with reading(store.database) as connection:
            assert "fleet ship --forget" in retention._held(connection, kept, NOW)
    lake.ship(settings)
    more = first + path(1, "/x", second=(TODAY - 2) * DAY) + end(1, second=(TODAY - 2) * DAY)
    load(settings.store, more, name="late")
    with open_store(settings.store) as store:
        assert list(prune(store.database, keep="1d").held.values()) == ["fleet"]
    lake.ship(settings)
    with open_store(settings.store) as store:
        pruned = prune(store.database, keep="1d")
    assert (pruned.held, list(pruned.events.values())) == ({}, [1])
    lake.commit()
    assert sorted(row["version"] for row in lake.rows().to_pylist() if row["event_id"] > 0) == [
        0,
        2,
    ]


def test_whole_days_of_the_table_are_deleted(lake, tmp_path):
    """Of three days one stays, and the watermarks with it."""
    settings = lake.host(tmp_path, "web1")
    load(settings.store, text_of(lines(2)))
    lake.ship(settings, now=lambda: NOW)
    lake.commit()
    files, rows = prune_table(lake.settings, TODAY)
    assert (files, rows) == (2, 24)
    assert len(lake.rows()) == 13  # one of them is the batch's own
    assert prune_table(lake.settings, TODAY) == (0, 0)
    assert lake.commit().done.batches == 0


def test_a_batch_goes_when_it_is_full_or_old_or_the_day_ends(lake, tmp_path):
    """And an empty one after an hour, so that a quiet host is not a silent one."""
    clock = [NOW]
    settings = lake.host(tmp_path, "web1", batch_events=3, interval=300)
    pipe = Pipe(settings.store)
    pipe.load(opening(1))
    with open_store(settings.store) as store:
        shipper = Shipper(store, settings, now=lambda: clock[0])

        def shipped(after, text=""):
            clock[0] += after
            if text:
                pipe.load(text)
            before = shipper.batches
            for _ in shipper.steps():
                pass
            return shipper.batches - before

        assert shipped(0) == 1  # the first goes at once
        whole = opening(1) + opening(2)
        assert shipped(1, whole) == 0
        assert shipped(300) == 1
        whole += opening(3) + opening(4) + opening(5)
        assert shipped(1, whole) == 1
        assert shipped(1, whole + opening(6)) == 0
        clock[0] = (TODAY + 1) * DAY
        assert shipped(1) == 1
        assert shipped(1000) == 0
        assert shipped(3600) == 1
    pipe.close()
    lake.commit()
    assert differences(lake, [settings]) == []


def test_what_came_while_others_were_shipped_does_not_wait_from_their_end(lake, tmp_path):
    """A backlog takes its time; what is left of it is in the inbox when it has waited the interval.

    So it is begun earlier: by as long as its events took in the batch before.
    """
    clock, took = [NOW], [10]
    settings = lake.host(tmp_path, "web1", batch_events=3, interval=300)
    load(settings.store, "".join(opening(n) for n in range(1, 9)))
    with open_store(settings.store) as store:
        shipper = Shipper(store, settings, now=lambda: clock[0])

        def shipped():
            before = shipper.events
            for _ in shipper.steps():
                clock[0] += took[0]  # so long does each step take
            return shipper.events - before

        assert shipped() == 6
        clock[0] = NOW + 279  # three events took 30 seconds
        assert shipped() == 0
        clock[0] = NOW + 280
        assert shipped() == 2
        load(settings.store, opening(9), kind="another")
        clock[0] = NOW + 564  # and two took as many
        assert shipped() == 0
        clock[0], took[0] = NOW + 565, 40
        assert shipped() == 1
        load(settings.store, opening(10) + opening(11), kind="a third")
        clock[0] = NOW + 565 + 149  # but not before half of the time
        assert shipped() == 0
        clock[0] = NOW + 565 + 150
        assert shipped() == 2


def test_run_ships_by_itself_and_waits_while_the_inbox_is_away(lake, tmp_path):
    """A thread of the service: it says what is wrong, tries again, and ships what is due."""
    away = lake.host(tmp_path, "web1", endpoint="http://127.0.0.1:9")
    load(away.store, opening(1) + opening(2))
    shipping = Shipping(away, first=0)
    shipping.start()
    until(lambda: "http://127.0.0.1:9" in shipping.problem)
    assert shipping.is_alive()
    shipping.finish()
    again = Shipping(lake.host(tmp_path, "web1"), first=0)
    again.start()
    until(lambda: again.events == 2)
    again.finish()
    assert (again.batches, again.problem) == (1, "")
    assert not again.is_alive()
    lake.commit()
    assert differences(lake, [lake.host(tmp_path, "web1")]) == []


def test_the_commands(lake, tmp_path):
    """Ship, commit, status and prune, as an administrator has them; the rest is refused."""
    settings = lake.host(tmp_path, "web1")
    load(settings.store, opening(1) + opening(2))
    environment = os.environ | {
        "AUDITSVC_STORE": settings.store,
        "AUDITSVC_STATE_DIRECTORY": str(settings.state_directory),
        "AUDITSVC_HOST": "web1",
        **{f"AUDITSVC_FLEET__{name.upper()}": str(value) for name, value in lake.given.items()},
    }

    def said(*arguments, status=0):
        done = run("fleet", *arguments, environment=environment)
        assert done.returncode == status, done.stderr
        return done.stdout.decode() or done.stderr.decode()

    assert said("init") == f"there already: {lake.settings.table}\n"
    assert "2 events in 1 batch" in said("ship", "--once", "--format", "table")
    shard = ("--shard", lake.settings.shard)
    assert "committed: 1 batch, 3 rows" in said("commit", "--once", *shard, "--format", "table")
    assert json.loads(said("commit", "--once", *shard))["batches"] == 0
    assert "say how long" in said("commit", status=2)
    assert "say what to do" in said("ship", status=2)
    assert "not a number of days" in said("prune", "--keep", "x", status=2)
    assert "deleted before" in said("prune", "--keep", "1d")
    assert said("ship", "--forget") == "the store is shipped no more\n"
    assert of_host.make_report(settings)["events"] == 0
