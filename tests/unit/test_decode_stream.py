"""Invariants for every stream of bytes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fixtures.repeats import examples
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.store.schema import metadata

DATA = Path(__file__).parent.parent / "data"
LINES = (DATA / "mixed.log").read_bytes().splitlines()
RECORDS = [
    line for path in sorted(DATA.glob("records/*.log")) for line in path.read_bytes().split(b"\n")
]
NASTY = [b"", b"\0\0\0", b"type=", b"\xff\xfe", b"node=x ", b"type=EOE msg=audit(1.000:1): "]
STAMP = re.compile(rb"audit\([0-9.]+:([0-9]+)\)")
FEW_STAMPS = [b"audit(1.000:1)", b"audit(1.000:2)", b"audit(2.000:2)"]
BASIC = [
    next(line for line in LINES if line.startswith(b"type=%b " % kind))
    for kind in b"SYSCALL PROCTITLE CWD PATH EOE URINGOP USER_LOGIN SECCOMP EXECVE LOGIN".split()
]


@st.composite
def windows(draw):
    """Draw some consecutive lines of a real log."""
    start = draw(st.integers(0, len(LINES) - 1))
    return LINES[start : start + draw(st.integers(1, 40))]


@st.composite
def events(draw):
    """Draw the lines of an event as no kernel would write it, but some stamp holds together."""
    between = draw(st.lists(st.sampled_from(BASIC), max_size=3))
    end = draw(st.sampled_from((BASIC[1:2], [BASIC[1], BASIC[4]], [])))
    stamp = draw(st.sampled_from(FEW_STAMPS))
    return [STAMP.sub(stamp, line, count=1) for line in (BASIC[0], *between, *end)]


@st.composite
def logs(draw):
    """Draw lines of several kinds in which events interleave, and some bytes are wrong."""
    lines = list(
        draw(
            st.one_of(
                windows(),
                st.lists(st.sampled_from(RECORDS + NASTY), max_size=30),
                st.lists(events(), max_size=8).map(
                    lambda found: [line for e in found for line in e]
                ),
            )
        )
    )
    for _ in range(draw(st.integers(0, 4))):
        if lines:
            moved = lines.pop(draw(st.integers(0, len(lines) - 1)))
            lines.insert(draw(st.integers(0, len(lines))), moved)
    for _ in range(draw(st.integers(0, 3))):
        if lines:
            n = draw(st.integers(0, len(lines) - 1))
            place = draw(st.integers(0, len(lines[n])))
            lines[n] = lines[n][:place] + draw(st.binary(max_size=3)) + lines[n][place + 1 :]
    return b"\n".join(lines) + draw(st.sampled_from((b"", b"\n")))


@st.composite
def split_logs(draw):
    """Draw a log and its pieces."""
    log = draw(logs())
    cuts = sorted(draw(st.lists(st.integers(0, len(log)), max_size=8)))
    return log, [log[a:b] for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True)]


@examples(100)
@given(split_logs(), st.integers(1, 5))
def test_any_split_gives_equal_rows(decode, split, max_open):
    """How the stream is cut into pieces changes nothing, not even the order of rows."""
    log, pieces = split
    whole = decode(log, max_open=max_open)
    assert decode(log, pieces=pieces, max_open=max_open).everything() == whole.everything()


@examples(150, long=30_000)
@given(st.lists(events(), max_size=6), st.integers(1, 3))
def test_lines_one_by_one_give_equal_rows(decode, found, max_open):
    """Events that stand together and can be taken at once give what their lines give."""
    lines = [line + b"\n" for event in found for line in event]
    whole = decode(b"".join(lines), max_open=max_open)
    assert decode(b"", pieces=lines or [b""], max_open=max_open).everything() == whole.everything()


def test_byte_by_byte(decode):
    """A real log fed by single bytes gives the rows of the whole."""
    log = b"\n".join(LINES[:120]) + b"\n"
    pieces = [log[n : n + 1] for n in range(len(log))]
    assert decode(log, pieces=pieces).everything() == decode(log).everything()


@examples(100)
@given(logs(), st.data())
def test_restart_anywhere_gives_equal_rows(make, decoded, decode, log, data):
    """A decoder that takes up another's pending lines goes on as that one would have."""
    cut = data.draw(st.integers(0, len(log)))
    first, second = make(), make()
    total = decoded()
    first.feed(log[:cut], 0.0)
    total.add(first.take())
    second.restore(first.pending(), 0.0)
    assert second.open_records == first.open_records
    assert second.pending() == first.pending()
    second.feed(log[cut:], 0.0)
    second.finish()
    batch = second.take()
    # Offsets count from where the second one's input began.
    batch.raw = [(offset + cut, line, reason) for offset, line, reason in batch.raw]
    total.add(batch)
    whole = decode(log)
    assert total.facts == whole.facts
    assert total.weights == whole.weights
    assert total.raw == whole.raw
    assert {name: set(rows) for name, rows in total.dimensions.items()} == {
        name: set(rows) for name, rows in whole.dimensions.items()
    }
    assert total.counts == whole.counts


