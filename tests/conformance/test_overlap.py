"""Files of a log that overlap: each record is there once, and what both have is a duplicate."""

from __future__ import annotations

import shutil

import pytest
from fixtures.logs import balanced, call, end, ledger, login, record, rows
from fixtures.repeats import examples
from fixtures.rotated import EVENTS, RM, ingest, state, whole
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from auditsvc.decode import DECODERS


@pytest.fixture(autouse=True, params=list(DECODERS))
def decoder(request, monkeypatch):
    """Have the rows from each decoder."""
    monkeypatch.setenv("AUDITSVC_DECODER", request.param)
    return request.param


_UNTOLD = (b"type=AVC", b"type=OBJ_PID", b"type=CONFIG_CHANGE", b":15): ")
_TOLD = [
    each for each in EVENTS if each[0] != ord("-") and not any(kind in each for kind in _UNTOLD)
]
"""Events of which an overlap can be told: they have a call, or no record that is pending."""


@st.composite
def overlaps(draw):
    """Draw the lines of a log, and where its second file begins and its first one ends."""
    events = draw(st.lists(st.sampled_from(_TOLD), min_size=1, max_size=6, unique=True))
    lines = b"".join(events).splitlines(keepends=True)
    ends = draw(st.integers(1, len(lines)))
    begins = draw(st.integers(0, ends - 1))
    return lines, begins, ends


@examples(6, long=3000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(overlaps(), st.sampled_from(["one call", "in order", "other order", "grows"]), st.data())
def test_files_that_overlap_give_each_record_once(stores, tmp_path, drawn, how, data):
    """Wherever the one ends and the other begins; what both have is counted as duplicate."""
    lines, begins, ends = drawn
    right = whole(stores.url(), b"".join(lines), tmp_path / "whole")
    folder = tmp_path / "log"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    old, new = folder / "audit.log.1", folder / "audit.log"
    old.write_bytes(b"".join(lines[:ends]))
    new.write_bytes(b"".join(lines[begins:]))
    url = stores.url()
    if how == "one call":
        ingest(url, old, new)
    elif how == "in order":
        ingest(url, old)
        ingest(url, new)
    elif how == "other order":
        ingest(url, new)
        ingest(url, old)
    else:
        ingest(url, old)
        size = data.draw(st.integers(1, len(lines) - begins))
        new.write_bytes(b"".join(lines[begins : begins + size]))
        ingest(url, new)
        new.write_bytes(b"".join(lines[begins:]))
        ingest(url, new)
    assert balanced(url)
    now = state(url)
    told, wanted = now.pop("ledger"), right.pop("ledger")
    assert now == right
    assert told["gap"] == wanted["gap"]
    if how in ("one call", "in order"):
        assert told["stored"] == wanted["stored"]


def test_a_record_in_the_end_of_one_file_and_the_beginning_of_the_next(stores, tmp_path):
    """It is one of its event, and a duplicate in the ledger and the command's answer."""
    lines = [line.encode() for line in RM]
    (tmp_path / "audit.log.1").write_bytes(login(101).encode() + b"".join(lines[:6]))
    (tmp_path / "audit.log").write_bytes(b"".join(lines[5:]) + login(104).encode())
    url = stores.url()
    job = ingest(url, tmp_path / "audit.log.1", tmp_path / "audit.log")
    assert job.duplicates == 1
    assert {cause: n for cause, n in ledger(url).items() if n} == {
        "received": 11,
        "stored": 9,
        "duplicate": 1,
        "end": 1,
        "gap": 1,
    }
    names = rows(url, "SELECT name FROM paths ORDER BY item")
    assert [row["name"] for row in names] == [".", "secret.txt"]


def test_equal_records_on_both_sides_of_a_cut_are_two(stores, tmp_path):
    """An access that was denied twice by one call: nothing tells them from an overlap."""
    denied = record("AVC", 5, "avc: denied { read } for pid=100 comm=1")
    log = (login(4) + denied + denied + call(5, items=0) + end(5)).encode()
    cut = log.index(b"type=AVC") + len(denied)
    (tmp_path / "audit.log.1").write_bytes(log[:cut])
    (tmp_path / "audit.log").write_bytes(log[cut:])
    url = stores.url()
    ingest(url, tmp_path / "audit.log.1", tmp_path / "audit.log")
    assert state(url) == whole(stores.url(), log, tmp_path / "whole")
