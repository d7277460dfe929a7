"""Rows whose segments were deleted are held to the signed digests of their day."""

from __future__ import annotations

import os
import shutil
from functools import cache

import pytest
from fixtures.collected import DAY, drop, fill, load, verify
from fixtures.evidence import Run
from fixtures.logs import call, end, path
from fixtures.repeats import some
from fixtures.store_changes import FORGED, ROWS, change, copied, on_stores, rename, settled

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.errors import EvidenceError
from auditsvc.evidence import report as evidence_report
from auditsvc.evidence.compare import make_comparer
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.pruned_days import announce, announced, begin
from auditsvc.evidence.rows import RowCheck
from auditsvc.evidence.store_facts import identity_in
from auditsvc.spool.segments import segments
from auditsvc.store.database import reading
from auditsvc.store.databases import open_database

pytestmark = pytest.mark.usefixtures("unsynced")

DAYS, EACH = 3, 4


@pytest.fixture(scope="module")
def models(tmp_path_factory, store_of_kind):
    """Give a function that makes a spool whose first segments were deleted, and its store, once."""

    @cache
    def of_kind(kind):
        folder, url = tmp_path_factory.mktemp("sealed"), store_of_kind(kind)
        run = Run(folder, segment_bytes=4096)
        fill(run, range(DAYS), EACH)
        load(url, folder, finish=False)
        there = segments(folder)
        assert drop(run, url, folder, there[1]) == []
        assert drop(run, url, folder, there[-3]) == []
        fill(run, [DAYS], 1)
        run.end()
        load(url, folder)
        return folder, settled(url)

    return of_kind


@pytest.fixture
def model(models, kind):
    """Give such a spool and its store, which only copies of are changed."""
    return models(kind)


@pytest.fixture
def spool(model, tmp_path):
    """Give a copy of the spool."""
    return shutil.copytree(model[0], tmp_path / "spool")


@pytest.fixture
def stored(request, model, spool, tmp_path):
    """Give a copy of its store."""
    with copied(request, model[1], tmp_path) as url:
        rename(url, spool)
        yield url


@pytest.mark.one_database
def test_rows_of_deleted_segments_are_proved(spool, stored):
    """All events: by their lines, or by the digests of their day."""
    report = verify(stored, spool)
    assert report.findings == []
    assert report.sealed >= 2 * EACH * 4
    assert report.sealed + report.events == (DAYS * EACH + 1) * 4


def three_days(url, folder):
    """Make a spool of three days, which the store has; gives what collects, and where."""
    spool = folder / "spool"
    run = Run(spool, segment_bytes=4096)
    fill(run, range(DAYS), EACH)
    load(url, spool, finish=False)
    return run, spool


@pytest.mark.one_database
def test_segments_that_go_while_their_rows_are_compared_are_no_findings(url, tmp_path, monkeypatch):
    """The service seals and deletes them after the lines were read, and before the rows are."""
    run, spool = three_days(url, tmp_path)
    then = RowCheck._run

    def late(self, *given):
        monkeypatch.setattr(RowCheck, "_run", then)
        assert drop(run, url, spool, segments(spool)[-3]) == []
        then(self, *given)

    monkeypatch.setattr(RowCheck, "_run", late)
    report = verify(url, spool)
    assert report.findings == []
    assert report.events >= EACH * DAYS * 4 - 16


@pytest.mark.one_database
def test_a_seal_that_is_replaced_while_it_is_read_is_no_finding(url, tmp_path, monkeypatch):
    """The service has sealed more, and forgotten it, since the last head was read."""
    run, spool = three_days(url, tmp_path)
    there = segments(spool)
    assert drop(run, url, spool, there[1]) == []
    then = evidence_report.read_seal

    def late(*given):
        monkeypatch.setattr(evidence_report, "read_seal", then)
        assert drop(run, url, spool, there[-3]) == []
        return then(*given)

    monkeypatch.setattr(evidence_report, "read_seal", late)
    assert verify(url, spool).findings == []


