"""What a loader's process sends is bounded and checked, whatever it is."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from pathlib import Path

import pytest
from fixtures.repeats import examples
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.service.frames import MOST, Channel, Frames, ProtocolError, close_passed
from auditsvc.service.loader_reports import MOST_IDS, State, parse_report

STATE = State(
    open=True,
    segment=3,
    position=77,
    store_error="",
    hindrance="",
    retention="",
    archive="",
    fleet="",
    asks=False,
    quiet=0.5,
    gaps=1,
    commits=2,
    tried=True,
)
FACTS = {
    "identity": "ab" * 16,
    "schema": "0015",
    "segment": 1,
    "position": 2,
    "ledger": {"received": 3, "gap": -1},
}
GOOD = {
    "state": STATE.model_dump(),
    "bound": {"kind": "bound", "facts": FACTS},
    "bound with an archive": {
        "kind": "bound",
        "facts": FACTS | {"archive": [1, "ab" * 16], "from": [1, 2]},
    },
    "seen": {"kind": "seen", "users": [0, 4294967295], "processes": [[1, None, 2, -5]]},
    "note": {"kind": "note", "what": "lost-rows"},
    "opened": {"kind": "opened", "backend": 12},
    "sealed": {"kind": "sealed", "last": 3, "digest": "", "altered": ["x"], "problem": "no"},
    "failed": {"kind": "failed", "name": "StoreError", "what": "x", "hint": ""},
}
BAD = {
    "no object": [],
    "no kind": {},
    "another kind": {"kind": "exec"},
    "a field more": GOOD["note"] | {"more": 1},
    "a note of its own": {"kind": "note", "what": "res=success op=login"},
    "a text for a number": GOOD["state"] | {"position": "77"},
    "a negative place": GOOD["state"] | {"position": -1},
    "a segment that cannot be": GOOD["state"] | {"segment": 1 << 23},
    "a long text": GOOD["state"] | {"store_error": "x" * 2001},
    "no time": GOOD["state"] | {"quiet": -1.0},
    "a digest that is none": GOOD["sealed"] | {"digest": "x"},
    "a cause with a quote": {"kind": "bound", "facts": FACTS | {"ledger": {'"': 1}}},
    "too many causes": {
        "kind": "bound",
        "facts": FACTS | {"ledger": {str(n): 1 for n in range(201)}},
    },
    "too many ids": {"kind": "seen", "users": [0] * (MOST_IDS + 1)},
    "no pid": {"kind": "seen", "processes": [[0, 1, 1, 1]]},
    "too large an id": {"kind": "seen", "users": [1 << 32]},
}


@pytest.mark.parametrize("name", GOOD)
def test_what_a_loader_says_is_taken(name):
    """Each kind of report, as it is sent."""
    report = parse_report(json.dumps(GOOD[name]).encode())
    assert report.kind == GOOD[name]["kind"]
    if report.kind == "bound":
        assert report.as_bound() == GOOD[name]["facts"]


@pytest.mark.parametrize("name", BAD)
def test_what_it_may_not_say_is_refused(name):
    """A wrong type, bound, kind or field."""
    with pytest.raises(ProtocolError):
        parse_report(json.dumps(BAD[name]).encode())


@examples(200)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_report_or_refused(data):
    """Nothing else is raised."""
    with contextlib.suppress(ProtocolError):
        parse_report(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@examples(200)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_a_report_with_any_value_in_a_field_is_bounded_or_refused(name, data):
    """One field of a good report replaced by anything: refused, or it keeps its bounds."""
    good = GOOD[name]
    field = data.draw(st.sampled_from(sorted(good)))
    value = data.draw(json_values)
    try:
        report = parse_report(json.dumps(good | {field: value}).encode())
    except ProtocolError:
        return
    assert len(report.model_dump_json()) < MOST


@examples(100)
@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(1, 9)))
def test_frames_are_the_same_however_they_are_cut(contents, cuts):
    """A stream in pieces of any size gives each frame once."""
    stream = b"".join(struct.pack(">I", len(each)) + each for each in contents)
    frames, found, at = Frames(), [], 0
    for cut in [*cuts, len(stream)]:
        found += frames.feed(stream[at : at + cut])
        at += cut
    assert found == contents


def test_a_frame_that_is_too_long_is_refused_before_it_is_read():
    """Its length alone is enough."""
    with pytest.raises(ProtocolError):
        list(Frames().feed(struct.pack(">I", MOST + 1)))


def open_descriptors():
    """Count those of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_that_nobody_asked_for_are_closed():
    """Many with one message, many with pieces of one: none is left open."""
    ours, theirs = socket.socketpair()
    before = open_descriptors()
    sender = threading.Thread(
        target=lambda: [
            socket.send_fds(theirs, [b"\0"], [0, 1, 2]),
            socket.send_fds(theirs, [b"\0"], [0]),
            theirs.close(),
        ]
    )
    sender.start()
    with pytest.raises(ProtocolError):
        list(Channel(ours))
    sender.join()
    assert open_descriptors() == before - 1  # theirs
    ours.close()


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("length", [10, 100_000])
def test_a_descriptor_is_that_of_the_message_it_was_sent_with(before, length):
    """However late they are read: the kernel gives several messages at once then."""
    ours, theirs = socket.socketpair()
    sending, receiving = Channel(theirs), Channel(ours)

    def send():
        for _ in range(before):
            sending.send({"kind": "state"})
        with Path("/dev/null").open("rb") as file:
            sending.send({"kind": "opened", "text": "x" * length}, file.fileno())
        sending.send({"kind": "state"})
        sending.close()

    sender = threading.Thread(target=send)
    sender.start()
    if length < 1000:  # what has no room in the socket is sent when it is read
        sender.join()
    got = []
    for each in receiving:
        got.append((json.loads(each.content)["kind"], each.descriptor >= 0))
        close_passed(each.descriptor)
    sender.join()
    assert got == [*[("state", False)] * before, ("opened", True), ("state", False)]
    ours.close()
