"""The session that tests keep for their questions is none that others would meet."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from fixtures import commands
from fixtures.logs import load, opening, rows

from auditsvc.errors import QueryError

COUNT = "SELECT count(*) AS n FROM syscalls"


def test_each_question_sees_what_was_stored_before_it(url):
    """By this process or by another one, on both databases."""
    for number in range(1, 4):
        load(url, opening(number), str(number))
        assert rows(url, COUNT) == [{"n": number}]
        assert rows(url, COUNT) == [{"n": number}]
    with pytest.raises(QueryError):
        rows(url, "SELECT nothing")
    assert rows(url, COUNT) == [{"n": 3}]


def test_who_writes_closes_the_store_last(made):
    """So that all is in the file itself, as it is without us."""
    url = f"sqlite:///{made}"
    ways = [lambda: load(url, opening(1)), lambda: commands.run("migrate", "--store", url)]
    for way in ways:
        rows(url, COUNT)
        way()
        assert not made.with_name(f"{made.name}-wal").exists()
    rows(url, COUNT)
    with closing(sqlite3.connect(made)) as other:
        other.execute("CREATE TABLE others (n)")
    assert b"CREATE TABLE others" in made.read_bytes()


def test_another_file_in_the_place_is_another_store(made, tmp_path):
    """A store that was put back is asked, not the one that was there before."""
    url, before = f"sqlite:///{made}", made.read_bytes()
    load(url, opening(1))
    assert rows(url, COUNT) == [{"n": 1}]
    other = tmp_path / "other.db"
    other.touch(0o600)
    other.write_bytes(before)
    other.rename(made)
    assert rows(url, COUNT) == [{"n": 0}]
