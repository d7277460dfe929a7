"""Each reader gets every event that arrives once, whatever the events' own times are."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from fixtures.logs import SECOND, Pipe, call, end, load, login, opening, path, recorded, rows
from fixtures.repeats import seeds

from auditsvc.errors import StoreError
from auditsvc.store import open_store
from auditsvc.store.read.feed import Feed, Position
from auditsvc.store.read.questions import lag
from auditsvc.store.read.selection import Selection

DATA = Path(__file__).parents[1] / "data"
ALL = Selection(keyed=False, exclude_keys=(), types=("*",))


@pytest.fixture
def store(url):
    """Open a new store."""
    with open_store(url) as made:
        yield made


def serials(url, ids):
    """Give the serials of events, in the order of their ids given."""
    found = {
        row["event_id"]: row["serial"]
        for view in ("syscalls", "events")
        for row in rows(url, f"SELECT event_id, serial FROM {view}")
    }
    return [found[each] for each in ids]


def drain(feed, selection=ALL, limit=7):
    """Read all events, in small parts, and save the position after each."""
    taken = []
    while True:
        part = feed.ids(selection, limit)
        taken += part.ids
        feed.save(part.end)
        if not part.more and not part.ids:
            return taken


def test_a_new_reader_begins_now(store, url):
    """It gets no event that arrived before its registration."""
    pipe = Pipe(url)
    pipe.load(opening(1), finish=False)
    feed = Feed(store, "journal")
    assert drain(feed) == []
    whole = opening(1) + opening(2) + login(3)
    pipe.load(whole)
    assert serials(url, drain(feed)) == [2, 3]
    assert drain(feed) == []
    pipe.close()


def test_late_events_come_once(store, url):
    """A call that took an hour arrives after calls with later times."""
    feed = Feed(store, "journal")
    pipe = Pipe(url)
    first = "".join(call(n, second=SECOND + 100 + n) for n in range(1, 30))
    pipe.load(first)
    assert serials(url, drain(feed)) == list(range(1, 30))
    late = (
        call(31, second=SECOND - 3600)
        + call(32, second=SECOND + 110)
        + login(33, second=SECOND + 400)
    )
    pipe.load(first + late)
    assert sorted(serials(url, drain(feed))) == [31, 32, 33]
    pipe.close()


@pytest.mark.one_database
@pytest.mark.parametrize("seed", seeds(2, 60))
def test_any_order_of_arrival(store, url, seed):
    """Batches of random times, read in between: all events, each once."""
    chance = random.Random(seed)
    feed = Feed(store, "journal")
    pipe = Pipe(url)
    data, taken, wanted = "", [], []
    serial = 0
    for _ in range(12):
        for _ in range(chance.randrange(60)):
            serial += 1
            second = SECOND + chance.choice([serial // 20, chance.randrange(40), -500])
            data += (
                login(serial, second=second)
                if chance.random() < 0.2
                else call(serial, second=second)
            )
            wanted.append(serial)
        pipe.load(data)
        if chance.random() < 0.4:
            part = feed.ids(ALL, chance.randrange(1, 50))
            taken += part.ids
            feed.save(part.end)
        if chance.random() < 0.3:  # another log that holds the same events, and older ones
            serial += 1
            other = Pipe(url, f"other{serial}")
            half = data[: data.rfind("\n", 0, len(data) // 2) + 1]
            other.load(half + call(serial, second=SECOND + 3))
            other.close()
            wanted.append(serial)
    taken += drain(feed)
    assert len(taken) == len(set(taken))
    assert sorted(serials(url, taken)) == wanted
    pipe.close()


def test_a_crash_goes_on_behind_what_was_saved(store, url):
    """Another process continues at the saved position; two readers at once are refused."""
    feed = Feed(store, "journal")
    Pipe(url).load("".join(call(n) for n in range(1, 21)))
    part = feed.ids(ALL, 5)
    assert len(part.ids) == 5
    feed.save(part.end, "cursor-5")
    again = Feed(store, "journal")
    assert (again.position, again.note) == (part.end, "cursor-5")
    assert serials(url, drain(again)) == list(range(6, 21))
    with pytest.raises(StoreError, match="not where it was left"):
        feed.save(Position(99, 0))


def test_pieces_can_be_taken_ahead_of_saving(store, url):
    """`after` goes on from a slice that is not saved yet."""
    feed = Feed(store, "journal")
    Pipe(url).load("".join(call(n) for n in range(1, 12)))
    first = feed.ids(ALL, 4)
    second = feed.ids(ALL, 4, first.end)
    assert serials(url, first.ids + second.ids) == list(range(1, 9))
    assert lag(url, "journal").arrivals == 1
    feed.save(second.end)
    assert serials(url, drain(feed)) == [9, 10, 11]
    assert lag(url, "journal") == (0, 0.0)


LOG = (
    call(1, key='"files"')
    + call(2, key='"all-syscalls"')
    + call(3, key="(null)")
    + call(4, key="66696C657301616C6C2D73797363616C6C73", pid=7)  # files and all-syscalls
    + call(5, key='"files"', success="no", exit="-13", nr=257)
    + call(6, key='"other"', exe='"/bin/sh"')
    + login(7)
)


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), [1, 4, 5, 6]),
        (Selection(keys=("files",)), [1, 4, 5]),
        (Selection(keys=("file",)), []),
        (Selection(keys=("all-syscalls",), exclude_keys=()), [2, 4]),
        (Selection(success=0), [5]),
        (Selection(syscalls=("openat",)), [5]),
        (Selection(programs=("/bin/sh",)), [6]),
        (Selection(exclude_pids=(7,)), [1, 5, 6]),
        (Selection(auids=(1000,), keyed=False), []),
        (Selection(auids=(1000,), keyed=False, types=("USER_LOGIN",)), [7]),
        (Selection(types=("*",)), [1, 4, 5, 6, 7]),
        (Selection(types=("DAEMON_START",)), [1, 4, 5, 6]),
        (Selection(keyed=False, exclude_keys=()), [1, 2, 3, 4, 5, 6]),
        (Selection(hosts=("elsewhere",)), []),
        (Selection(hosts=("box",)), [1, 4, 5, 6]),
    ],
)
def test_selections(store, url, selection, wanted):
    """Each part of a selection holds, on both databases."""
    feed = Feed(store, "journal")
    Pipe(url).load(LOG)
    assert serials(url, drain(feed, selection)) == wanted


def test_whole_events(store, url):
    """All rows of an event are given together, with equal values on both databases."""
    feed = Feed(store, "journal")
    Pipe(url).load(opening(1) + login(2))
    opened, logged = feed.fetch(feed.ids(ALL, 10).ids)
    assert opened.syscall["syscall"] == "open"
    assert opened.syscall["success"] == 1
    assert opened.syscall["time"] == "2025-06-15 15:06:40.123"
    assert [each["name"] for each in opened.paths] == ["/etc/passwd"]
    assert opened.event is None
    assert {each["type"] for each in opened.records} == {"PATH"}
    assert logged.event["type"] == "USER_LOGIN"
    assert logged.event["fields"]["res"] == "failed"


def _as_shown(url, view):
    """Give a view's rows by event, as `Event` has them."""
    found = {}
    for row in (recorded(view, each) for each in rows(url, f"SELECT * FROM {view}")):
        for name in ("argv", "fields"):
            if isinstance(row.get(name), str):
                row[name] = json.loads(row[name])
        if row.get("success") is not None:
            row["success"] = int(row["success"])
        if "time" in row:
            row["time"] = row["time"].replace("T", " ")[:23]
        event_id = row["event_id"] if "time" in row else row.pop("event_id")
        found.setdefault(event_id, []).append(row)
    return found


