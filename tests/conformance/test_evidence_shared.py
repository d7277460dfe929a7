"""Several spools in one store: who is noted is believed, and has no rows of another host."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fixtures.collected import DAY, drop, load
from fixtures.evidence import Run
from fixtures.evidence_host import Host
from fixtures.logs import call
from fixtures.logs import load as load_log
from fixtures.store_changes import FORGED, change
from sqlalchemy import select, update

from auditsvc.config import RetentionSettings
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.evidence import rows as row_check
from auditsvc.evidence.compare import key_of
from auditsvc.evidence.head import parse_head, signature_of
from auditsvc.evidence.pruned_days import announce
from auditsvc.evidence.stored import StoreSide, stored_heads
from auditsvc.retention.job import Job
from auditsvc.spool.identity import source_name
from auditsvc.store import open_store, schema
from auditsvc.store.database import reading
from auditsvc.store.databases import open_database
from auditsvc.store.schema import FACTS

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


SECOND: Final = f"id >> {SERIAL_BITS}"
FIRST_DAY: Final = DAY // 86400
OF_FIRST: Final = f"({SECOND}) / 86400 = {FIRST_DAY} AND id IN ({{0}})"
CALLS: Final = (
    "SELECT s.id FROM syscall s JOIN context c ON c.id = s.context JOIN host h ON h.id = c.host"
    " WHERE h.name = 'one'"
)
SAYS_SO: Final = f"INSERT INTO pruned_day VALUES ({FIRST_DAY}, 5, 0, 1)"
BEHIND_RETENTION: Final = {
    "nothing is gone": [],
    "a result is changed": [
        f"UPDATE syscall SET exit = exit + 7 WHERE {OF_FIRST.format(CALLS)}",
    ],
    "an event is invented": [INVENTED.format("one")],
    "all is gone": [
        f"DELETE FROM {table.name} WHERE ({key_of(table)} >> {SERIAL_BITS}) / 86400 = {FIRST_DAY}"
        for table in FACTS
    ],
}
"""What is done to a day of which the store says that retention deleted it."""


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "lines"])
@pytest.mark.parametrize("what", BEHIND_RETENTION)
def test_a_day_that_another_host_may_have_pruned(url, tmp_path, what, sealed):
    """What is altered or invented is found; what is gone may be retention's, and is named."""
    hosts = [Host(tmp_path, name, url) for name in ("one", "two")]
    for host in hosts:
        host.fill([0, 1])
    one = hosts[0]
    one.look()
    if sealed:
        assert drop(one.run, url, one.spool, 2, host="one") == []
        one.look()
    change(url, *BEHIND_RETENTION[what], SAYS_SO)
    report = one.verify()
    found = [each.what for each in report.findings]
    notes = " ".join(report.notes)
    assert "events of 2025-06-15 were deleted, as the store says: no retention of" in notes
    rows = [
        each for each in found if re.search("not those that|that no segment|another exit", each)
    ]
    assert bool(rows) is (what in ("a result is changed", "an event is invented"))
    if what == "all is gone":
        assert ("rows of deleted segments on 2025-06-15 are gone" in notes) is sealed
        assert "deleted by retention, as the store says" in notes or sealed


def test_a_host_that_prunes_is_no_finding_for_the_others(url, tmp_path):
    """They have lines of the day, or its digests, or both."""
    hosts = [Host(tmp_path, name, url) for name in ("one", "two", "three")]
    for host in hosts:
        host.fill([0, 1])
    for host in hosts:
        host.look()
    assert drop(hosts[0].run, url, hosts[0].spool, 2, host="one") == []
    hosts[0].look()
    with open_store(url) as store:
        for _ in Job(
            store.database,
            RetentionSettings(keep="10d"),
            now=lambda: DAY + 86400 * 11,
            announce=partial(announce, hosts[2].spool, store.database),
        ).steps():
            pass
    assert [host.found() for host in hosts] == [[], [], []]
    notes = [" ".join(host.verify().notes) for host in hosts]
    assert ["no retention of this host" in each for each in notes] == [True, True, False]


@pytest.mark.one_database
def test_nobody_prunes_a_day_that_has_not_come(url, tmp_path):
    """Of what stands before it, no sign of a process would be looked at."""
    hosts = [Host(tmp_path, name, url) for name in ("one", "two")]
    for host in hosts:
        host.fill([0])
    hosts[0].look()
    change(url, "INSERT INTO pruned_day VALUES (40000, 5, 0, 1)")
    assert "5 events of 2079-07-08 were deleted, but not by retention" in hosts[0].found()


@pytest.mark.parametrize("what", ["all is gone", "a result is changed"])
def test_a_day_of_which_raw_lines_went_has_all_its_events(alone, what):
    """Who prunes raw lines says no day before: so who says it of others hides no event."""
    alone.look()
    if what == "a result is changed":  # of deleted segments
        assert drop(alone.run, alone.url, alone.spool, 2, host="one") == []
        alone.look()
    change(alone.url, f"INSERT INTO pruned_day VALUES ({FIRST_DAY}, 0, 5, 1)")
    assert alone.found() == []
    change(alone.url, *BEHIND_RETENTION[what])
    report = alone.verify()
    about = re.compile(r"event [0-9]+ of 2025-06-15|2025-06-15 are not those that were signed")
    assert any(about.search(each.what) for each in report.findings)
    assert "retention" not in " ".join(report.notes)


@pytest.mark.one_database
def test_heads_of_another_key_in_the_store_are_found_by_their_host(url, tmp_path):
    """And by the others, which saw its own; which host it is they have noted, and ask no more."""
    hosts = [Host(tmp_path, name, url) for name in ("one", "two")]
    for host in hosts:
        host.fill([0, 1])
    hosts[0].look()
    with open_store(url) as store, store.database.begin(alone=False) as connection:
        table = schema.evidence_head
        for row in connection.execute(select(table)).all():
            if parse_head(row.head).host == "two":
                key = Ed25519PrivateKey.generate()
                public = key.public_key().public_bytes_raw().hex()
                head = replace(parse_head(row.head), host="one", key=public)
                forged = replace(head, signature=signature_of(head, key))
                assert forged.is_signed()
                here = (table.c.spool == row.spool) & (table.c.n == row.n)
                connection.execute(update(table).where(here).values(head=forged.text()))
    assert any("it was made anew" in each for each in hosts[1].found())
    assert ["it was made anew" in each for each in hosts[0].found()] == [True]
    assert hosts[0].noted() == ["two"]
    invent(url, "one")  # whatever the heads say now
    assert any(str(FORGED) in each for each in hosts[0].found())
