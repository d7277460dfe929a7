"""What auditd's ENRICHED format adds is told apart from a record, whatever the record is."""

from __future__ import annotations

import pytest
from fixtures.growth import growth

from auditsvc.decode.ids import dimension_id
from auditsvc.record.fields import parse_fields, to_json
from auditsvc.store.write.enriched import Names
from auditsvc.store.write.stored_event import RECORD, Piece

USER_CMD = 1123
SECRET = b"secret"
NAMES = b'\x1dUID="ann"'
BODY = b"pid=1 uid=0 odd=\xff "
"""With a byte for which the store keeps the record's own bytes, too."""
JUNK = {
    "braces": b"xUID={ ",
    "braces behind separators": b"\x1dSADDR={ ",
    "closed braces": b"xSADDR={ a } ",
    "quotes": b'xUID="',
    "separators": b"\x1dAUID=1",
    "relayed separators": b"#035A",
    "capitals": b"A-U",
    "names": b"\x1dUID=1 AUID=2 ",
    "names without separators": b"OLD-AUID=1",
}


def plain(body):
    """Give the id that a record without its names has."""
    value, exact = to_json(parse_fields(USER_CMD, body))
    assert not exact
    names = Names(lambda *_: [(1, value, body)], SECRET)
    return names.plain(Piece(RECORD, (USER_CMD, 1))).content[1]


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_names_are_found_in_proportion_to_the_record(junk):
    """A record that is eight times as long takes about eight times as long."""
    small, large = (BODY + junk * (size // len(junk)) + b"." + NAMES for size in (8000, 64_000))
    assert growth(lambda: plain(small), lambda: plain(large), 28) < 28


@pytest.mark.parametrize("value", [b"{", b"{ a", b"{ a }", b"a{b}", b"}{ "])
def test_a_brace_in_a_record_stays(value):
    """One that has no end, too: the names alone are left out."""
    body = BODY + b"x=" + value
    shown, _ = to_json(parse_fields(USER_CMD, body))
    assert plain(body + NAMES) == dimension_id(SECRET, "text", (shown, body))
