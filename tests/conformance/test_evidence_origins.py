"""What a store says came from elsewhere hides nothing of ours, and nothing that nobody gave."""

from __future__ import annotations

import pytest
from fixtures import logs
from fixtures.collected import DAY, day_of_lines, drop, load
from fixtures.evidence_host import Host
from fixtures.store_changes import FORGED, ROWS, change

from auditsvc.decode.ids import SERIAL_BITS

pytestmark = pytest.mark.usefixtures("unsynced")

INVENTED = ROWS["an event is invented"]
RANGES = {
    "of no source": f"INSERT INTO origin VALUES ({FORGED - 1}, {FORGED + 1}, NULL)",
    "of a source that there is not": f"INSERT INTO origin VALUES ({FORGED}, {FORGED}, 4711)",
    "of the spool": f"INSERT INTO origin SELECT {FORGED}, {FORGED}, id FROM source"
    " WHERE kind = 'spool'",
    "in part of the spool": f"INSERT INTO origin VALUES ({FORGED}, {FORGED}, NULL)",
}


@pytest.fixture
def host(url, tmp_path):
    """Give a host with a store of its own."""
    made = Host(tmp_path, "here", url)
    made.fill([0, 1])
    assert made.found() == []
    return made


@pytest.mark.parametrize("what", RANGES)
def test_a_range_that_nobody_made_hides_no_row(host, what):
    """It is a finding itself, and the row in it is one that no segment had."""
    change(host.url, INVENTED, RANGES[what])
    found = host.found()
    assert any("said to be in part" in each or "a row of origin" in each for each in found)
    assert any("that no segment had" in each and str(FORGED) in each for each in found)


@pytest.mark.parametrize("event", ["one of the day", "one that there is not"])
def test_a_part_that_no_line_gave_hides_no_sealed_day(host, event):
    """Nor does one that is given out for a row of it, altered or not."""
    assert drop(host.run, host.url, host.spool, 2) == []
    host.look()
    assert host.found() == []
    where = "(SELECT min(id) FROM syscall)" if event == "one of the day" else str(FORGED)
    change(
        host.url,
        "UPDATE syscall SET success = 0, exit = -13 WHERE id = (SELECT min(id) FROM syscall)",
        f"INSERT INTO origin VALUES ({where}, {where}, NULL)",
    )
    found = host.found()
    assert any("no line gave it" in each for each in found)
    assert any("are not those that were signed" in each for each in found)


@pytest.mark.parametrize("dropped", [False, True], ids=["all segments", "deleted segments"])
def test_an_event_of_which_a_log_gave_a_part_is_no_tampering(url, tmp_path, dropped):
    """Its own rows are compared with its lines, and those of its day are counted without them."""
    when = {"second": DAY}
    lines = [
        logs.call(901, items=2, **when),
        logs.path(901, "/one", **when),
        logs.path(901, "/two", item=1, **when),
        logs.end(901, **when),
    ]
    host = Host(tmp_path, "here", url)
    host.look()
    logs.load(url, "".join(lines[:2]), name="/audit.log", host="here")
    host.run.writer.append(day_of_lines(0, 1) + "".join(lines[1:]).encode())
    host.run.step()
    load(url, host.spool)
    host.look()
    host.fill([0, 1])
    assert host.found() == []
    if dropped:
        assert drop(host.run, url, host.spool, 2) == []
        host.look()
        assert host.found() == []
    change(url, INVENTED)
    assert any("segment" in each for each in host.found())


@pytest.mark.one_database
def test_what_an_older_program_stored_without_a_source_is_a_note(url, tmp_path):
    """As it was found when the store was first seen; it is no rule for what comes later."""
    old = "".join(logs.call(n, second=DAY + 86400 * 30) for n in range(5, 9))
    logs.load(url, old.encode(), "/old.log")
    change(url, "UPDATE origin SET source = NULL")
    host = Host(tmp_path, "here", url)
    host.fill([0, 30])
    report = host.verify()
    assert report.findings == []
    assert "the source is not known" in " ".join(report.notes)
    more = ((DAY + 86400 * 31) << SERIAL_BITS) + 1
    change(url, f"INSERT INTO origin VALUES ({more}, {more + 9}, NULL)")
    assert any(f"events {more} to" in each for each in host.found())


@pytest.mark.one_database
def test_a_sealed_row_that_is_moved_to_a_log_is_missed(host):
    """As its day's digests have it."""
    logs.load(host.url, logs.call(5, second=DAY + 86400 * 30).encode(), "/other.log")
    assert drop(host.run, host.url, host.spool, 2) == []
    host.look()
    assert host.found() == []
    change(
        host.url,
        "INSERT INTO origin SELECT min(s.id), min(s.id), (SELECT id FROM source"
        " WHERE name = '/other.log') FROM syscall s",
    )
    assert any("are not those that were signed" in each for each in host.found())
