"""What arrives is settled later, and no answer tells which has happened."""

from __future__ import annotations

import random
import sqlite3

import pytest
from fixtures.activity import differs
from fixtures.logs import Pipe, call, load, opening, path, proctitle, record, rows
from fixtures.repeats import seeds

from auditsvc.store import file_counts, open_store, sqlite_insert
from auditsvc.store.write import settle

HOUR = 3600


@pytest.fixture
def in_small_parts(monkeypatch):
    """Settle few events at a time."""
    monkeypatch.setattr(settle, "MANY", 7)
    monkeypatch.setattr(file_counts, "MANY", 10)
    monkeypatch.setattr(file_counts, "MOST", 15)


def settled(url):
    """Settle everything."""
    with open_store(url) as store:
        store.source("file", "any")  # counts what waits
        while store.settle(all_of_it=True):
            pass


def waiting(url):
    """Give how many rows wait: of paths on SQLite, and of counts."""
    paths = 0
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            paths = connection.execute("SELECT count(*) FROM path WHERE settled IS NULL")
            (paths,) = paths.fetchone()
    return paths, rows(url, "SELECT count(*) AS n FROM activity_part")[0]["n"]


def test_activity_counts_calls_by_hour(url):
    """Each column of `activity`, before and after it is settled."""
    log = [
        opening(1),
        opening(2),
        opening(3, success="no", exit="-13"),
        opening(4, nr=257, auid=1000, key=None),
        opening(5, success=None),
    ]
    Pipe(url).load("".join(log))
    sql = (
        "SELECT host, exe, comm, auid, uid, key, syscall, success, errno, calls FROM activity"
        " ORDER BY calls DESC, errno, syscall, auid"
    )
    before = rows(url, sql)
    yes, no = (1, 0) if url.startswith("sqlite") else (True, False)
    who = {"host": "box", "exe": "/usr/bin/cat", "comm": "cat", "uid": 1000}
    plain = who | {"auid": None, "key": "files", "syscall": "open"}
    assert sorted(before, key=str) == sorted(
        [
            plain | {"success": yes, "errno": None, "calls": 2},
            plain | {"success": no, "errno": 13, "calls": 1},
            plain | {"success": None, "errno": None, "calls": 1},
            plain
            | {"auid": 1000, "key": None, "syscall": "openat"}
            | {"success": yes, "errno": None, "calls": 1},
        ],
        key=str,
    )
    settled(url)
    assert waiting(url) == (0, 0)
    assert sorted(rows(url, sql), key=str) == sorted(before, key=str)


@pytest.mark.usefixtures("in_small_parts")
def test_while_events_come_quickly_only_very_much_is_settled(url):
    """Ten times as much; all of it in the end, so that no rate leaves everything waiting."""
    pipe = Pipe(url)
    for count, waits in ((20, True), (100, False)):
        load(url, "".join(opening(n, pid=n) for n in range(count)), f"log{count}")
        pipe.store.source("file", "any")  # counts what waits
        before = waiting(url)
        while pipe.store.settle(is_busy=True):
            pass
        assert (waiting(url) == before) is waits
    pipe.close()


def runs(url):
    """Give how many paths each run has, in an SQLite store."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        found = connection.execute(
            "SELECT count(*) FROM path WHERE settled IS NOT NULL GROUP BY settled ORDER BY settled"
        )
        return [count for (count,) in found]


@pytest.mark.usefixtures("in_small_parts")
def test_the_last_run_is_filled_before_a_new_one_begins(tmp_path):
    """Else a host with few events would get a run every ten minutes, and searches slow."""
    url = f"sqlite:///{tmp_path}/store.db"
    for count in range(20):
        load(url, opening(count, name=f"/f{count % 3}"), f"log{count}")
        settled(url)
    assert sum(runs(url)) == 20
    assert runs(url)[:-1] == [7, 7]
    found = rows(url, "SELECT event_id FROM paths WHERE name = '/f1'")
    assert len(found) == 7


def test_a_large_batch_is_a_run(tmp_path, monkeypatch):
    """Nothing of it waits; a small one waits."""
    url = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setattr(sqlite_insert, "_BULK", 10)
    for number, count in enumerate((30, 5, 40)):
        lines = [opening(100 * number + n, name=f"/f{n % 7}") for n in range(count)]
        load(url, "".join(lines), f"log{number}")
    assert runs(url) == [30, 40]
    assert waiting(url)[0] == 5
    found = rows(url, "SELECT event_id FROM paths WHERE name = '/f1'")
    assert len(found) == 5 + 1 + 6


@pytest.mark.one_database
@pytest.mark.usefixtures("in_small_parts")
@pytest.mark.parametrize("seed", seeds(2, 200))
def test_no_answer_changes(url, seed):
    """Events that come in any order, twice, or in parts; settled at any moment."""
    chance = random.Random(seed)
    events = []
    for n in range(80):
        second = 1_750_000_000 + chance.choice((0, 1, 300, HOUR, 5 * HOUR, 30 * HOUR, 54 * HOUR))
        known = {"second": second, "pid": chance.randrange(3), "nr": chance.choice((2, 257, 59))}
        failed = {"success": "no", "exit": str(-chance.choice((2, 13)))}
        lines = [
            call(n, **known, **(failed if chance.random() < 0.3 else {})),
            path(n, f"/f{n % 5}", second=second),
            proctitle(n, second=second),
        ]
        events.append(lines)
    # A part of an event, later all of it; an event twice; a record without a call.
    log = ["".join(lines) for lines in events]
    log += [lines[1] for lines in events[:20]] + log[20:50]
    log += [record("USER_LOGIN", 1000 + n, f"pid={n} uid=0 msg='op=x'") for n in range(10)]
    chance.shuffle(log)
    for number in range(0, len(log), 30):
        pipe = Pipe(url, f"log{number}", batch=chance.choice((700, 3000)))
        pipe.load("".join(log[number : number + 30]))
        if chance.random() < 0.6:
            pipe.store.settle(all_of_it=chance.random() < 0.5)
        pipe.close()
        assert differs(url) == []
    named = {n: rows(url, f"SELECT event_id FROM paths WHERE name = '/f{n}'") for n in range(5)}
    everything = rows(url, "SELECT event_id, name FROM paths")
    settled(url)
    for n, found in named.items():
        again = rows(url, f"SELECT event_id FROM paths WHERE name = '/f{n}'")
        for each in (found, again):
            assert sorted(row["event_id"] for row in each) == sorted(
                row["event_id"] for row in everything if row["name"] == f"/f{n}"
            )
    assert differs(url) == []
    assert waiting(url) == (0, 0)