@examples(100)
@given(logs(), st.booleans())
def test_every_record_is_accounted_for(decode, log, finish):
    """What is received = stored + end + raw + open, and weights say what was stored."""
    decoded = decode(log, finish=finish)
    assert decoded.balance() == 0
    assert sum(sum(counts) for counts in decoded.weights.values()) == decoded.counts["stored"]
    assert len(decoded.raw) == decoded.counts["raw"]
    if finish:
        assert decoded.open_records == 0


@examples(100)
@given(st.binary(max_size=2000))
def test_any_bytes_are_kept(decode, log):
    """Bytes that are no log at all are kept raw, where they stood."""
    decoded = decode(log)
    assert decoded.balance() == 0
    for offset, line, _ in decoded.raw:
        assert log[offset : offset + len(line)] == line


def test_rows_have_the_schema_s_columns(decode):
    """Every row has as many values as its table has columns."""
    decoded = decode(b"\n".join(LINES + RECORDS))
    for rows in (decoded.dimensions, decoded.facts):
        for table, found in rows.items():
            assert {len(row) for row in found} == {len(metadata.tables[table].columns)}, table


def test_dimension_rows_come_once_and_before_their_use(make):
    """No dimension row comes twice, and none is referred to before it was handed over."""
    machine = make()
    known = set()
    for line in LINES:
        machine.feed(line + b"\n", 0.0)
        batch = machine.take()
        for table, rows in batch.dimensions.items():
            for row in rows:
                assert (table, row[0]) not in known
                known.add((table, row[0]))
        for row in batch.facts.get("syscall", ()):
            assert ("context", row[-1]) in known
        for row in batch.facts.get("path", ()):
            assert ("file", row[3]) in known


def test_interleaved_events_give_the_rows_of_separate_ones(decode):
    """Records of two events by turns, as two CPUs write them, change nothing but the order."""
    events = {}
    for line in LINES:
        events.setdefault(STAMP.search(line)[1], []).append(line)
    apart, mixed = [], []
    order = [lines for lines in events.values() if len(lines) > 2]
    for one, other in zip(order[::2], order[1::2], strict=False):
        apart += one + other
        for n in range(max(len(one), len(other))):
            mixed += one[n : n + 1] + other[n : n + 1]
    separate, together = decode(b"\n".join(apart)), decode(b"\n".join(mixed))
    for table in ("syscall", "path", "sockaddr", "exec", "event", "record"):
        assert set(together.facts[table]) == set(separate.facts[table]), table
    assert together.counts == separate.counts


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_long_line_is_taken_in_pieces(decode, end):
    """A line longer than 1 MiB cannot fill the memory: each MiB of it is a line."""
    log = b"x" * (2 << 20) + b"yz" + end
    assert [(offset, len(line)) for offset, line, _ in decode(log).raw] == [
        (0, 1 << 20),
        (1 << 20, 1 << 20),
        (2 << 20, 1 + len(end)),
    ]
    pieces = [log[n : n + 65_537] for n in range(0, len(log), 65_537)]
    assert decode(log, pieces=pieces).everything() == decode(log).everything()


def test_forget_and_pin(make):
    """After `forget` every dimension row comes again; a pinned one under its given id."""
    machine = make()
    log = b"\n".join(LINES[:30]) + b"\n"
    machine.feed(log, 0.0)
    first = machine.take().dimensions
    machine.feed(log, 0.0)
    assert machine.take().dimensions == {}
    machine.forget()
    machine.feed(log, 0.0)
    assert machine.take().dimensions == first
    text = first["text"][0]
    machine.pin("text", text[1:], 77)
    machine.forget()
    machine.feed(log, 0.0)
    again = machine.take()
    assert (77, *text[1:]) in again.dimensions["text"]
    assert text not in again.dimensions["text"]
    assert {row[-1] for row in again.facts["syscall"]} <= {
        row[0] for row in again.dimensions["context"]
    }


@examples(100)
@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=60), st.data())
def test_restart_anywhere_counts_the_gap_alike(make, serials, data):
    """Which serials were not seen goes with the pending lines: a late one is still known."""
    lines = [
        b"node=a b type=USER_LOGIN msg=audit(1750000000.000:%d): x=1\n" % serial
        for serial in serials
    ]
    cut = data.draw(st.integers(0, len(lines)))
    whole, first, second = make(), make(), make()
    whole.feed(b"".join(lines), 0.0)
    first.feed(b"".join(lines[:cut]), 0.0)
    second.restore(first.pending(), 0.0)
    assert second.pending() == first.pending()
    second.feed(b"".join(lines[cut:]), 0.0)
    assert second.pending() == whole.pending()
    total = first.take().counts["gap"] + second.take().counts["gap"]
    assert total == whole.take().counts["gap"]


def test_a_checkpoint_of_before_is_still_read(make):
    """A store may hold one without the serials that were missing."""
    decoder = make()
    decoder.restore(b"#gap 5 1750000000000 a b\n#gap 7 1750000000000\n", 0.0)
    assert decoder.pending() == b"#gap 5 1750000000000 a b\n#gap 7 1750000000000\n"
