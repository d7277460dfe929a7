"""Partitions by day: which one is made for a day, and what its name says."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from fixtures.repeats import seeds

from auditsvc.store import partitions
from auditsvc.store.partitions import DAY, HIGHEST, Part, choose, day_of, part_named, part_of

TODAY = 20_400
LAST = day_of(HIGHEST)


@pytest.mark.parametrize("seed", seeds(20, 2000))
def test_every_day_gets_a_partition_and_there_are_not_many(seed, monkeypatch):
    """Whatever days events name, in whatever order: no two overlap, and today has its own."""
    monkeypatch.setattr(partitions, "MOST", 10)
    chance = random.Random(seed)
    parts = []
    around = [TODAY - 1, TODAY, TODAY + 1, 0, 1, LAST - 1, LAST]
    for _ in range(80):
        day = chance.choice([chance.randrange(LAST + 1), chance.randrange(20_000, 20_400), *around])
        if part_of(parts, day) is None:
            made = choose(parts, day, TODAY)
            assert made.first <= day < made.end
            assert made.end == made.first + 1 or TODAY not in range(made.first, made.end)
            parts = sorted([*parts, made])
        assert part_of(parts, day) is not None
    for one, after in pairwise(parts):
        assert one.end <= after.first
    assert len(parts) <= 2 * 10 + 6
    assert parts[-1].end <= LAST + 1


@pytest.mark.parametrize(
    "part", [Part(0, 1), Part(TODAY, TODAY + 1), Part(0, 500), Part(7, LAST + 1)]
)
def test_a_name_says_which_days(part):
    """It is read again from the database."""
    assert part_named(part.name("syscall")) == part


@pytest.mark.parametrize("name", ["syscall", "syscall_", "syscall_20251301", "syscall_2025_1", "x"])
def test_other_names_are_no_partitions(name):
    """Of a table that somebody attached."""
    assert part_named(name) is None


def test_the_last_day_has_no_end():
    """Its end is no number of 64 bits."""
    assert Part(LAST, LAST + 1).high == HIGHEST
    assert any("TO (MAXVALUE)" in each for each in partitions.make(Part(LAST, LAST + 1)))
    assert Part(1, 2).holds((DAY << 30, (2 * DAY << 30) - 1))
    assert not Part(1, 2).holds((DAY << 30, 2 * DAY << 30))
