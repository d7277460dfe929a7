"""The lives of processes: made from the log alone, whatever came in which order."""

from __future__ import annotations

import random

import pytest
from fixtures.days import TODAY, prune
from fixtures.logs import SECOND, Pipe, call, load, record, rows
from fixtures.process_model import CLONE, CLONE3, EXECVE, EXIT_GROUP, READ, THREAD, Host
from fixtures.repeats import seeds

from auditsvc.store import open_store
from auditsvc.store.write.sign_rebuild import rebuild

_SIGNS = "SELECT * FROM process_sign ORDER BY host, pid, at, low"


def signs(url):
    """Give the signs as they are, and as they are made anew of the stored events."""
    with open_store(url) as store, store.database.begin(alone=True) as connection:
        kept = [tuple(row) for row in connection.exec_driver_sql(_SIGNS)]
        rebuild(connection)
        return kept, [tuple(row) for row in connection.exec_driver_sql(_SIGNS)]


def lives(url, columns="pid, ppid, known_by, how, exit_code, signal, exe"):
    """Give columns of all lives, in the order in which they began."""
    found = rows(url, f"SELECT {columns} FROM processes ORDER BY began, pid")
    return [tuple(row.values()) for row in found]


def host(seed, steps, **options):
    """Give a host on which something has happened."""
    made = Host(random.Random(seed), **options)
    for _ in range(steps):
        made.step()
    return made


def test_a_life_from_its_birth_to_its_end(url):
    """Each column of `processes`, and what `syscalls` says of the process and its parent."""
    sh = {"pid": 100, "ppid": 1, "exe": '"/bin/sh"', "ses": 3, "auid": 1000}
    ls = {"pid": 200, "ppid": 100, "exe": '"/bin/ls"', "ses": 3, "auid": 1000}
    load(
        url,
        call(1, nr=EXECVE, ms=50, exit=0, **sh)
        + record("EXECVE", 1, 'argc=2 a0="sh" a1="-l"', ms=50)
        + call(2, nr=CLONE, ms=100, exit=200, a0="1200011", **sh)
        + call(3, nr=EXECVE, ms=104, exit=0, **ls)
        + record("EXECVE", 3, 'argc=1 a0="ls"', ms=104)
        + call(4, nr=EXIT_GROUP, ms=200, success=None, a0="102", **ls),
    )
    shell, made = rows(url, "SELECT * FROM processes ORDER BY began")
    assert (shell["known_by"], shell["parent_id"]) == ("inferred", None)
    assert shell["argv"] == ["sh", "-l"]
    execs = made["execs"]
    assert [(each["exe"], each["argv"]) for each in execs] == [("/bin/ls", ["ls"])]
    calls = rows(
        url,
        "SELECT event_id, process_id, parent_exe, parent_argv FROM syscalls ORDER BY serial",
    )
    assert execs[0]["event_id"] == calls[2]["event_id"]
    assert [row["process_id"] for row in calls] == [shell["process_id"]] * 2 + [
        made["process_id"]
    ] * 2
    assert [row["parent_exe"] for row in calls] == [None, None, "/bin/sh", "/bin/sh"]
    assert [row["parent_argv"] for row in calls] == [None, None, ["sh", "-l"], ["sh", "-l"]]
    assert made["process_id"] >> 30 == SECOND
    assert made["process_id"] & 0x3FFFFF == 200
    assert made["began_event_id"] == calls[1]["event_id"]
    assert (made["parent_id"], made["known_by"]) == (shell["process_id"], "clone")
    assert (made["began"][19:23], made["ended"][19:23]) == (".100", ".200")
    assert (made["how"], made["exit_code"], made["signal"]) == ("exited", 2, None)
    assert (made["auid"], made["ses"], made["uid"], made["ppid"]) == (1000, 3, 1000, 100)


