"""journald's native protocol: writing and reading datagrams."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditsvc.forward.wire import fields, framed, joined

_NAMES = st.from_regex(rb"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)
_FIELDS = st.lists(st.tuples(_NAMES, st.binary(max_size=60)).map(b"=".join), max_size=12)


@given(_FIELDS)
def test_there_and_back(made):
    """Whatever bytes the values are, the fields of a datagram are those put into it."""
    assert fields(joined(made)) == made


def test_as_documented():
    """A value with a newline has its length before it, any other stands as it is."""
    assert framed(b"A=b=c") == b"A=b=c\n"
    assert framed(b"A=") == b"A=\n"
    assert framed(b"A=x\ny") == b"A\n\3\0\0\0\0\0\0\0x\ny\n"
