"""Several spools in one store: who is noted is believed, and has no rows of another host."""

from __future__ import annotations

import pytest
from fixtures.collected import DAY, drop, load
from fixtures.evidence import Run
from fixtures.evidence_host import Host
from fixtures.logs import call
from fixtures.logs import load as load_log
from fixtures.store_changes import FORGED, change

from auditsvc.evidence import rows as row_check
from auditsvc.evidence.stored import StoreSide, stored_heads
from auditsvc.spool.identity import source_name
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.databases import open_database

pytestmark = pytest.mark.usefixtures("unsynced")

STRANGER = (
    "INSERT INTO source (id, kind, name, segment, position, pending)"
    " SELECT 4242, 'spool', '/var/lib/auditsvc/spool#0123456789abcdef', '1', 4096, pending"
    " FROM source WHERE kind = 'spool' LIMIT 1"
)
"""A second spool, as who can write to the store says."""
INVENTED = (
    "INSERT INTO event (id, host, ms, serial, type, pid, uid, auid, ses, state, fields)"
    f" SELECT {FORGED}, host, ms, serial, type, pid, uid, auid, ses, state, fields FROM event"
    " WHERE id = (SELECT min(e.id) FROM event e JOIN host h ON h.id = e.host"
    " WHERE h.name = '{0}')"
)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Wait for no first head."""
    monkeypatch.setattr(row_check, "_FIRST_HEAD", 0.0)


@pytest.fixture
def alone(url, tmp_path):
    """Give a host that has a store for itself."""
    host = Host(tmp_path, "one", url)
    host.fill([0, 1])
    return host


def invent(url, host):
    """Add an event that no line gave."""
    assert change(url, INVENTED.format(host)) == 1


def test_a_spool_that_nobody_noted_is_found_and_hides_no_row(alone):
    """Who can write to the store says that there is another spool, and adds rows of its own."""
    assert alone.found() == []
    change(alone.url, STRANGER)
    assert any("0123456789abcdef" in each and "row of source" in each for each in alone.found())
    invent(alone.url, "one")
    assert any(str(FORGED) in each for each in alone.found())
    alone.look()  # a service that sees it does not believe it
    assert any("row of source" in each for each in alone.found())
    assert any(str(FORGED) in each for each in alone.found())


@pytest.mark.one_database
def test_a_log_that_is_said_to_be_a_spool_is_found(alone):
    """Its rows would be another spool's."""
    other = "".join(call(n, second=DAY + 86400 * 30) for n in range(5, 9))
    load_log(alone.url, other.encode(), "/other.log")
    assert alone.found() == []
    change(alone.url, "UPDATE source SET kind = 'spool' WHERE name = '/other.log'")
    assert any("/other.log" in each for each in alone.found())


def test_hosts_of_one_store_accuse_nobody_and_cover_no_invented_row(url, tmp_path):
    """Each notes the others; a row of a host that its spool did not give is found there."""
    hosts = [Host(tmp_path, name, url) for name in ("one", "two", "three")]
    for turn in (0, 1):
        for host in hosts:
            host.fill([turn], 2)
    for host in hosts:
        host.look()
        report = host.verify()
        assert report.findings == []
        assert f"can be told of {host.name} only" in " ".join(report.notes)
    assert hosts[0].noted() == ["three", "two"]
    invent(url, "two")
    assert any(str(FORGED) in each for each in hosts[1].found())
    assert hosts[0].found() == hosts[2].found() == []


def test_a_path_that_is_invented_in_a_shared_store_is_found(url, tmp_path):
    """The rows beside an event count as those of its host."""
    hosts = [Host(tmp_path, name, url) for name in ("one", "two")]
    for host in hosts:
        host.fill([0])
    hosts[0].look()
    assert hosts[0].found() == []
    change(
        url,
        "INSERT INTO path (event, seq, item, file) SELECT p.event, 9, 9, p.file FROM path p"
        " WHERE p.event = (SELECT min(s.id) FROM syscall s JOIN context c ON c.id = s.context"
        " JOIN host h ON h.id = c.host JOIN path q ON q.event = s.id WHERE h.name = 'one')",
    )
    assert any("in path" in each for each in hosts[0].found())
    assert not any("in path" in each for each in hosts[1].found())


@pytest.mark.one_database
def test_a_host_that_came_while_this_one_slept_is_a_note(alone, tmp_path):
    """It signs: its head in the store says which host it is. Then the service notes it."""
    two = Host(tmp_path, "two", alone.url)
    two.fill([0])
    report = alone.verify()
    assert report.findings == []
    assert "has not noted it yet" in " ".join(report.notes)
    invent(alone.url, "one")
    assert any(str(FORGED) in each for each in alone.found())
    alone.look()
    assert alone.noted() == ["two"]
    change(alone.url, "DELETE FROM evidence_head")  # what is noted stays
    assert not any("row of source" in each for each in alone.found())


