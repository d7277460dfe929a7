"""Events whose lines stand twice in a spool, as after a log that was read again: each is proved."""

from __future__ import annotations

import pytest
from fixtures import logs
from fixtures.collected import day_of_lines, drop, fill, load, verify
from fixtures.days import NOW, prune, table
from fixtures.evidence import Run
from fixtures.repeats import pairs
from fixtures.store_changes import change

from auditsvc.spool.segments import segments
from auditsvc.store.databases import open_database

pytestmark = pytest.mark.usefixtures("unsynced")

AGAIN = day_of_lines(0, 1) + day_of_lines(0, 5)
"""Lines of eight events that the first day has."""


def spool_of(tmp_path, url, places, drops):
    """Make a spool of segments, of which some have lines again; then delete up to each of `drops`.

    Segment 1 has the lines first.
    """
    spool = tmp_path / "spool"
    run = Run(spool, segment_bytes=1 << 20)
    for number in range(1, 5):
        fill(run, [number - 1], 4)
        for _ in range(places.count(number)):
            run.writer.append(AGAIN)
        run.step()
        run.writer.rotate()
    load(url, spool, finish=False)
    for last in drops:
        assert drop(run, url, spool, last) == []
        assert verify(url, spool).findings == []
    fill(run, [9], 1)
    run.end()
    load(url, spool)
    assert segments(spool)[0] == max(drops, default=0) + 1
    return spool


PLACES = {"at once": [1], "later": [3], "often": [1, 1, 2, 2, 3]}
DROPS = {
    "none": [],
    "the first": [1],
    "both at once": [3],
    "one after the other": [1, 2, 3],
}


@pytest.mark.one_database
@pytest.mark.parametrize(("places", "drops"), pairs(list(PLACES), DROPS))
def test_lines_that_stand_twice_are_no_tampering(url, tmp_path, places, drops):
    """Before and after their segments are deleted, in one seal or in several."""
    spool = spool_of(tmp_path, url, PLACES[places], DROPS[drops])
    assert verify(url, spool).findings == []
    change(url, "DELETE FROM path WHERE event = (SELECT min(id) FROM syscall)")
    assert verify(url, spool).findings != []


@pytest.mark.one_database
def test_only_what_our_own_spool_gave_again_is_noted(url, tmp_path):
    """Not what another log had given before; and retention forgets it with its events."""
    other = logs.load(url, AGAIN, name="other")
    assert sum(each.events for each in other) == 8
    spool_of(tmp_path, url, [], [])
    assert table(url, "repeated") == []
    run = Run(tmp_path / "second", segment_bytes=1 << 20)
    run.writer.append(AGAIN)
    run.step()
    run.end()
    load(url, tmp_path / "second")
    assert {times for _, times in table(url, "repeated")} == {1}
    assert len(table(url, "repeated")) == 8
    prune(open_database(url), keep="1d", now=NOW + 100 * 86400)
    assert table(url, "repeated") == []
