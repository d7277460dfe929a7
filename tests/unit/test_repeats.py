"""What of a test with several parameters is in the short suite."""

from __future__ import annotations

from itertools import product

import pytest
from fixtures.repeats import is_other_pair, of_other_turns

from auditsvc.decode import DECODERS

KINDS = ("sqlite", "postgres")


@pytest.mark.skipif(len(DECODERS) == 1, reason="without the core there are no pairs")
def test_the_short_suite_meets_each_decoder_and_each_database_in_every_test():
    """Two of four pairs of each test, and over some tests all of them."""
    met = set()
    for name in map(str, range(20)):
        kept = {pair for pair in product(DECODERS, KINDS) if not is_other_pair(name, pair)}
        assert len(kept) == 2
        assert {decoder for decoder, _ in kept} == set(DECODERS)
        assert {kind for _, kind in kept} == set(KINDS)
        met |= kept
    assert met == set(product(DECODERS, KINDS))


@pytest.mark.parametrize("values", [(), ("native",), ("postgres", 3), ("sqlite", "any", None)])
def test_with_one_of_them_alone_all_is_run(values):
    """Nothing else is left out."""
    assert not is_other_pair("name", values)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_each_thing_is_tried_on_one_database_and_each_database_tries_some(count):
    """By turns; with --long each on both."""
    for name in map(str, range(20)):
        cases = list(product(range(count), KINDS))
        left_out = of_other_turns(name, cases)
        kept = [case for place, case in enumerate(cases) if place not in left_out]
        assert [thing for thing, _ in kept] == list(range(count))
        assert {kind for _, kind in kept} == set(KINDS)


def test_what_takes_long_is_tried_on_one_database_and_some_tests_on_each():
    """By the mark alone; with a decoder beside it, too."""
    met = set()
    for name in map(str, range(20)):
        for cases in ([(kind,) for kind in KINDS], [*zip(DECODERS, KINDS, strict=False)]):
            assert of_other_turns(name, cases) == []
            (left_out,) = of_other_turns(name, cases, one_database=True) or (0,)
            met |= {*cases[1 - left_out]} & {*KINDS} if len(cases) > 1 else set()
    assert met == set(KINDS)
    assert of_other_turns("name", [(each,) for each in DECODERS], one_database=True) == []


def test_the_turns_are_the_same_with_each_decoder():
    """A decoder is no further thing: the pairs are left out by their own rule."""
    cases = list(product(range(3), KINDS, DECODERS))
    left_out = of_other_turns("name", cases)
    assert {cases[place][:2] for place in left_out} == {
        (thing, KINDS[(thing + _first("name")) % 2]) for thing in range(3)
    }
    assert len(left_out) == 3 * len(DECODERS)


def _first(name):
    cases = list(product(range(2), KINDS))
    return KINDS.index(cases[of_other_turns(name, cases)[0]][1])


@pytest.mark.parametrize(
    "cases",
    [
        [("sqlite",), ("postgres",)],
        [(1,), (2,)],
        [("a", 1), ("b", 1)],
        [("sqlite", 1), ("postgres", 2)],
        [("native", 1), ("reference", 2), ("native", 3)],
    ],
)
def test_what_has_no_database_or_no_other_thing_is_run_whole(cases):
    """Nothing is left out; and no thing is, that is tried with one of them alone."""
    assert of_other_turns("name", cases) == []


@pytest.mark.skipif(len(DECODERS) == 1, reason="without the core there are no turns")
def test_without_a_database_the_decoders_take_turns():
    """Each thing with one of them, and each of them with some."""
    cases = list(product(DECODERS, range(4)))
    left_out = of_other_turns("name", cases)
    kept = [case for place, case in enumerate(cases) if place not in left_out]
    assert sorted(thing for _, thing in kept) == list(range(4))
    assert {decoder for decoder, _ in kept} == set(DECODERS)