@pytest.mark.parametrize("seed", seeds(2, 60))
def test_all_lives_of_a_host(url, seed):
    """Of a host whose processes are known, each life, its parent, its execs and its end."""
    made = host(seed, 250)
    load(url, "".join(made.events))
    found = rows(
        url,
        "SELECT p.*, (SELECT count(*) FROM syscalls s WHERE s.process_id = p.process_id) AS calls"
        " FROM processes p",
    )
    shown = {(row["process_id"] & 0x3FFFFF, row["process_id"] >> 22): row for row in found}
    ids = {}
    for life in made.lives:
        if life.calls:
            second, ms = divmod(life.began, 1000)
            ids[id(life)] = (second << 30) | ((ms >> 2) << 22) | life.pid
    assert {row["process_id"] for row in found} == set(ids.values())
    for life in made.lives:
        row = shown[life.pid, ids[id(life)] >> 22]
        assert row["known_by"] == ("clone" if life.by_clone else "inferred")
        assert row["parent_id"] == ids.get(id(life.first_parent))
        assert row["ppid"] == life.first_parent.pid
        assert (row["exit_code"], row["signal"]) == (life.code, life.signal)
        assert (row["ended"] is None) == (life.ended is None)
        assert row["exe"] == life.exe
        assert row["calls"] == len(life.calls)
        assert [each["exe"] for each in row["execs"]] == life.execs


