"""Verified while the service goes on and retention deletes days: that is no tampering."""

from __future__ import annotations

import random

import pytest
from fixtures.collected import drop, load, verify
from fixtures.days import NOW, TODAY, log, prune, table
from fixtures.evidence import Run
from fixtures.logs import call, end, record, rows
from fixtures.store_changes import change, settled

from auditsvc.evidence.line_check import LineCheck
from auditsvc.evidence.rows import RowCheck
from auditsvc.retention import job
from auditsvc.spool.segments import segments
from auditsvc.store.databases import open_database

pytestmark = pytest.mark.usefixtures("unsynced")


def filled(spool, **settings):
    """Make a spool with events of four days, each of which has texts of its own."""
    run = Run(spool, **settings)
    for _, lines in log(random.Random(5), range(TODAY - 3, TODAY + 1), 20):
        run.writer.append(lines.encode())
    run.step()
    return run


def pruned(url):
    """Prune all but the last two days."""
    assert len(prune(open_database(url), keep="1d", now=NOW).events) == 2


def test_what_only_deleted_days_used_went_with_them(url, tmp_path):
    """Texts, contexts, files and addresses that nothing refers to any more."""
    filled(tmp_path / "spool", segment_bytes=1 << 20).end()
    load(url, tmp_path / "spool")
    texts = len(table(url, "text"))
    pruned(url)
    assert len(table(url, "text")) < texts
    report = verify(url, tmp_path / "spool")
    assert report.findings == []
    assert "40 events were deleted by retention, as the store says" in report.notes


@pytest.mark.parametrize(
    ("name", "user", "column"),
    [
        ("text", "context", "exe"),
        ("text", "exec", "argv"),
        ("context", "syscall", "context"),
        ("file", "path", "file"),
        ("address", "sockaddr", "address"),
    ],
)
def test_what_is_used_and_deleted_is_found(url, tmp_path, name, user, column):
    """Also where days were pruned."""
    filled(tmp_path / "spool", segment_bytes=1 << 20).end()
    load(url, tmp_path / "spool")
    pruned(url)
    change(settled(url), f"DELETE FROM {name} WHERE id = (SELECT max({column}) FROM {user})")
    found = [each.what for each in verify(url, tmp_path / "spool").findings]
    assert any(f"a row of {name} was deleted" in what for what in found)


@pytest.mark.one_database
def test_days_that_go_while_the_lines_are_compared_are_no_findings(url, tmp_path, monkeypatch):
    """The store's facts are of the moment before."""
    assert found_if_pruned_at(LineCheck, "compare", url, tmp_path, monkeypatch) == []


def test_days_that_go_before_the_facts_are_read_are_no_findings(url, tmp_path, monkeypatch):
    """These are of one moment; on PostgreSQL a dropped partition is gone for those before, too."""
    assert found_if_pruned_at(RowCheck, "_read_facts", url, tmp_path, monkeypatch) == []


def found_if_pruned_at(room, step, url, tmp_path, monkeypatch):
    """Give what `verify` finds, if the store is pruned just before one of its steps."""
    filled(tmp_path / "spool", segment_bytes=1 << 20).end()
    load(url, tmp_path / "spool")
    then = getattr(room, step)

    def late(self, *given, **options):
        pruned(url)
        return then(self, *given, **options)

    monkeypatch.setattr(room, step, late)
    monkeypatch.setattr(job, "_DROP_TRIES", 1)
    return verify(url, tmp_path / "spool").findings


@pytest.mark.one_database
def test_an_event_that_is_stored_whole_while_the_lines_are_compared_is_no_finding(
    url, tmp_path, monkeypatch
):
    """It was open at the checkpoint that the store's facts have."""
    spool = tmp_path / "spool"
    run = filled(spool, segment_bytes=1 << 20)
    lines = (call(901) + record("CWD", 901, 'cwd="/root"') + end(901)).encode()
    first, *rest = lines.splitlines(keepends=True)
    run.writer.append(first)
    run.step()
    load(url, spool, finish=False)
    then = LineCheck.compare

    def late(self, *given):
        run.writer.append(b"".join(rest))
        run.step()
        load(url, spool, finish=False)
        return then(self, *given)

    monkeypatch.setattr(LineCheck, "compare", late)
    assert verify(url, spool).findings == []
    assert rows(url, "SELECT cwd FROM syscalls WHERE serial = 901") == [{"cwd": "/root"}]


@pytest.mark.one_database
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_segments_of_deleted_days_are_sealed_without_findings(url, tmp_path, monkeypatch, when):
    """What is found when they are sealed would be told for ever."""
    spool = tmp_path / "spool"
    run = filled(spool, segment_bytes=4096)
    load(url, spool, finish=False)
    compare = LineCheck.compare

    def late(self, *given):
        pruned(url)
        return compare(self, *given)

    with monkeypatch.context() as patched:
        if when == "before":
            pruned(url)
        else:
            patched.setattr(LineCheck, "compare", late)
        assert drop(run, url, spool, segments(spool)[-2]) == []
    run.end()
    load(url, spool)
    assert verify(url, spool).findings == []
