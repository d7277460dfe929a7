"""Ids of many events: a multiset in little memory."""

from __future__ import annotations

from collections import Counter

from fixtures.repeats import examples
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.evidence.event_ids import EventIds

IDS = st.lists(st.lists(st.integers(0, 99).map(lambda n: n << 31)))


@examples(100)
@given(IDS)
def test_as_a_counter(parts):
    """What was added is there as often, whatever was asked between."""
    ids, model = EventIds(), Counter()
    for part in parts:
        ids.add(part)
        model.update(part)
        assert [ids.count(n << 31) for n in range(100)] == [model[n << 31] for n in range(100)]
    assert bool(ids) == bool(model)
