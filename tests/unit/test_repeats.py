"""What of a test with several parameters is in the short suite."""

from __future__ import annotations

from itertools import product

import pytest
from fixtures.repeats import is_other_pair

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