def of_sealed(what):
    """Whether a change of `ROWS` is one of rows."""
    return not any(word in what for word in ("ledger", "received", "losses", "renamed", "hour"))


CHANGES = [each for each in ROWS if of_sealed(each)]
SHORT = {"sqlite": some(CHANGES, "sealed", 8), "postgres": some(CHANGES, "sealed pg", 3)}
ON_STORES = on_stores(CHANGES, SHORT)


@pytest.mark.parametrize(("kind", "what"), ON_STORES)
def test_a_change_of_their_rows_shows(spool, stored, what):
    """Rows and dimension rows, changed, deleted or invented; most of the rows are sealed."""
    statements = ROWS[what]
    change(stored, *([statements] if isinstance(statements, str) else statements))
    report = verify(stored, spool)
    assert report.findings
    assert {finding.kind for finding in report.findings} == {"store"}


def test_the_day_and_its_table_are_named(spool, stored):
    """One result of the first day is another; its lines are gone."""
    first = f"SELECT min(id) FROM syscall WHERE id < {(DAY + 86400) << SERIAL_BITS}"
    change(stored, f"UPDATE syscall SET exit = -13 WHERE id = ({first})")
    (finding,) = verify(stored, spool).findings
    assert "rows of deleted segments in syscall on 2025-06-15 are not those" in finding.what


def test_as_many_invented_rows_as_deleted_ones_show(spool, stored):
    """The number of rows of that day is as before."""
    change(
        stored,
        ROWS["a call is invented"],
        f"DELETE FROM syscall WHERE id = (SELECT min(id) FROM syscall WHERE id <> {FORGED})",
    )
    assert verify(stored, spool).findings


@pytest.mark.parametrize("how", ["altered", "removed"])
def test_digests_that_were_altered_or_removed_show(spool, stored, how):
    """The last head has the digest of their file."""
    (seal,) = Folder(spool).path.glob("sealed-*")
    if how == "altered":
        seal.write_text(seal.read_text().replace('"syscall", 20254, 1', '"syscall", 20254, 2', 1))
    else:
        seal.unlink()
    found = [str(each) for each in verify(stored, spool).findings]
    assert any(
        "digests of the rows of deleted segments were altered or removed" in f for f in found
    )


@pytest.mark.one_database
def test_what_was_altered_before_it_was_sealed_is_told_for_ever(url, tmp_path):
    """A row that is another than its line is not taken into the digests."""
    spool = tmp_path / "spool"
    run = Run(spool, segment_bytes=4096)
    fill(run, [0], 6)
    load(url, spool, finish=False)
    change(url, "UPDATE syscall SET a1 = 7 WHERE id = (SELECT min(id) FROM syscall)")
    (altered,) = drop(run, url, spool, segments(spool)[1])
    assert "has another a1" in altered
    run.end()
    load(url, spool)
    found = [str(each) for each in verify(url, spool).findings]
    assert any("when its segment was deleted" in each and "another a1" in each for each in found)


@pytest.mark.one_database
def test_an_event_in_two_segments_is_sealed_with_the_second(url, tmp_path):
    """The first of them is deleted in the middle of the event."""
    spool = tmp_path / "spool"
    run = Run(spool, segment_bytes=1 << 20)
    fill(run, [0], 2)
    lines = (call(901, items=2) + path(901, "/one") + path(901, "/two", item=1) + end(901)).encode()
    halves = lines.splitlines(keepends=True)
    run.writer.append(b"".join(halves[:2]))
    run.writer.rotate()
    run.writer.append(b"".join(halves[2:]))
    run.step()
    run.writer.rotate()
    fill(run, [1], 2)
    load(url, spool, finish=False)
    for last in (1, 2):
        assert drop(run, url, spool, last) == []
        assert verify(url, spool).findings == []
    run.end()
    load(url, spool)
    assert verify(url, spool).findings == []
    change(url, "DELETE FROM path WHERE event = (SELECT id FROM syscall WHERE serial = 901)")
    assert verify(url, spool).findings


