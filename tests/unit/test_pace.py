"""How far a search goes: slices that fit into its time, whatever a slice costs."""

from __future__ import annotations

import itertools

import pytest

from auditsvc.search.pace import GROWTH, Pace


class Clock:
    """A clock that only goes on when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        """Give the time."""
        return self.now


def lengths(pace, clock, first, fixed, each):
    """Look at slices that cost so much, and so much a second of the log; give their lengths."""
    found = [first]
    while True:
        pace.begin()
        clock.now += fixed + each * found[-1]
        length = pace.following(found[-1])
        if not length or len(found) > 20:
            return found
        found.append(length)


@pytest.mark.parametrize("fixed", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("each", [0.0, 1e-7, 1e-5, 1e-3])
def test_slices_grow_and_fit_into_the_time(fixed, each):
    """Never faster than they may, never over the time by more than what the estimate is wrong."""
    clock = Clock()
    found = lengths(Pace(0.35, clock=clock), clock, 10, fixed, each)
    assert len(found) > 1
    assert all(b <= a * GROWTH for a, b in itertools.pairwise(found))
    assert clock.now - 100 < 0.36


def test_a_first_slice_that_is_too_long_is_the_only_one():
    """What goes on there finds out how long one may be."""
    clock = Clock()
    pace = Pace(0.35, clock=clock)
    assert lengths(pace, clock, 1000, 0.0, 0.01) == [1000]
    assert pace.step == (2000, 1000, 10_000)
    pace = Pace(0.35, pace.step, clock)
    assert lengths(pace, clock, 2000, 0.0, 0.01) == [2000]
    assert pace.step.length == 35


@pytest.mark.parametrize("fixed", [0.2, 0.3, 0.34, 0.5, 5])
def test_a_search_that_goes_on_gets_on_where_each_slice_is_dear(fixed):
    """Its first slice grows from one request to the next: a day is looked through in a few."""
    clock, step, looked, asked = Clock(), None, 0, 0
    while looked < 86_400:
        pace = Pace(0.35, step, clock)
        looked += sum(lengths(pace, clock, pace.first(7), fixed, 1e-7))
        step, asked = pace.step, asked + 1
    assert asked < 8


def test_without_a_time_it_goes_on():
    """As a search on the command line, which gives its rows as it finds them."""
    clock = Clock()
    assert lengths(Pace(clock=clock), clock, 1, 5.0, 1.0)[:4] == [1, 8, 64, 512]
