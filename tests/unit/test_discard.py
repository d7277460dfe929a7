"""Old segments are deleted when their rows and heads are signed; and what if that fails."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fixtures.collected import fill, load, verify
from fixtures.evidence import Run
from fixtures.store_changes import change
from fixtures.waiting import until

from auditsvc.config import load_settings
from auditsvc.evidence.sealing import Sealing
from auditsvc.record.daemon import DaemonRecords
from auditsvc.service.discard import Discard
from auditsvc.spool.segments import Place, segments, sizes

pytestmark = pytest.mark.usefixtures("unsynced")

KEEP = 10_000


class Spool:
    """A signed spool of some segments, its store, and what deletes the old ones."""

    def __init__(self, folder):
        self.folder = folder / "spool"
        self.run = Run(self.folder, segment_bytes=4096)
        self.url = f"sqlite:///{folder}/store.db"
        self.settings = load_settings(
            store=self.url, host="here", spool={"directory": self.folder, "keep_bytes": KEEP}
        )
        self.notes = []
        self.sink = SimpleNamespace(short="")
        parts = SimpleNamespace(
            notary=self.run.notary, sink=self.sink, note=self.notes.append, sealing=Sealing
        )
        self.discard = Discard(parts, DaemonRecords())

    def fill(self, *days):
        """Append lines of some days, and load them."""
        fill(self.run, days, 3)
        load(self.url, self.folder, finish=False)

    def step(self):
        """Do one step; gives what fails."""
        return self.discard.step(self.settings, Place(segments(self.folder)[-1]), KEEP)

    @property
    def size(self):
        """Bytes of all segments."""
        return sum(sizes(self.folder).values())


@pytest.fixture
def spool(tmp_path):
    """Give a spool that has more than it keeps."""
    spool = Spool(tmp_path)
    spool.fill(*range(5))
    assert spool.size > 2 * KEEP
    return spool


def test_segments_go_when_their_rows_are_sealed(spool):
    """In steps that do not wait; then all is proved, by lines and by digests."""
    assert spool.step() == ""
    assert segments(spool.folder)[0] == 1  # their rows are being read
    until(lambda: not spool.step() and segments(spool.folder)[0] > 1)
    assert spool.size <= KEEP + 4096
    spool.run.end()
    load(spool.url, spool.folder)
    report = verify(spool.url, spool.folder)
    assert report.findings == []
    assert report.sealed + report.events == 5 * 3 * 4
    assert spool.notes == []


def test_why_rows_cannot_be_sealed_is_said_whatever_it_is(spool, monkeypatch):
    """Then segments are kept, up to the limit."""

    def surprise(*_, **__):
        raise TypeError("no row")

    monkeypatch.setattr("auditsvc.evidence.sealing.RowCheck", surprise)
    until(lambda: "evidence: TypeError: no row" in spool.step())


def fail(spool, monkeypatch):
    """Let no head be written, as on a full disk."""

    def full(*_):
        raise OSError(28, "No space left on device", "heads")

    monkeypatch.setattr(spool.run.notary._folder, "append", full)
    spool.run.writer.append(b"type=USER_TEST msg=audit(1750000000.000:9): op=x\n")
    spool.run.notary.step()
    assert "No space left" in spool.run.notary.problem


def test_while_nothing_can_be_signed_twice_as_much_is_kept(spool, monkeypatch):
    """Beyond that segments go unsigned, which is told; the next head says which."""
    with monkeypatch.context() as patch:
        fail(spool, patch)
        what = spool.step()
        assert "deleted unsigned" in what
        assert "No space left" in what
        assert KEEP < spool.size <= 2 * KEEP
        assert b"op=discard state=unsigned" in spool.notes[0]
        assert "segments are kept until" in spool.step()
    spool.run.step()
    spool.run.end()
    load(spool.url, spool.folder)
    report = verify(spool.url, spool.folder)
    assert report.findings == []
    assert "segments were deleted" in " ".join(report.notes)


def test_while_room_is_short_none_is_kept_for_a_signature(spool, monkeypatch):
    """A new record is worth more than an old one that is in the store."""
    fail(spool, monkeypatch)
    spool.sink.short = "short"
    assert "deleted unsigned" in spool.step()
    assert spool.size <= KEEP


def test_rows_that_were_altered_are_told_before_their_lines_go(spool):
    """As an event of the log, and by `verify` for ever."""
    change(spool.url, "UPDATE syscall SET a1 = 7 WHERE id = (SELECT min(id) FROM syscall)")
    until(lambda: not spool.step() and segments(spool.folder)[0] > 1)
    assert b"op=tamper what=rows_altered findings=1" in spool.notes[0]
    assert any("another a1" in each.what for each in verify(spool.url, spool.folder).findings)
