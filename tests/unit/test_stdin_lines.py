"""Standard input as lines for the spool: none counts as the service's own; no byte is lost."""

from __future__ import annotations

import pytest
from fixtures.repeats import examples
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.collect.stdin_lines import MAX_LINE, StdinLines
from auditsvc.record.line import is_foreign, parse_line

STAMP = b"msg=audit(1.000:1): op=lost kernel=9"
OURS = (
    b"type=DAEMON_ERR " + STAMP,
    b"node=box type=DAEMON_ERR " + STAMP,
    b"type=1209 " + STAMP,
    b"type=01209 " + STAMP,
    b"type=UNKNOWN[1209] " + STAMP,
    b"[ 1.0] audit: type=1209 audit(1.000:1): op=lost kernel=9",
    b"type=DAEMON_CONFIG " + STAMP + b"\r",
)
OTHERS = (
    b"type=SYSCALL " + STAMP,
    b"type=USER_CMD msg=audit(1.000:12): type=DAEMON_ERR ",
    b"type=DAEMON_ERR no record",
    b"",
)


def fed(data, piece):
    """Give the lines that come of `data` in pieces."""
    lines = StdinLines()
    made = b"".join(lines.feed(data[n : n + piece]) for n in range(0, len(data), piece))
    return made + lines.finish()


@pytest.mark.parametrize("line", OURS)
def test_a_line_of_a_daemons_type_is_marked(line):
    """However the type is written, the decoder sees that the line is not ours."""
    (made,) = fed(line + b"\n", 7).splitlines()
    assert is_foreign(parse_line(made).body)


@examples(300)
@given(st.lists(st.sampled_from(OURS + OTHERS), max_size=20), st.integers(1, 50))
def test_all_other_lines_stay_as_they_are(lines, piece):
    """Cut anywhere, what is not marked is the same bytes, and no line is lost."""
    made = fed(b"".join(line + b"\n" for line in lines), piece).split(b"\n")[:-1]
    assert len(made) == len(lines)
    for line, shown in zip(lines, made, strict=True):
        assert shown == line if line in OTHERS else is_foreign(parse_line(shown).body)


@pytest.mark.parametrize("length", [MAX_LINE - 12, MAX_LINE, MAX_LINE + 1, 3 * MAX_LINE])
@pytest.mark.parametrize("start", [OURS[0], OTHERS[0]])
def test_a_long_line_forges_none(length, start):
    """What stands behind the first MiB becomes no record of its own, and no mark is cut off."""
    data = start + b" x=" + b"y" * (length - len(start) - 3 - len(OURS[0])) + OURS[0] + b"\n"
    made = fed(data + OTHERS[0] + b"\n", 1 << 16).splitlines()
    records = [parse_line(line[:MAX_LINE]) for line in made]
    found = [record for record in records if not isinstance(record, str)]
    assert found[-1] == parse_line(OTHERS[0])
    assert len(found) <= 2
    for record in found:
        assert record.type_name == b"SYSCALL" or is_foreign(record.body)
