"""The grammar of a line: what is written is read back, and no text can begin a line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditsvc.record.fields import parse_fields
from auditsvc.record.line import Line, escape, format_line, parse_line, unescape, untrusted


@given(st.binary())
def test_escape_can_be_undone(text):
    """Every byte comes back, and the escaped text holds no control byte."""
    escaped = escape(text)
    assert unescape(escaped) == text
    assert all(byte >= 0x20 and byte != 0x7F for byte in escaped)


@given(st.binary())
def test_a_record_is_one_line_and_comes_back(text):
    """Whatever a program sends stays inside its own line, but for blanks before it."""
    body = text.rstrip(b"\0\n").lstrip(b" ")
    line = format_line("USER", b"audit(1700000000.123:45): " + text)
    assert b"\n" not in line
    assert b"\r" not in line
    assert parse_line(line) == Line(
        None, b"USER", b"1700000000.123:45", 1_700_000_000, 123, 45, body
    )


@given(st.binary(), st.sampled_from([b"comm", b"exe", b"key"]))
def test_an_untrusted_string_is_one_field(text, name):
    """It is spelled as the kernel does, and the decoder reads every byte back."""
    body = b"pid=1 " + name + b"=" + untrusted(text).encode() + b" res=1"
    assert parse_fields(1203, body)[1:] == [(name, text), (b"res", b"1")]
    assert b"\n" not in body


def test_a_line_without_control_bytes_is_written_as_it_is():
    """Backslashes alone are no reason to escape."""
    payload = rb"audit(1.000:2): op=C:\dir res=success"
    assert format_line(b"USER", payload) == b"type=USER msg=" + payload


def test_an_old_escape_in_a_plain_line_stays():
    """A text that looks escaped, but is not marked, is taken as it stands."""
    line = parse_line(rb"type=USER msg=audit(1.000:2): op=\x41")
    assert isinstance(line, Line)
    assert line.body == rb"op=\x41"


def test_what_is_not_a_record_has_a_reason():
    """The reason is told for each kind of wrong line."""
    assert parse_line(b"type=X") == "not a record"
    assert parse_line(b"type=X msg=audit(9999999999.000:1): ") == "time out of range"
    assert parse_line(b"type=X msg=audit(1.000:4294967296): ") == "serial out of range"
