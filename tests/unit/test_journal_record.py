"""Journal entries as lines: the record is made again from journald's fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.collect.journald.record import Lines
from auditsvc.record.line import Line, format_line, parse_line
from auditsvc.record.types import EXECVE
from auditsvc.tables.names import record_type_name, record_types

MACHINE = b"0" * 32
HOST = b"web-1"


def entry(kind, second, ms, serial, body, *, name=None, host=HOST, machine=MACHINE):
    """Make of a record the entry that journald makes of it."""
    return {
        "_HOSTNAME": host,
        "_MACHINE_ID": machine,
        "_TRANSPORT": b"audit",
        "_SOURCE_REALTIME_TIMESTAMP": b"%d" % (second * 1_000_000 + ms * 1000),
        "_AUDIT_TYPE": b"%d" % kind,
        "_AUDIT_ID": b"%d" % serial,
        "MESSAGE": (name or b"AUDIT%04d" % kind) + b" " + body,
    }


def line(fields):
    """Make the line."""
    return Lines(MACHINE, HOST).line(fields)


kinds = st.one_of(st.sampled_from(sorted(record_types())), st.integers(1100, 2999)).filter(
    lambda kind: kind != EXECVE  # its body begins with argc=, or with a space
)
bodies = st.binary(min_size=1).filter(lambda body: b"\0" not in body and body.strip())


@given(kinds, st.integers(1, (1 << 33) - 1), st.integers(0, 999), st.integers(0, (1 << 32) - 1))
def test_the_stamp_comes_back(kind, second, ms, serial):
    """Type, time and serial are the record's, for known types and others."""
    made = line(entry(kind, second, ms, serial, b"a=1"))
    payload = b"audit(%d.%03d:%d): a=1" % (second, ms, serial)
    assert made == format_line(record_type_name(kind), payload) + b"\n"


@given(bodies)
def test_whatever_the_body_it_is_one_record(body):
    """Newlines and all, a body stays in its line and comes back byte by byte.

    But for blanks before it: old kernels write one more, which says nothing.
    """
    made = line(entry(1300, 1_700_000_000, 5, 7, body))
    assert made.count(b"\n") == 1
    assert made.endswith(b"\n")
    parsed = parse_line(made[:-1])
    assert isinstance(parsed, Line)
    assert parsed.body == body.rstrip(b"\0\n").lstrip(b" ")
    assert (parsed.type_name, parsed.serial, parsed.node) == (b"SYSCALL", 7, None)


def test_arguments_that_continue_an_execve_have_their_space_back():
    """The kernel begins such a record with a space, which journald leaves out."""
    assert line(entry(1309, 1, 0, 2, b"a1[1]=61")).endswith(b"audit(1.000:2):  a1[1]=61\n")
    assert line(entry(1309, 1, 0, 2, b"argc=1 a0=61")).endswith(b"audit(1.000:2): argc=1 a0=61\n")


def test_only_other_machines_get_a_node():
    """Neither this machine under another name, nor this host's name, nor no name at all."""
    record = (1300, 1, 0, 2, b"a=1")
    assert line(entry(*record, host=b"old-name")).startswith(b"type=")
    assert line(entry(*record, machine=b"f" * 32)).startswith(b"type=")
    other = entry(*record, host=b"db-1", machine=b"f" * 32)
    assert line(other).startswith(b"node=db-1 type=SYSCALL ")
    del other["_HOSTNAME"]
    assert line(other).startswith(b"type=")


@given(st.binary(min_size=1))
def test_no_host_name_reads_as_a_record(name):
    """Whatever another machine calls itself, it is the node and nothing else."""
    made = line(entry(1300, 1, 0, 2, b"a=1", host=name, machine=b"f" * 32))
    parsed = parse_line(made.removesuffix(b"\n"))
    assert isinstance(parsed, Line)
    assert (parsed.serial, parsed.body) == (2, b"a=1")
    if name != HOST:
        assert parsed.node is not None
        assert b" " not in parsed.node


@pytest.mark.parametrize("name", ["_AUDIT_TYPE", "_AUDIT_ID", "_SOURCE_REALTIME_TIMESTAMP"])
@pytest.mark.parametrize("value", [None, b"", b"x", b"1 2", b"9" * 20, [b"1", b"2"]])
def test_an_entry_that_is_no_record_is_kept_raw(name, value):
    """What is missing, no number or repeated: the decoder gets no record, but the text."""
    fields = entry(1300, 1_700_000_000, 5, 7, b"type=SYSCALL\nmsg=audit(1.000:2): a=1")
    if value is None:
        del fields[name]
    else:
        fields[name] = value
    made = line(fields)
    assert made.count(b"\n") == 1
    assert parse_line(made[:-1]) == "not a record"
    assert b"msg=audit(1.000:2): a=1" in made


@pytest.mark.parametrize(
    "message", [None, b"SYSCALL", b"SYSCALL " + b"a" * 70000, [b"A b", b"C d"]]
)
def test_a_message_that_journald_does_not_make_is_kept_raw(message):
    """No body, one larger than any record of the kernel's, or two messages."""
    fields = entry(1300, 1_700_000_000, 5, 7, b"a=1")
    if message is None:
        del fields["MESSAGE"]
    else:
        fields["MESSAGE"] = message
    made = line(fields)
    assert parse_line(made[:-1]) == "not a record"
    assert len(made) < 1 << 20