@pytest.mark.parametrize("seed", seeds(3, 200))
def test_nothing_depends_on_the_order_in_which_events_came(url, seed):
    """In any order, twice, in parts, in any transactions: as if made of the stored events anew."""
    chance = random.Random(seed)
    made = host(seed, 120, silent=True)
    lines = [line + "\n" for event in made.events for line in event.splitlines()]
    log = list(made.events) if chance.random() < 0.5 else lines
    log += chance.sample(log, len(log) // 3)
    spread = chance.choice((1, 5, 50, 10_000))
    order = sorted(range(len(log)), key=lambda n: n + chance.random() * spread)
    log = [log[n] for n in order]
    size = chance.choice((1, 7, 60))
    for number, start in enumerate(range(0, len(log), len(log) // 6)):
        pipe = Pipe(url, f"log{number}", batch=size * 400)
        pipe.load("".join(log[start : start + len(log) // 6]))
        pipe.close()
        if number % 2:
            kept, anew = signs(url)
            assert kept == anew
    kept, anew = signs(url)
    assert kept
    assert kept == anew


def test_both_decoders_give_the_same_lives(tmp_path):
    """They are made of rows, whoever made these."""
    made = host(5, 200)
    one, other = f"sqlite:///{tmp_path}/one.db", f"sqlite:///{tmp_path}/other.db"
    for url, decoder in ((one, "native"), (other, "reference")):
        pipe = Pipe(url)
        pipe.decoder = decoder
        pipe.load("".join(made.events))
        pipe.close()
    assert lives(one) == lives(other)


def _birth(serial, pid, child, **options):
    return call(serial, nr=options.pop("nr", CLONE), pid=pid, exit=child, **{"a0": "11"} | options)


CASES = {
    "a thread is no process": (
        [_birth(1, 100, 200, ms=0, a0=f"{THREAD:x}"), call(2, pid=100, ms=50)],
        [(100, 1, "inferred")],
    ),
    "clone3 that made a thread": (
        [_birth(1, 100, 200, ms=0, nr=CLONE3), call(2, pid=100, ms=50)],
        [(100, 1, "inferred")],
    ),
    "clone3 that made a process": (
        [_birth(1, 100, 200, ms=0, nr=CLONE3), call(2, pid=200, ppid=100, ms=50)],
        [(100, 1, "inferred"), (200, 100, "clone")],
    ),
    "a result that is a pid of another namespace": (
        [
            call(1, pid=7, ppid=2, ms=0),
            _birth(2, 100, 7, ms=100),
            call(3, pid=200, ppid=100, ms=104),
            call(4, pid=7, ppid=2, ms=200),
        ],
        [(7, 2, "inferred"), (100, 1, "inferred"), (200, 100, "inferred")],
    ),
    "a child whose parent has ended before its first call": (
        [
            _birth(1, 100, 200, ms=0),
            call(2, nr=EXIT_GROUP, pid=100, ms=10, success=None),
            call(3, nr=EXECVE, pid=200, ppid=1, ms=50, exe='"/bin/ls"'),
        ],
        [(100, 1, "inferred"), (200, 100, "inferred")],
    ),
    "a parent that ends later": (
        [
            _birth(1, 100, 200, ms=0),
            call(2, pid=200, ppid=100, ms=10),
            call(3, pid=200, ppid=1, ms=50),
        ],
        [(100, 1, "inferred"), (200, 100, "clone")],
    ),
    "made by CLONE_PARENT": (
        [_birth(1, 100, 200, ppid=50, ms=0, a0="8011"), call(2, pid=200, ppid=50, ms=9)],
        [(100, 50, "inferred"), (200, 50, "clone")],
    ),
    "the last calls of other threads after exit_group, and another process": (
        [
            call(1, nr=EXIT_GROUP, pid=100, ms=0, success=None),
            call(2, pid=100, ms=4, ppid=1),
            call(3, pid=100, ms=8, ppid=2),
        ],
        [(100, 1, "inferred"), (100, 2, "inferred")],
    ),
    "killed without a record, and the pid used again by the same parent": (
        [
            _birth(1, 100, 200, ms=0),
            call(2, pid=200, ppid=100, ms=10),
            _birth(3, 100, 200, ms=500),
        ],
        [(100, 1, "inferred"), (200, 100, "clone"), (200, 100, "clone")],
    ),
    "only execs are logged, hours apart": (
        [
            call(1, nr=EXECVE, pid=100, ppid=9, ms=0, exe='"/bin/a"'),
            call(2, nr=EXECVE, pid=100, ppid=9, ms=50, exe='"/bin/b"'),
            call(3, nr=EXECVE, pid=100, ppid=9, second=SECOND + 7200, exe='"/bin/c"'),
        ],
        [(100, 9, "inferred"), (100, 9, "inferred")],
    ),
    "another session": (
        [call(1, pid=100, ses=3, ms=0), call(2, pid=100, ses=4, ms=900)],
        [(100, 1, "inferred"), (100, 1, "inferred")],
    ),
    "a login in the process": (
        [call(1, pid=100, ms=0), call(2, pid=100, ses=4, ms=900)],
        [(100, 1, "inferred")],
    ),
    "a pid that no process can have": (
        [call(1, pid=4194304), call(2, pid=-5), call(3, pid=1 << 40, ppid=1 << 62)],
        [],
    ),
    "a failed clone, and one of itself": (
        [_birth(1, 100, -11, success="no"), _birth(2, 100, 100, ms=200)],
        [(100, 1, "inferred")],
    ),
    "death by a signal of which nothing else is known": (
        [record("ANOM_ABEND", 1, "auid=0 uid=0 gid=0 ses=1 pid=77 comm=x sig=11 res=1")],
        [],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_one_life(url, case):
    """Each rule by itself, with the records in their order and the other way round."""
    log, expected = CASES[case]
    load(url, "".join(log))
    columns = "pid, ppid, known_by"
    assert sorted(lives(url, columns)) == sorted(expected)
    kept, anew = signs(url)
    assert kept == anew


def test_two_hosts_have_the_same_pids(url):
    """Each its own lives."""
    for node in ("", "node=other "):
        load(
            url,
            _birth(1, 100, 200, ms=0, node=node)
            + call(2, pid=200, ppid=100, nr=EXECVE, ms=9, node=node),
            node or "log",
        )
    found = lives(url, "host, pid, known_by")
    assert sorted(found) == [
        ("box", 100, "inferred"),
        ("box", 200, "clone"),
        ("other", 100, "inferred"),
        ("other", 200, "clone"),
    ]


def test_a_call_far_from_its_process(url):
    """A long-lived process makes calls for days; all are of one life."""
    day = 86_400
    log = [call(n, nr=READ, pid=100, second=SECOND + n * day) for n in range(5)]
    load(url, "".join(log))
    assert lives(url, "pid") == [(100,)]
    assert rows(url, "SELECT count(DISTINCT process_id) AS n FROM syscalls") == [{"n": 1}]
    kept, anew = signs(url)
    assert kept == anew


@pytest.mark.one_database
def test_pruned_days_take_their_signs(url):
    """A process that lives on is known from the first day that is kept."""
    day = 86_400
    early, late = (TODAY - 3) * day + 100, TODAY * day + 100
    log = [
        call(1, nr=READ, pid=100, second=early),
        _birth(2, 100, 200, second=early + 1, ms=0),
        call(3, pid=200, ppid=100, second=early + 1, ms=9),
        call(4, nr=EXIT_GROUP, pid=300, second=early, success=None),
        call(5, nr=READ, pid=100, second=late),
        call(6, nr=READ, pid=200, ppid=100, second=late),
    ]
    load(url, "".join(log))
    assert lives(url, "pid, known_by") == [(100, "inferred"), (300, "inferred"), (200, "clone")]
    with open_store(url) as store:
        prune(store.database, keep="1d")
    assert lives(url, "pid, known_by") == [(100, "inferred"), (200, "inferred")]
    assert {row["process_id"] >> 30 for row in rows(url, "SELECT * FROM syscalls")} == {late}
    kept, anew = signs(url)
    assert kept == anew