def claim_pruned(url):
    """Delete the events of the first day, and say that retention did; gives the day."""
    day = DAY // 86400
    low, high = (n * 86400 << SERIAL_BITS for n in (day, day + 1))
    where = f"BETWEEN {low} AND {high - 1}"
    change(
        url,
        *(f"DELETE FROM {table} WHERE id {where}" for table in ("syscall", "event")),
        f"DELETE FROM path WHERE event {where}",
        f"INSERT INTO pruned_day VALUES ({day}, 16, 0, 1)",
    )
    return day


def test_days_that_retention_deleted_are_a_note(spool, stored):
    """They are not in the store, as the store says; who deleted them has said so before."""
    begin(spool, identity(stored), [])
    announce(spool, open_database(stored), DAY // 86400)
    claim_pruned(stored)
    report = verify(stored, spool)
    assert "1 day of deleted segments went by retention" in " ".join(report.notes)
    assert not any("deleted segments" in finding.what for finding in report.findings)
    assert not any("retention" in finding.what for finding in report.findings)


@pytest.mark.parametrize("before", [[], [DAY // 86400 - 1]], ids=["nothing", "another day"])
def test_who_says_that_retention_deleted_a_day_is_found(spool, stored, before):
    """Rows of the day and a row of `pruned_day`, by somebody who can write to the store alone."""
    begin(spool, identity(stored), before)
    claim_pruned(stored)
    found = [finding.what for finding in verify(stored, spool).findings]
    assert "16 events of 2025-06-15 were deleted, but not by retention" in found
    assert any("rows of deleted segments" in what for what in found)


def test_days_that_went_before_they_were_noted_stand_as_they_were_found(spool, stored):
    """An older program pruned them."""
    day = claim_pruned(stored)
    for days in ([day], []):  # it is noted once
        begin(spool, identity(stored), days)
    assert not any("retention" in finding.what for finding in verify(stored, spool).findings)


@pytest.mark.one_database
def test_days_that_were_found_are_noted_whole_or_again(tmp_path, monkeypatch):
    """The disk is full in the middle of them: none of them is an accusation later."""
    Folder(tmp_path).make()
    found = range(20_000, 20_010)
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, text: write(descriptor, text[:100]))
        with pytest.raises(EvidenceError, match="No space left"):
            begin(tmp_path, "store", found)
    assert announced(tmp_path, "store") is None
    begin(tmp_path, "store", found)
    assert announced(tmp_path, "store") == {*found}


def test_a_day_that_was_said_and_not_synced_is_synced_before_its_events_go(
    spool, stored, monkeypatch
):
    """Who said it was killed in between, or the disk failed: the next one does not rely on it."""
    begin(spool, identity(stored), [])
    synced = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    for _ in range(2):
        announce(spool, open_database(stored), DAY // 86400)
    assert len(synced) == 2
    assert (spool / "evidence" / "pruned").read_text().count(" 2025-06-15\n") == 1


def identity(url):
    """Give a store's identity."""
    with reading(open_database(url)) as connection:
        return identity_in(connection)


@pytest.mark.parametrize(("beside_loading", "most"), [(True, 8 << 10), (False, 64 << 10)])
def test_beside_loading_no_page_of_the_store_is_mapped(made, beside_loading, most):
    """The store is larger than what a loader's process may take."""
    database = open_database(f"sqlite:///{made}", read=True)
    comparer = make_comparer(database, beside_loading=beside_loading)
    with comparer.transaction() as connection:
        assert connection.exec_driver_sql("PRAGMA cache_size").scalar() == -most
        mapped = connection.exec_driver_sql("PRAGMA mmap_size").scalar()
    assert (not mapped) == beside_loading
