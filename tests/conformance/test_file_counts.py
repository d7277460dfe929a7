"""Uses of files and calls by context are counted as they are stored, whatever happened to them."""

from __future__ import annotations

import random

import pytest
from fixtures.activity import differs
from fixtures.logs import call, load, path, proctitle, rows
from fixtures.repeats import seeds
from sqlalchemy import create_engine, text

from auditsvc.report import summaries
from auditsvc.report.catalogue import BY_NAME
from auditsvc.report.choice import Choice
from auditsvc.report.reader import open_reader
from auditsvc.store import activity, file_counts, open_store, sqlite_insert
from auditsvc.store.databases import parse_url
from auditsvc.store.partitions import DAY
from auditsvc.store.write import settle
from auditsvc.store.write.prune import Pruner, ids_of

FIRST = 1_750_000_000 // DAY
DAYS = 4


@pytest.fixture(autouse=True)
def in_small_parts(monkeypatch):
    """Count few uses at a time."""
    monkeypatch.setattr(settle, "MANY", 7)
    monkeypatch.setattr(file_counts, "MANY", 10)
    monkeypatch.setattr(file_counts, "MOST", 15)
    monkeypatch.setattr(sqlite_insert, "_BULK", 12)


def _event(serial, *, more=False):
    """Give a call with one use of a file, or two; equal for one serial but for the second."""
    known = {"second": (FIRST + serial % DAYS) * DAY + serial * 7919 % DAY, "pid": serial % 3}
    lines = [
        call(serial, **known, items=2),
        path(serial, f"/f{serial % 5}", second=known["second"]),
    ]
    if more:
        lines.append(path(serial, f"/f{serial % 3}", item=1, second=known["second"]))
    return "".join([*lines, proctitle(serial, second=known["second"])])


def _wrong(url, change=None):
    """Give the days that are told as counted wrong, after a change that is taken back."""
    with open_store(url) as store, store.database.engine.connect() as connection:
        assert activity.wrong_hours(connection) == []
        if change:
            connection.exec_driver_sql(change)
        found = file_counts.wrong_days(connection)
        connection.rollback()
    return found


def _numbers(url):
    """Give how many uses are in the rows, and how many days are noted."""
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT coalesce(sum(uses), 0), (SELECT count(*) FROM file_taken),"
                " (SELECT count(*) FROM file_row WHERE uses <= 0) FROM file_row"
            )
        ).one()
    engine.dispose()
    return tuple(map(int, found))


@pytest.mark.parametrize("seed", seeds(2, 200))
def test_whatever_comes_and_goes(url, seed):
    """New events of any day, copies that say more, days that go in slices; settled at any moment.

    The sums of the report are those of the uses, in their order.
    """
    chance = random.Random(seed)
    known, serial, counted, taken = [], 0, 0, 0
    for step in range(11):
        what = chance.random()
        if what < 0.55 or not known:
            new = list(range(serial, serial + chance.choice((3, 9, 25))))
            serial += len(new)
            known += new
            load(url, "".join(_event(n) for n in new), f"log{step}")
        elif what < 0.8:
            again = chance.sample(known, min(len(known), 6))
            load(url, "".join(_event(n, more=True) for n in sorted(again)), f"log{step}")
        else:
            with open_store(url) as store:
                pruner = Pruner(store.database)
                pruner.begin()
                for _ in range(chance.choice((1, 4))):
                    with pruner.turn() as connection:
                        day = FIRST + chance.randrange(DAYS)
                        pruner.delete_slice(connection, *ids_of(day), 3)
                pruner.end()
        if chance.random() < 0.5:
            with open_store(url) as store:
                store.source("file", "any")  # counts what waits
                for _ in range(chance.choice((1, 30))):
                    store.settle(all_of_it=True)
        assert differs(url) == []
        assert _wrong(url) == []
        uses, days, none = _numbers(url)
        assert none == 0
        counted, taken = max(counted, uses), max(taken, days)
    assert counted
    assert taken
    if _numbers(url)[0]:
        change = "UPDATE file_row SET uses = uses + 1"
        assert _wrong(url, f"{change} WHERE day = (SELECT max(day) FROM file_row)")
    with open_reader(url) as reader:
        found = summaries.sums(reader, BY_NAME["file"], Choice(), interpret=False)
    slow = rows(
        url,
        "SELECT p.name, count(*) AS n FROM paths p GROUP BY p.name"
        " ORDER BY count(*) DESC, min(event_id), p.name",
    )
    assert [(each.value, each.hits) for each in found] == [(r["name"], r["n"]) for r in slow]


@pytest.mark.one_database
def test_a_run_whose_uses_are_counted_gets_no_more(tmp_path):
    """Also if all runs behind it were deleted, so that it is the last one."""
    url = f"sqlite:///{tmp_path}/store.db"
    for day in range(3):
        load(url, "".join(_event(n) for n in range(day, DAYS * 12, DAYS)), f"log{day}")
        with open_store(url) as store:
            store.source("file", "any")  # counts what waits
            store.settle(all_of_it=True)
    with open_store(url) as store:
        with store.database.begin(alone=True) as connection:
            last = file_counts.last_counted(connection)
            assert last > 0
            where = f"WHERE settled >= {last}"
            file_counts.take_away(connection, f"path p {where}", ())
            connection.exec_driver_sql(f"DELETE FROM path {where}")
        load(url, _event(DAYS * 50))
        store.source("file", "any")
        while store.settle(all_of_it=True):
            pass
        with store.database.begin(alone=True) as connection:
            runs = connection.exec_driver_sql("SELECT max(settled) FROM path").scalar_one()
    assert runs == last + 1
    assert differs(url) == []
