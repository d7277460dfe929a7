"""How one file of a log continues in the next: incomplete lines, records of one event."""

from __future__ import annotations

import pytest
from fixtures.logs import call, login, path

from auditsvc.decode import make_decoder
from auditsvc.ingest import part

RECORD = login(1).rstrip("\n").encode()


def pending(text):
    """Give what a decoder has pending behind a text."""
    decoder = make_decoder("reference", secret=b"", host="box")
    decoder.feed(text, 0.0)
    return decoder.pending()


@pytest.mark.parametrize("place", range(1, len(RECORD)))
def test_a_line_that_is_cut_goes_on_wherever_it_is_cut(place):
    """Alone, or with lines behind it."""
    head = RECORD[place:]
    assert part.goes_on(pending(RECORD[:place]), head + b"\n" + login(2).encode())
    assert part.goes_on(pending(RECORD[:place]), head)


@pytest.mark.parametrize("size", range(1, len(RECORD) + 1))
@pytest.mark.parametrize("node", [b"", b"node=web 1 "])
def test_a_line_that_is_cut_ends_where_a_record_begins(size, node):
    """As soon as the beginning of the next file tells."""
    line = node + RECORD
    state = pending(RECORD[:-20])
    assert not part.goes_on(state, line + b"\n")
    if size > 5:
        assert not part.goes_on(state, line[:size])


@pytest.mark.parametrize("place", range(1, 11))
def test_a_node_that_was_cut_off_goes_on(place):
    """The record that follows takes it, to be one of that host."""
    line = b"node=web 1 " + RECORD
    assert part.goes_on(pending(line[:place]), line[place:] + b"\n")


RELAYED = [
    b"Mar  4 10:11:12 web3 audispd: node=web3 ",
    b"<86>1 2024-03-04T10:11:15.003Z web3 audisp 811 - - ",
    b"2024-03-04T10:11:15.101+00:00 web3 audisp-syslog[811]: ",
]


@pytest.mark.parametrize("before", RELAYED)
def test_what_a_relay_put_before_a_line_goes_on_wherever_it_is_cut(before):
    """The lines behind tell how a whole one begins; a whole one is not joined to a torn one."""
    line, next_line = before + RECORD, before + login(2).encode()
    for place in range(1, len(line)):
        assert part.goes_on(pending(line[:place]), line[place:] + b"\n" + next_line), place
        if place < len(before):
            assert not part.goes_on(pending(line[:place]), line + b"\n" + next_line), place


@pytest.mark.parametrize(
    "text", [b"type=NORMAL cap_fp=0", b"node=7 dev=fe:00", b"de=7", b"type=A msg=x"]
)
def test_pieces_of_a_record_are_no_beginning_of_one(text):
    """What stands in a PATH: nametype=, inode=."""
    assert not part.may_begin_record(text)
    assert part.goes_on(pending(RECORD), text)


def test_a_file_that_has_more_of_an_event_is_told():
    """By a record of an event that is open, or the end of a line."""
    state = pending((call(1) + login(2)).encode())
    assert part.holds_more(state, path(1, "/x").encode())
    assert part.holds_more(state, (login(3) + path(1, "/x")).encode())
    assert not part.holds_more(state, (login(3) + path(4, "/x")).encode())
    assert part.holds_more(pending(RECORD[:40]), RECORD[40:])


def test_what_a_source_keeps_is_read_back():
    """A file that is settled, and one that is being read."""
    state = pending(call(1).encode())
    for is_settled, left in ((True, None), (False, None), (False, b"#gap 1 2\n")):
        made = part.make_part("s", "/a\udcff", b"head\n", state, left, is_settled=is_settled)
        read = part.decode_part(made.encode())
        assert read == made
        assert (read.head, read.state) == (b"head\n", state)
        assert read.left_state == (state if is_settled else left)
    before = part.decode_part(b"#gap 1 2\n")
    assert (before.alone, before.state, before.size) == (True, b"#gap 1 2\n", 0)


def test_a_state_is_carried_over_a_head():
    """What the files before leave open goes on, what they left before does not."""
    one, two, three = (call(n).encode() for n in (1, 2, 3))
    rest = b"type=PA"
    old, new = pending(one), pending(two)
    state = pending(one + three + rest)
    carried = part.carry(state, old, new)
    assert part.count_open(carried) == 2
    assert part.rest_of(carried) == rest
    assert two in carried
    assert one not in carried
    assert part.carry(state, old, old) == state
