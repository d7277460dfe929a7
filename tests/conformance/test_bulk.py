"""Rows in bulk: SQLite itself reads the database image that the native core makes of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from fixtures.logs import SECOND, balanced, call, load, opening, record

from auditsvc.decode import DECODERS, make_decoder
from auditsvc.store import schema

pytestmark = pytest.mark.skipif("native" not in DECODERS, reason="the native core was not built")

DATA = Path(__file__).parent.parent / "data"


def batch_of(log):
    """Decode a log."""
    decoder = make_decoder("native", secret=b"secret", host="here")
    decoder.feed(log, 0.0)
    decoder.finish()
    return decoder.take()


def judge(batch):
    """Have SQLite open the image, check it and give back every row."""
    made = {**batch.dimensions, **batch.facts}
    with sqlite3.connect(":memory:") as connection:
        connection.deserialize(batch.packed.image())
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")]
        assert sorted(found) == sorted(set(made) - {"record_type"})
        for table in (*schema.DIMENSIONS, *schema.FACTS):
            if table.name in made:
                columns = ", ".join(column.name for column in table.columns)
                rows = connection.execute(f"SELECT {columns} FROM {table.name}").fetchall()
                # The image has dimensions by their ids.
                wanted = made[table.name]
                assert rows == (sorted(wanted) if table in schema.DIMENSIONS else wanted), table


def test_real_records():
    """Every row of recorded logs comes back as it is."""
    logs = sorted((*DATA.glob("*.log"), *DATA.glob("records/*.log")))
    batch = batch_of(b"\n".join(path.read_bytes() for path in logs))
    assert set(batch.facts) == {table.name for table in schema.FACTS}
    assert set(batch.dimensions) >= {table.name for table in schema.DIMENSIONS}
    judge(batch)


def test_texts_of_any_length():
    """Texts that fill a page exactly, nearly fill it, or need many pages."""
    lengths = [*range(7900, 8300, 3), 8161, 8162, *range(16200, 16500, 7), 70_000, 1_000_000]
    log = "".join(
        record("USER_LOGIN", n, f"pid=1 uid=0 msg='op={'x' * length}'")
        for n, length in enumerate(lengths)
    )
    batch = batch_of(log.encode())
    assert len(batch.facts["event"]) == len(lengths)
    judge(batch)


def test_every_width_of_integer():
    """The smallest and largest numbers that SQLite stores in 0, 1, 2, 3, 4, 6 and 8 bytes."""
    ends = [1 << bits for bits in (0, 7, 8, 15, 16, 23, 24, 31, 32, 47, 48, 63)]
    numbers = [0, *(n + d for n in ends for d in (-1, 0, 1)), (1 << 64) - 1]
    log = "".join(
        call(serial, items=0, a0=f"{number:x}", exit=str(number - (1 << 63)))
        for serial, number in enumerate(numbers)
    )
    batch = batch_of(log.encode())
    assert len({row[4] for row in batch.facts["syscall"]}) == len(set(numbers))
    judge(batch)


@pytest.mark.parametrize("events", [1, 200, 60_000, 150_000])
def test_any_number_of_rows(events):
    """One page, several, and two levels of pages above them."""
    text = call(1234567, items=0).replace("1234567", "%d")
    batch = batch_of("".join(text % n for n in range(events)).encode())
    assert batch.facts.count == events
    judge(batch)


def test_nothing():
    """No rows, no tables."""
    batch = batch_of(b"")
    assert (batch.facts.count, dict(batch.facts), dict(batch.dimensions)) == (0, {}, {})
    judge(batch)


def test_one_image_after_another():
    """What SQLite caches of one image's tables is not used for the next image."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute("ATTACH ':memory:' AS made")
        for events in (1, 500, 3, 2000):
            batch = batch_of("".join(opening(n) for n in range(events)).encode())
            connection.deserialize(batch.packed.image(), name="made")
            for table in ("syscall", "path", "context"):
                rows = connection.execute(f"SELECT * FROM made.{table}").fetchall()
                assert rows == (batch.facts.get(table) or batch.dimensions[table])


def test_what_a_store_asks():
    """The native core answers as the reference does."""
    login = record("USER_LOGIN", 9, "pid=1 uid=0 msg='op=x'")
    log = (opening(1) + opening(2, second=SECOND + 90_000) + opening(3)).encode()
    log += (call(5, items=0, nr=3) + call(4, items=0, nr=3) + login).encode()
    answers = []
    for name in DECODERS:
        decoder = make_decoder(name, secret=b"secret", host="here")
        decoder.feed(log, 0.0)
        decoder.finish()
        facts = decoder.take().facts
        ids = facts.ids()
        answers.append((
            facts.count,
            ids,
            facts.lone_ids(),
            facts.span(),
            facts.numbers(),
            facts.pairs({3}),
            [facts.has_call({each}) for each in ids],
            facts.weights,
            sorted(facts.activity()),
            sorted(facts.uses()),
            "event" in facts,
            "exec" in facts,
        ))  # fmt: skip
    assert len(answers) == len(DECODERS) > 1
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == len(answers[0][1]) == 6
    assert answers[0][2] == answers[0][1][-1:]
    assert answers[0][4] == {2, 3}


def test_facts_are_not_made_one_by_one(url, monkeypatch):
    """A store inserts them in bulk; its other questions about a batch need no rows."""
    asked = []
    monkeypatch.setattr(
        "auditsvc.decode.native_batch._Facts.__getitem__", lambda _, table: asked.append(table)
    )
    load(url, opening(1) + record("USER_LOGIN", 2, "pid=1 uid=0 msg='op=x'"))
    assert asked == []
    assert balanced(url)
