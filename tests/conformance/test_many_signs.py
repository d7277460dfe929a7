"""Process ids with very many signs: the lives stay right, and a sign costs what it did."""

from __future__ import annotations

import random

import pytest
from fixtures import busy_pids
from fixtures.days import TODAY, prune
from fixtures.logs import SECOND, Pipe, call, end
from fixtures.process_model import CLONE, CLONE3, EXECVE, Host
from fixtures.repeats import seeds

from auditsvc.store import open_store, process_lives, sign_sql
from auditsvc.store.write import sign_firsts, sign_marks
from auditsvc.store.write.sign_rebuild import rebuild
from auditsvc.store.write.signs import SignWriter

_SIGNS = "SELECT * FROM process_sign ORDER BY host, pid, at, low"


def signs(url):
    """Give the signs as they are, and as they are made anew of the stored events."""
    with open_store(url) as store, store.database.begin(alone=True) as connection:
        kept = [tuple(row) for row in connection.exec_driver_sql(_SIGNS)]
        rebuild(connection)
        return kept, [tuple(row) for row in connection.exec_driver_sql(_SIGNS)]


def count(url, table):
    """Give how many rows a table has."""
    with open_store(url) as store, store.database.begin(alone=True) as connection:
        return connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()


def narrow(monkeypatch, *, every, most, births):
    """Have marks after so many signs, and few signs and births kept in mind."""
    monkeypatch.setattr(sign_marks, "EVERY", every)
    monkeypatch.setattr(sign_firsts, "MOST", most)
    monkeypatch.setattr(process_lives, "MOST_BIRTHS", births)


def load_shuffled(url, events, chance):
    """Load events in lines or whole, some twice, out of order, in transactions of any size."""
    lines = [line + "\n" for event in events for line in event.splitlines()]
    log = list(events) if chance.random() < 0.5 else lines
    log += chance.sample(log, len(log) // chance.choice((3, 10)))
    spread = chance.choice((1, 5, 20, 1000))
    order = sorted(range(len(log)), key=lambda n: n + chance.random() * spread)
    log = [log[n] for n in order]
    size = chance.choice((1, 4, 30))
    share = len(log) // 3
    for number, start in enumerate(range(0, len(log), share)):
        pipe = Pipe(url, f"log{number}", batch=size * 400)
        pipe.load("".join(log[start : start + share]))
        pipe.close()
        kept, anew = signs(url)
        assert kept == anew


@pytest.mark.one_database
@pytest.mark.parametrize("seed", seeds(2, 300))
def test_signs_of_busy_pids_are_as_made_anew(url, seed, monkeypatch):
    """However far back a mark is, in any order and any transactions."""
    chance = random.Random(seed)
    narrow(
        monkeypatch,
        every=chance.choice((1, 2, 3, 7)),
        most=chance.choice((0, 1, 4, 1000)),
        births=chance.choice((1, 2, 5)),
    )
    load_shuffled(url, busy_pids.log(chance, 150), chance)
    assert count(url, "process_mark") > 0


@pytest.mark.one_database
@pytest.mark.parametrize("seed", seeds(1, 60))
def test_signs_of_a_host_are_as_made_anew_with_narrow_windows(url, seed, monkeypatch):
    """A host whose pids are used again and again, with a mark after each sign or two."""
    chance = random.Random(seed)
    narrow(monkeypatch, every=chance.choice((1, 2)), most=chance.choice((0, 2)), births=64)
    host = Host(random.Random(seed), silent=True)
    for _ in range(120):
        host.step()
    load_shuffled(url, host.events, chance)


@pytest.mark.one_database
def test_pruned_days_take_marks_and_first_signs(url, monkeypatch):
    """What is left is judged as if nothing had been before, also with signs that come then."""
    narrow(monkeypatch, every=2, most=1, births=4)
    day = 86_400
    early, late = (TODAY - 3) * day + 100, TODAY * day + 100
    log = [
        call(n + 1, nr=EXECVE, exit=0, ppid=9, ses=3, second=second + n * 10, exe=f'"/bin/{n}"')
        for second in (early, late)
        for n in range(9)
    ]
    pipe = Pipe(url)
    pipe.load("".join(log))
    assert count(url, "process_mark") > 0
    with open_store(url) as store:
        prune(store.database, keep="1d")
    last = call(99, nr=EXECVE, exit=0, ppid=9, ses=3, second=late + 200, exe='"/bin/z"')
    pipe.load("".join([*log, last]))
    pipe.close()
    kept, anew = signs(url)
    assert len(kept) == 10
    assert kept == anew


def _times(number):
    second, place = divmod(number, 100)
    return {"second": SECOND + second, "ms": place * 10}


def _event(n, **fields):
    return call(n, **fields, **_times(n)) + end(n, **_times(n))


def _execs(n):
    return _event(n, nr=EXECVE, exit=0, ppid=9, exe=f'"/bin/x{n % 7}"')


def _parents(n):
    return _event(n, nr=0, ppid=n)


def _sessions(n):
    return _event(n, nr=0, ppid=9, ses=n)


def _births(n):
    return _event(n, nr=CLONE, exit=100, a0="11", pid=5000 + n)


def _maybe_births(n):
    return _event(n, nr=CLONE3, exit=100, pid=5000 + n % 50)


def _mixed(n):
    return (_execs, _parents, _maybe_births, _sessions, _births)[n % 5](n)


def work(url, make, size, monkeypatch):
    """Give what the loader reads of earlier signs for a log, in transactions of 10 events.

    The rows; on SQLite also the steps of its machine, so what it goes through to find them.
    """
    done = {"rows": 0, "steps": 0}
    keyed, flush = sign_sql.keyed, SignWriter.flush

    def counted(*given):
        found = keyed(*given)
        done["rows"] += len(found)
        return found

    def step():
        done["steps"] += 1

    def watched(self, connection):
        driver = connection.connection.driver_connection
        is_sqlite = sign_sql.is_sqlite(connection)
        if is_sqlite:
            driver.set_progress_handler(step, 50)
        flush(self, connection)
        if is_sqlite:
            driver.set_progress_handler(None, 0)

    with monkeypatch.context() as patched:
        for module in (sign_sql, sign_firsts, sign_marks):
            patched.setattr(module, "keyed", counted)
        patched.setattr(SignWriter, "flush", watched)
        log = [make(n) for n in range(1, size + 1)]
        pipe = Pipe(url, f"{make.__name__}{size}", host=f"{make.__name__}{size}")
        pipe.batch = 10 * len(log[0])
        pipe.load("".join(log))
        pipe.close()
    return done


_SHAPES = (_mixed, _execs, _parents, _sessions, _births, _maybe_births)


@pytest.mark.one_database
@pytest.mark.parametrize(
    "make",
    [
        shape if shape is _mixed else pytest.param(shape, marks=pytest.mark.long)
        for shape in _SHAPES
    ],
)
def test_signs_of_one_pid_cost_work_in_proportion(url, make, monkeypatch):
    """Eight times the signs are eight times the work: no sign costs more for those before it."""
    narrow(monkeypatch, every=8, most=8, births=8)
    small, large = (work(url, make, size, monkeypatch) for size in (80, 640))
    for what, number in small.items():
        assert large[what] <= 16 * max(number, 100), what
