"""Hosts of one store that sign what their retention deleted, and follow the heads of each other."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fixtures.collected import DAY, drop, load
from fixtures.evidence_host import Host
from fixtures.store_changes import change
from sqlalchemy import delete, select

from auditsvc.config import RetentionSettings
from auditsvc.evidence import rows as row_check
from auditsvc.evidence import stored
from auditsvc.evidence.compare import key_of
from auditsvc.evidence.head import parse_head, signature_of
from auditsvc.evidence.pruned_days import announce
from auditsvc.retention.job import Job
from auditsvc.spool.segments import segments
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.databases import open_database
from auditsvc.store.schema import FACTS, evidence_head

pytestmark = pytest.mark.usefixtures("unsynced")

FIRST_DAY = DAY // 86400
ALL_GOES = [
    f"DELETE FROM {table.name} WHERE ({key_of(table)} >> 30) / 86400 = {FIRST_DAY}"
    for table in FACTS
]
MISSING = re.compile("event [0-9]+ of 2025-06-15")
HEADS = evidence_head.c


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Wait for no head: what is not signed now never will be."""
    monkeypatch.setattr(row_check, "_FIRST_HEAD", 0.0)
    monkeypatch.setattr(row_check, "_TO_SIGN", -1)


@pytest.fixture
def hosts(url, tmp_path):
    """Give two hosts of a store, which have seen each other's heads."""
    made = [Host(tmp_path, name, url, binds=True) for name in ("one", "two")]
    for day in (0, 1, 2):
        for host in made:
            host.fill([day])
    made[0].look()
    return made


def prune(host, *, says=True):
    """Delete the first day as a host's retention does."""
    with open_store(host.url) as store:
        say = partial(announce, host.spool, store.database) if says else None
        settings = RetentionSettings(keep="10d")
        for _ in Job(store.database, settings, now=lambda: DAY + 86400 * 11, announce=say).steps():
            pass


def stored_of(host):
    """Give the heads that the store has of a host."""
    with reading(open_database(host.url)) as connection:
        wanted = select(HEADS.head).where(HEADS.spool == host.run.notary._spool)
        return [parse_head(each) for each in connection.scalars(wanted.order_by(HEADS.n))]


def put(host, heads):
    """Put other heads into the store in the place of those of a host."""
    with open_store(host.url) as store, store.database.begin(alone=False) as connection:
        connection.execute(delete(evidence_head).where(HEADS.spool == host.run.notary._spool))
        for each in heads:
            values = {"spool": each.spool, "n": each.n, "head": each.text()}
            connection.execute(evidence_head.insert().values(**values))


def signed_anew(heads):
    """Give heads with a chain of other keys."""
    key, made = Ed25519PrivateKey.generate(), []
    for each in heads:
        after = Ed25519PrivateKey.generate()
        head = replace(
            each,
            previous=made[-1].digest() if made else each.previous,
            key=key.public_key().public_bytes_raw().hex(),
            next=after.public_key().public_bytes_raw().hex(),
        )
        made.append(replace(head, signature=signature_of(head, key)))
        key = after
    return made


def about(host, text):
    """Give the findings that have a text."""
    return [each for each in host.found() if text in each]


def test_a_day_that_a_host_pruned_is_signed_for_the_others(hosts):
    """Without a new line, too: the next head says it."""
    one, two = hosts
    prune(two)
    assert about(one, "no host signed that its own did it")  # before there is that head
    two.look()
    two.run.step()
    two.look()
    assert stored_of(two)[-1].store["dropped"].startswith("2025-06-15/2025-06-15:")
    one.look()
    report = one.verify()
    assert [each.what for each in report.findings] == []
    assert "events of 2025-06-15 were deleted by retention, as two signed" in report.notes
    assert two.found() == []


@pytest.mark.parametrize("rows", ["gone", "there"])
def test_a_day_that_nobody_signed_is_found(hosts, rows):
    """Whoever can write to the store deletes a day, and says that retention did it."""
    if rows == "gone":
        change(hosts[0].url, *ALL_GOES)
    change(hosts[0].url, f"INSERT INTO pruned_day VALUES ({FIRST_DAY}, 24, 0, 1)")
    for host in hosts:
        found = host.found()
        told = "24 events of 2025-06-15 were deleted, but not by retention: no host signed"
        assert any(told in each for each in found)
        assert any(MISSING.search(each) for each in found) is (rows == "gone"), found


def test_a_claim_is_waited_for_no_longer_than_it_takes_to_sign(hosts, monkeypatch):
    """The time in the store can be moved; when this host first saw it cannot."""
    one = hosts[0]
    monkeypatch.setattr(row_check, "_TO_SIGN", 900)
    monkeypatch.setattr(row_check.time, "time", lambda: DAY + 86400 * 400)
    monkeypatch.setattr(stored.time, "time", lambda: DAY + 86400 * 400)
    claim = f"INSERT INTO pruned_day VALUES ({FIRST_DAY}, 24, 0, {DAY + 86400 * 400})"
    change(one.url, claim)
    one.look()
    assert one.found() == []
    assert "it has not signed that yet" in " ".join(one.verify().notes)
    change(one.url, f"UPDATE pruned_day SET at = {DAY + 86400 * 400 + 901}")
    one.look()
    monkeypatch.setattr(row_check.time, "time", lambda: DAY + 86400 * 400 + 901)
    assert about(one, "no host signed that its own did it")


@pytest.mark.one_database
def test_fewer_events_than_were_signed_are_found(hosts):
    """The store's own count is lowered."""
    one, two = hosts
    prune(two)
    two.look()
    two.run.step()
    two.look()
    one.look()
    change(one.url, "UPDATE pruned_day SET events = 1")
    assert about(one, "the store says that retention deleted 1 event of 2025-06-15, and two signed")