@pytest.mark.one_database
def test_two_spools_of_one_host_are_told_and_not_compared(alone, tmp_path):
    """A spool that was begun anew, or a second service: rows of the host may be either's."""
    again = Host(tmp_path, "again", alone.url)
    again.run.end()
    again.run = Run(again.spool, segment_bytes=4096, host="one")
    again.name = "one"
    again.fill([3])
    alone.look()
    for host in (alone, again):
        report = host.verify()
        assert report.findings == []
        assert "rows that no segment had cannot be told" in " ".join(report.notes)
    assert alone.noted() == ["one"]


def test_what_stood_before_it_was_noted_is_as_it_was_found(url, tmp_path):
    """A store of an older program: its spools are noted at the first start of this one."""
    one = Host(tmp_path, "one", url, begins=False)
    old = Host(tmp_path, "old", url, begins=False)
    for host in (one, old):
        host.fill([0])
    report = one.verify()
    assert report.findings == []
    assert "rows that no segment had cannot be told" in " ".join(report.notes)
    one.begins = True
    one.look()
    assert one.found() == []
    change(url, STRANGER)
    assert any("row of source" in each for each in one.found())


@pytest.mark.one_database
def test_a_host_that_signs_nothing_is_accepted_when_what_was_noted_is_deleted(url, tmp_path):
    """It joined later: a finding, until the store is seen anew, which the next head binds."""
    one = Host(tmp_path, "one", url)
    one.run.notary.store = lambda: one.side.bound
    Host(tmp_path, "three", url).fill([0])
    one.fill([0, 1])
    two = Host(tmp_path, "two", url, begins=False)
    two.fill([0])
    one.look()
    assert any("signed nothing" in each for each in one.found())
    one.run.end()
    (one.spool / "evidence" / "spools").unlink()
    one.run = Run(one.spool, segment_bytes=4096, host="one")
    one.run.notary.store = lambda: one.side.bound
    one.side = one.new_side()
    one.look()
    assert any("the file spools beside the heads" in each for each in one.found())
    one.fill([2])
    one.run.end()
    one.run.notary.bind_store()
    invent(url, "one")  # it may be a row of the other's
    report = one.verify()
    assert report.findings == []
    assert "rows that no segment had cannot be told" in " ".join(report.notes)
    change(url, STRANGER)  # another one is a finding again
    assert any("0123456789abcdef" in each for each in one.found())


@pytest.mark.one_database
def test_a_first_head_is_waited_for(alone, tmp_path, monkeypatch):
    """The rows of a host that begins are there a moment before its head."""
    two = Host(tmp_path, "two", alone.url)
    two.begins = False
    two.fill([0])
    two.begins = True
    judge = row_check.other_spools.judge

    def judge_late(*given):
        found = judge(*given)
        two.look()
        return found

    monkeypatch.setattr(row_check.other_spools, "judge", judge_late)
    monkeypatch.setattr(row_check, "_FIRST_HEAD", 5.0)
    assert alone.found() == []


@pytest.mark.parametrize("what", ["an event is invented", "a result is changed", "another host's"])
def test_rows_of_deleted_segments_in_a_shared_store(url, tmp_path, what):
    """They are held to their digests, too, if it is known of which hosts they are."""
    hosts = [Host(tmp_path, name, url) for name in ("one", "two")]
    for host in hosts:
        host.fill([0, 1])
    one = hosts[0]
    one.look()
    assert drop(one.run, url, one.spool, 2, host="one") == []
    one.look()
    report = one.verify()
    assert report.findings == []
    assert report.sealed > 0
    if what == "an event is invented":
        invent(url, "one")
    elif what == "a result is changed":
        change(
            url,
            "UPDATE syscall SET success = 0, exit = -13 WHERE id = (SELECT min(s.id) FROM syscall"
            " s JOIN context c ON c.id = s.context JOIN host h ON h.id = c.host"
            " WHERE h.name = 'one')",
        )
    else:
        invent(url, "two")
    assert bool(one.found()) is (what != "another host's")


@pytest.mark.one_database
@pytest.mark.parametrize("name", ["spools", "pruned"])
def test_what_is_noted_beside_the_heads_is_bound_by_them(alone, tmp_path, name):
    """Lines may come behind what a head was signed for; none of these is another."""
    alone.run.notary.store = lambda: alone.side.bound
    alone.fill([2])
    alone.run.put(1)
    alone.run.step()
    load(alone.url, alone.spool, host="one")
    two = Host(tmp_path, "two", alone.url)
    two.fill([0])
    with open_store(alone.url) as store:  # noted, and not signed yet
        alone.side.step(store, at_once=True)
    assert alone.noted() == ["two"]
    assert alone.found() == []
    path = alone.spool / "evidence" / name
    path.write_text(path.read_text().replace("begins", "begun"))
    assert any(f"the file {name} beside the heads" in each for each in alone.found())


@pytest.mark.one_database
def test_one_head_is_stored_where_none_are_to_be_kept(alone, tmp_path):
    """By it the others know the spool."""
    two = Host(tmp_path, "two", alone.url)
    two.side = StoreSide(
        source_name(two.spool),
        two.spool,
        every=0,
        newest=lambda: two.run.heads[-1],
        keeps_heads=False,
    )
    for day in range(3):
        two.fill([day])
    assert alone.found() == []
    with reading(open_database(alone.url)) as connection:
        assert [each.host for each in stored_heads(connection, two.run.notary._spool)] == ["two"]