@pytest.mark.one_database
def test_whole_events_are_what_the_views_show(store, url):
    """Every row of every event is as in the views, whether its dimensions are cached or not."""
    for each in [DATA / "mixed.log", *sorted((DATA / "records").glob("*.log"))]:
        load(url, each.read_bytes(), each.name)
    calls = _as_shown(url, "syscalls")
    others = _as_shown(url, "events")
    lists = {name: _as_shown(url, name) for name in ("paths", "sockaddrs", "records")}
    feed = Feed(store, "journal")
    ids = [*calls, *others]
    assert all(len(lists[name]) > 5 for name in lists)
    assert len(ids) > 250
    for _ in range(2):
        found = feed.fetch(ids)
        assert [each.id for each in found] == ids
        for event in found:
            assert event.syscall == calls.get(event.id, [None])[0]
            assert event.event == others.get(event.id, [None])[0]
            for name, rows_of in lists.items():
                assert _sorted(getattr(event, name)) == _sorted(rows_of.get(event.id, []))


def _sorted(found):
    """Sort rows, as the views do not define their order completely."""
    return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))


@pytest.mark.one_database
def test_nothing_is_noted_while_nobody_reads(store, url):
    """Without a reader no arrival is recorded, and processed arrivals are deleted."""
    pipe = Pipe(url)
    data = call(1)
    pipe.load(data)
    count = "SELECT count(*) AS n FROM arrival"
    assert rows(url, count) == [{"n": 0}]
    feed = Feed(store, "journal")
    for serial in range(2, 8):
        data += call(serial, second=SECOND + serial)
        pipe.load(data)
    assert rows(url, count)[0]["n"] > 5
    assert serials(url, drain(feed)) == list(range(2, 8))
    assert rows(url, count)[0]["n"] <= 2
    feed.unregister()
    pipe.load(data + call(9))
    assert rows(url, count)[0]["n"] <= 2
    assert drain(Feed(store, "journal")) == []
    pipe.close()