@pytest.mark.one_database
def test_what_stood_when_a_host_came_is_not_signed_by_it(url, tmp_path):
    """Else who can write to the store would have what he says signed by the next host."""
    one = Host(tmp_path, "one", url, binds=True)
    one.fill([0, 1])
    change(url, f"INSERT INTO pruned_day VALUES ({FIRST_DAY}, 12, 0, 1)")
    two = Host(tmp_path, "two", url, binds=True)
    two.fill([0, 1])
    two.fill([2])
    one.look()
    assert two.found() == []
    assert about(one, "no host signed that its own did it")
    prune(two)  # then it deletes it itself
    two.look()
    two.run.step()
    two.look()
    one.look()
    assert one.found() == []


@pytest.mark.one_database
def test_a_host_of_an_older_program_signs_no_days_and_is_named(url, tmp_path):
    """Its heads have no such field: what it may have pruned is a note."""
    one = Host(tmp_path, "one", url, binds=True)
    two = Host(tmp_path, "two", url)
    for host in (one, two):
        host.fill([0, 1])
    one.look()
    change(url, f"INSERT INTO pruned_day VALUES ({FIRST_DAY}, 24, 0, 1)")
    report = one.verify()
    assert report.findings == []
    notes = " ".join(report.notes)
    assert "no retention of this host did, another one's may have (not signed" in notes
    assert "the store has not all heads of the spool" in notes


def replaced(heads):
    """Replace all of them."""
    return signed_anew(heads)


def without_the_last(heads):
    """Cut the newest."""
    return heads[:-1]


def gone_on_with(heads):
    """Go on with another key."""
    head = heads[-1]
    more = replace(head, n=head.n + 1, previous=head.digest(), store=head.store | {"dropped": ""})
    return [*heads, *signed_anew([more])]


def gone_on_later(heads):
    """Go on with another chain, behind heads that are said to be there no more."""
    more = [replace(heads[-1], n=heads[-1].n + n) for n in range(10, 20)]
    return [*heads, *signed_anew(more)]


def only_later(heads):
    """Leave another chain alone, of larger numbers."""
    return signed_anew([replace(heads[-1], n=heads[-1].n + n) for n in range(10, 20)])


def unsigned(heads):
    """Alter one."""
    return [*heads[:-1], replace(heads[-1], kept_from=2)]


def none_left(heads):
    """Delete all."""
    del heads
    return []


@pytest.mark.parametrize(
    ("how", "what"),
    [
        (replaced, "it was made anew"),
        (without_the_last, "ends with head"),
        (gone_on_with, "is another chain of keys"),
        (gone_on_later, "any more, which follow head"),
        (only_later, "any more, which follow head"),
        (unsigned, "is not signed by its key"),
        (none_left, "has no head any more"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_chain_that_was_replaced_is_found_by_the_other_hosts(hosts, how, what):
    """They have noted the newest head that they saw, and the key that signs the next one."""
    one, two = hosts
    assert one.found() == []
    put(two, how(stored_of(two)))
    found = about(one, what)
    assert found
    assert "of two" in found[0]
    one.look()  # a service that sees it does not take it over
    assert about(one, what)
    assert two.found() or how in (without_the_last, none_left)


@pytest.mark.one_database
def test_a_chain_goes_on_while_nobody_looks(hosts):
    """The store has all heads between: also those that were signed between two visits to it."""
    one, two = hosts
    two.begins = False
    for day in range(3, 8):
        two.fill([day])
        for n in range(3):
            two.run.put(n)
            two.run.step()
    load(two.url, two.spool, host="two")
    # Segments of which the store has not had the heads yet are deleted, as at a high rate.
    assert drop(two.run, two.url, two.spool, segments(two.spool)[-2], host="two") == []
    two.begins = True
    two.look()
    numbers = [each.n for each in stored_of(two)]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    report = one.verify()
    assert report.findings == []
    assert "never saw" not in " ".join(report.notes)


@pytest.mark.one_database
def test_heads_that_the_store_kept_no_more_are_a_note_for_ever(hosts, monkeypatch):
    """A host that did not look for long cannot tell whether a chain was replaced meanwhile."""
    one, two = hosts
    monkeypatch.setattr("auditsvc.evidence.stored.KEPT", 3)
    monkeypatch.setattr("auditsvc.evidence.folder.KEPT", 3)
    monkeypatch.setattr("auditsvc.evidence.peers.KEPT", 3)
    for day in range(3, 9):
        two.fill([day])
    one.look()
    for _ in range(2):
        report = one.verify()
        assert report.findings == []
        assert "this host never saw heads" in " ".join(report.notes)
        two.fill([9])
        one.look()


@pytest.mark.one_database
def test_heads_of_other_hosts_are_compared_with_those_from_elsewhere(hosts):
    """One file may have the heads of all hosts."""
    one, two = hosts
    kept = [*map(parse_head, one.run.heads), *map(parse_head, two.run.heads)]
    report = one.verify(kept)
    assert report.findings == []
    assert report.anchors > len(one.run.heads)
    (one.spool / "evidence" / "peers").unlink()
    put(two, signed_anew(stored_of(two)))
    assert any("it was made anew" in each.what for each in one.verify(kept).findings)


@pytest.mark.one_database
def test_a_file_that_is_not_what_was_written_is_named(hosts):
    """Nothing is guessed."""
    path = hosts[0].spool / "evidence" / "peers"
    assert json.loads(path.read_text())
    for text in ("[]", "{", path.read_text().replace('"host"', '"other"')):
        path.write_text(text)
        assert about(hosts[0], "peers is not what was written")
        hosts[0].look()
