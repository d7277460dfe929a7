"""Rules found by an index: the same as by comparing each one."""

from __future__ import annotations

import random

import pytest
from fixtures.repeats import examples
from fixtures.rule_shapes import EXIT, SHAPES, rule, rules, shapes
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.rule import Action
from auditsvc.ruleset.conflict import exclude_each_other
from auditsvc.ruleset.cover import includes, overlap
from auditsvc.ruleset.cover_index import CoverIndex
from auditsvc.ruleset.loaded_order import LoadedOrder


def first(wide, narrow):
    """The position of the first rule that takes in another, each of them asked."""
    return next((at for at, each in enumerate(wide) if includes(each, narrow)), None)


def index_of(rules_):
    """An index of rules."""
    index = CoverIndex()
    for position, each in enumerate(rules_):
        index.add(each, position)
    return index


@pytest.mark.parametrize("which", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_every_shape_is_found_where_it_is_first(which, seed):
    """In any order of the shapes of a list; calls may be given in place of the rule's own."""
    order = shapes(which)
    random.Random(seed).shuffle(order)
    index = index_of(order)
    for each in order:
        if not exclude_each_other(each.conditions, each.filter_list):
            assert index.first(each) == first(order, each), str(each)
            assert index.first(each, 0) is not None or first(order, each) is None


@examples(150, long=4000, derandomize=True)
@given(st.lists(rules(), max_size=12), rules())
def test_any_rule_is_found_where_it_is_first(order, wanted):
    """Among rules of several conditions."""
    if not exclude_each_other(wanted.conditions, wanted.filter_list):
        assert index_of(order).first(wanted) == first(order, wanted)


RANGES = st.builds(
    lambda low, size, uid: rule(
        f"-a always,exit -S 1 -F auid>={low} -F auid<={low + size}"
        + (f" -F uid<={uid}" * (uid > 7))
    ),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 12),
)


@examples(150, long=4000, derandomize=True)
@given(st.lists(RANGES, max_size=20), RANGES)
def test_ranges_are_found_where_they_are_first(order, wanted):
    """One range a rule, or two."""
    assert index_of(order).first(wanted) == first(order, wanted)


@examples(150, long=4000, derandomize=True)
@given(st.lists(rules(), max_size=12), rules(), st.integers(0, 12))
def test_rules_that_may_share_calls_are_found(order, wanted, end):
    """In their order, by their action, before a position."""
    kept = list(dict.fromkeys(order))
    loaded = LoadedOrder(kept)
    for action in Action:
        expected = [each for each in kept[:end] if each.action is action and overlap(each, wanted)]
        assert list(loaded.meeting(wanted, action, end)) == expected


def test_files_may_share_calls_with_the_folders_round_them():
    """Both ways, and a path with `..` with any."""
    order = [rule(f"-a always,exit {each}") for each in EXIT if "path" in each or "dir" in each]
    loaded = LoadedOrder(order)
    for each in order:
        expected = [other for other in order if overlap(other, each)]
        assert list(loaded.meeting(each, Action.ALWAYS, len(order))) == expected


def test_a_loaded_rule_includes_itself_though_no_call_matches_it():
    """It is loaded all the same."""
    never_met = rule("-a always,exit -F auid=0 -F auid>=1000")
    assert LoadedOrder([never_met]).first(never_met, Action.ALWAYS) == 0