@pytest.mark.one_database
def test_a_reader_from_the_beginning_gets_all_events_once(store, url):
    """What is stored, with what another reader has had and has not had, and what arrives."""
    pipe = Pipe(url)
    text = "".join(call(n, second=SECOND + 10 * n) for n in range(1, 12))
    pipe.load(text)
    journal = Feed(store, "journal")
    text += "".join(call(n, second=SECOND + 10 * n - 95) for n in range(12, 20))
    pipe.load(text)
    fleet = Feed(store, "fleet", from_beginning=True)
    assert sorted(serials(url, drain(fleet))) == list(range(1, 20))
    text += call(30, second=SECOND + 5) + login(31, second=SECOND + 900)
    pipe.load(text)
    assert sorted(serials(url, drain(fleet))) == [30, 31]
    assert sorted(serials(url, drain(journal))) == [*range(12, 20), 30, 31]
    pipe.close()


def test_a_range_stays_what_it_was(store, url):
    """Asked again after late events came into it, whole or from within an arrival."""
    pipe = Pipe(url)
    text = "".join(call(n, second=SECOND + 10 * n) for n in range(1, 12))
    pipe.load(text)
    fleet = Feed(store, "fleet", from_beginning=True)
    first = fleet.ids(ALL, 4)
    second = fleet.ids(ALL, 4, first.end)
    text += "".join(call(n, second=SECOND + 10 * n - 95) for n in range(12, 20))
    pipe.load(text)
    assert fleet.ids(ALL, 1 << 31, fleet.position, first.end)[:2] == first[:2]
    assert fleet.ids(ALL, 1 << 31, first.end, second.end)[:2] == second[:2]
    assert sorted(serials(url, drain(fleet))) == list(range(1, 20))
    pipe.close()


@pytest.mark.one_database
def test_only_the_fleet_is_told_what_was_amended(store, url):
    """By number and id, until it has dealt with it; no reader gets an event again."""
    half, whole = call(1, nr=257, items=1) + end(1), path(1, "/etc/shadow")
    Feed(store, "journal")
    load(url, half)
    fleet = Feed(store, "fleet", from_beginning=True)
    ids = drain(fleet)
    assert fleet.amended(9, 0) == []
    load(url, call(1, nr=257, items=1) + whole + end(1), name="late")
    assert fleet.amended(9, 0) == [(1, ids[0])]
    assert drain(fleet) == []
    fleet.save(fleet.position, "", 1)
    assert fleet.amended(9, 0) == []
    load(url, call(2, nr=257, items=1) + end(2), name="more")
    load(url, call(2, nr=257, items=1) + path(2, "/x") + end(2), name="later")
    assert [seq for seq, _ in fleet.amended(9, 1)] == [2]
    fleet.unregister()
    load(url, call(3, nr=257, items=1) + end(3), name="a")
    load(url, call(3, nr=257, items=1) + path(3, "/x") + end(3), name="b")
    assert Feed(store, "fleet").amended(9, 0) == []
