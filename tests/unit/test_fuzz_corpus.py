"""All inputs that `make fuzz` kept, and those that it begins with, hold what its targets say."""

from __future__ import annotations

import pytest
from fixtures.repeats import some
from fuzz.corpus import kept, known, words
from fuzz.targets import TARGETS

from auditsvc.decode import DECODERS


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus(name):
    """Each reaches code that no other reaches; all of them with --long."""
    if name in ("decoders", "addresses"):
        assert "native" in DECODERS
    inputs = kept(name)
    assert len(inputs) > 20, "tests/fuzz/corpus has them"
    for data in some((*inputs, *known(name)), name, 200):
        TARGETS[name](data)


def test_words_of_the_languages():
    """A dictionary, as libFuzzer reads it."""
    assert b'"\\x2d\\x46"' in words("rules")
    assert {b'"' + b"".join(b"\\x%02x" % each for each in b"saddr=") + b'"'} <= set(
        words("decoders")
    )
