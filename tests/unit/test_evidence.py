"""The signed chain over the spool: what is signed, and what a crash leaves."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat

import pytest
from fixtures.evidence import SEGMENT, Run, copy_to, heads_of, line, lines_of, signed
from fixtures.repeats import times
from fixtures.waiting import until
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.errors import EvidenceError
from auditsvc.evidence.chain import TAG, ReferenceChain, make_chain
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.head import parse_head
from auditsvc.evidence.key_file import KeyFile
from auditsvc.evidence.keys import Keys
from auditsvc.evidence.verify import verify_spool
from auditsvc.spool import retention
from auditsvc.spool.segments import Place, segment_path, segments

pytestmark = pytest.mark.usefixtures("unsynced")


@given(
    pieces=st.lists(
        st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"") + b"\n")).map(b"".join)
    )
)
def test_both_cores_make_the_same_chain(pieces):
    """Whatever the lines are and however they are cut into pieces."""
    chains = [ReferenceChain(b"start"), make_chain(b"start"), ReferenceChain(b"start")]
    for piece in pieces:
        chains[0].update(piece)
        chains[1].update(piece)
    chains[2].update(b"".join(pieces))
    assert len({chain.value() for chain in chains}) == 1
    assert len({chain.lines for chain in chains}) == 1
    assert len({chain.take_tags() for chain in chains}) == 1


def test_the_chain_is_what_is_said():
    """SHA-256 of the start and of each line's SHA-256; so others can check it."""
    digests = [hashlib.sha256(text).digest() for text in (b"one\n", b"two\n")]
    chain = make_chain(b"start")
    chain.update(b"one\ntwo\n")
    assert chain.value() == hashlib.sha256(b"start" + b"".join(digests)).digest()
    assert chain.take_tags() == digests[0][:TAG] + digests[1][:TAG]


@pytest.mark.parametrize("make", [make_chain, ReferenceChain])
def test_an_incomplete_line_is_refused(make):
    """It may still become another one."""
    with pytest.raises(ValueError, match="newline"):
        make(b"").update(b"half")


def test_a_signed_spool_is_proved(tmp_path):
    """All lines of all segments, and the counts of the service."""
    signed(tmp_path)
    report = verify_spool(tmp_path)
    assert report.is_proved
    assert (report.lines, report.segments) == (120, len(segments(tmp_path)))
    assert report.unsigned_bytes == report.unseen_bytes == 0
    assert (report.first, report.last) == ("1750000000.000:000000", "1750000000.000:000119")


def test_what_the_store_has_at_the_end_is_signed_once_more(tmp_path):
    """Of a run that has ended; without news there is no other head."""
    run = Run(tmp_path)
    bound = {"identity": "one", "segment": 1, "position": 0}
    run.notary.store = lambda: bound
    run.put(1)
    run.end()
    run.notary.bind_store()
    assert len(run.heads) == 1
    bound = bound | {"position": 50}
    run.notary.bind_store()
    run.notary.bind_store()
    assert [head.store["position"] for head in heads_of(tmp_path)] == [0, 50]
    assert heads_of(tmp_path)[-1].clean
    again = Run(tmp_path)
    again.put(2)
    again.end()
    report = verify_spool(tmp_path)
    assert (report.findings, report.lines) == ([], 2)


def test_all_is_private(tmp_path):
    """Key, heads and tags are for their owner only."""
    signed(tmp_path)
    modes = {
        each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "evidence").iterdir()
    }
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "evidence").stat().st_mode) == 0o700


def test_each_key_signs_one_head(tmp_path):
    """And is then on the disk no more: who takes the key today cannot sign yesterday."""
    run = Run(tmp_path)
    seen = []
    for number in range(5):
        seen.append((tmp_path / "evidence/key").read_text())
        run.put(number)
        run.step()
    run.end()
    heads = heads_of(tmp_path)
    assert len({head.key for head in heads}) == len(heads)
    now = (tmp_path / "evidence/key").read_text()
    used = [text.split("-----")[2] for text in seen]  # the first key of each file
    assert not any(each in now for each in used)
    left = Keys.load(KeyFile(tmp_path / "evidence/key"), None)
    assert left.current_public == heads[-1].next
    assert left.current_public not in {head.key for head in heads}


def test_a_key_is_encrypted_with_the_credential(tmp_path, monkeypatch):
    """What systemd-creds keeps for the service is needed to sign; another one is refused."""
    secret = tmp_path / "credentials"
    secret.mkdir()
    (secret / "auditsvc-evidence").write_bytes(b"of this host")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secret))
    spool = tmp_path / "spool"
    signed(spool, 30, fresh=True)
    assert "ENCRYPTED" in (spool / "evidence/key").read_text()
    signed(spool, 30)
    assert verify_spool(spool).is_proved
    (secret / "auditsvc-evidence").write_bytes(b"of another host")
    run = Run(spool)
    run.put(1)
    run.notary.step()
    assert "another credential" in run.notary.problem
    (secret / "auditsvc-evidence").write_bytes(b"of this host")
    run.notary.step()  # it goes on as soon as it can
    run.end()
    report = verify_spool(spool)
    assert report.is_proved
    assert report.lines == 61


def test_nothing_signed_is_an_error(tmp_path):
    """Not a proof."""
    with pytest.raises(EvidenceError, match="nothing was signed"):
        verify_spool(tmp_path)


def test_lines_from_before_are_signed_as_they_are(tmp_path):
    """A spool of an older program: the first heads say that its lines were not seen arriving."""
    run = Run(tmp_path, every=1e9)
    run.notary.signed = None
    run.writer.appended = lambda *_: None
    run.put(*range(100))
    run.crash()
    run = Run(tmp_path)
    run.put(100)
    run.end()
    report = verify_spool(tmp_path)
    assert report.is_proved
    assert report.lines == 101
    assert report.unseen_bytes == 100 * len(line(0))


@pytest.mark.parametrize("steps", times(40, 400))
def test_a_crash_at_any_moment_looks_like_no_tampering(tmp_path, steps):
    """Wherever the bytes of spool, heads and key end, the next run goes on and all is proved."""
    spool = tmp_path / "spool"
    run = Run(spool, every=0.0)
    moments = []
    random_ = random.Random(7)
    for number in range(steps):
        run.put(*range(number * 10, number * 10 + random_.randrange(1, 30)))
        if random_.random() < 0.5:
            run.step()
        if random_.random() < 0.3:
            moments.append(copy_to(spool, tmp_path / f"moment{number}"))
    run.end()
    moments.append(copy_to(spool, tmp_path / "end"))
    for moment in moments:
        folder = Folder(moment)
        if random_.random() < 0.5 and folder.segments():  # in the middle of writing a head
            with folder.heads_path(folder.segments()[-1]).open("ab") as heads:
                heads.write(b'{"boot":"half')
        last = segment_path(moment, segments(moment)[-1])
        if random_.random() < 0.5:
            with last.open("ab") as torn:
                torn.write(b"type=USER_TEST msg=audit(175")
        before = b"".join(b"".join(lines_of(moment, each)) for each in segments(moment))
        again = Run(moment)
        assert not again.told, moment
        again.put(1, 2, 3)
        again.end()
        report = verify_spool(moment)
        assert report.is_proved, (moment, report.findings)
        assert report.lines == before.count(b"\n") + 3


def test_a_head_that_was_signed_before_its_key_went_is_no_tampering(tmp_path):
    """The program ended between the head and the new key file."""
    run = Run(tmp_path)
    run.put(1)
    run.step()
    key = (tmp_path / "evidence/key").read_text()
    run.put(2)
    run.step()
    run.crash()
    (tmp_path / "evidence/key").write_text(key)
    run = Run(tmp_path)
    assert not run.told
    run.put(3)
    run.end()
    assert verify_spool(tmp_path).is_proved


@pytest.mark.parametrize("at", ["load", "follow"])
@pytest.mark.parametrize("runs", [0, 1, 2])
def test_a_start_at_which_nothing_can_be_signed_looks_like_no_tampering(
    tmp_path, monkeypatch, at, runs
):
    """Keys that cannot be read or replaced for a while: then the old lines are signed, too.

    The spool has lines without a head, in the open segment and, after `runs`, in later ones.
    """
    run = Run(tmp_path)
    run.put(1)
    run.step()
    for number in range(runs):
        run.put(*range(100 * number, 100 * number + 60))
    run.crash()

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Keys, at, refuse)
        run = Run(tmp_path)
        assert run.notary.problem
        run.put(2)
        run.notary.step()
        assert run.notary.problem
        run.put(*range(3, 60))
    run.step()
    run.put(4)
    run.end()
    assert not run.told
    report = verify_spool(tmp_path)
    assert report.is_proved, report.findings
    assert not report.notes
    assert report.lines == 1 + 60 * runs + 59


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_segments_that_go_while_nothing_can_be_signed_look_like_no_tampering(
    tmp_path, monkeypatch, gone
):
    """They go unsigned if that lasts: when signing begins again, it does not look for them."""
    run = Run(tmp_path)
    run.put(1)
    run.step()
    run.crash()

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Keys, "load", refuse)
        monkeypatch.setattr("auditsvc.evidence.line_queue._MOST_BYTES", 3000)
        run = Run(tmp_path)
        run.put(*range(200))
        run.notary.step()
        assert run.notary.problem
    assert len(segments(tmp_path)) > gone + 1
    run.notary.gone_unsigned(gone + 1)
    retention.delete(tmp_path, retention.up_to(tmp_path, gone))
    run.step()
    run.notary.dropped()
    run.end()
    assert not run.told
    report = verify_spool(tmp_path)
    assert report.is_proved, report.findings
    assert report.lines == sum(len(lines_of(tmp_path, each)) for each in segments(tmp_path))


def test_an_error_that_nobody_expects_is_said_and_signing_goes_on(tmp_path):
    """The thread lives: what is signed later has the lines of that time, too."""
    run = Run(tmp_path)
    step = run.notary.step

    def fail():
        raise ZeroDivisionError("so it is")

    run.notary.step = fail
    run.notary.start()
    until(lambda: run.notary.problem == "evidence: ZeroDivisionError: so it is")
    run.put(1)
    run.notary.step = step
    until(lambda: run.heads and not run.notary.problem)
    run.end()
    assert verify_spool(tmp_path).lines == 1


def test_bytes_that_are_altered_before_they_are_signed_are_found(tmp_path):
    """Lines are hashed from memory: what is on the disk a moment later does not count."""
    run = Run(tmp_path, every=1e9)
    run.put(*range(10))
    path = segment_path(tmp_path, 1)
    path.write_bytes(path.read_bytes().replace(b"op=000004", b"op=000044"))
    run.end()
    (finding,) = verify_spool(tmp_path).findings
    assert (finding.segment, finding.line, finding.kind) == (1, 5, "altered")


def test_a_spool_that_is_truncated_under_the_service_is_told(tmp_path):
    """At once, by the service itself; and by `verify` afterwards."""
    run = Run(tmp_path)
    run.put(*range(20))
    run.step()
    os.truncate(segment_path(tmp_path, 1), 10 * len(line(0)))
    run.put(20)
    run.step()
    assert "segment 1 has" in run.told[0]
    run.end()
    assert not verify_spool(tmp_path).is_proved


@pytest.mark.parametrize("what", ["altered", "cut", "removed"])
def test_what_was_altered_while_nothing_ran_is_told_at_the_start(tmp_path, what):
    """And nothing is appended to the altered segment; what comes after is proved."""
    signed(tmp_path, 30, segment_bytes=1 << 20)
    path = segment_path(tmp_path, 1)
    if what == "altered":
        path.write_bytes(path.read_bytes().replace(b"op=000003", b"op=000033"))
    elif what == "cut":
        os.truncate(path, 5 * len(line(0)))
    else:
        path.unlink()
    run = Run(tmp_path)
    assert "segment 1" in run.told[0]
    assert run.writer.place.segment == 2
    run.put(30)
    run.end()
    report = verify_spool(tmp_path)
    assert all(finding.segment in (1, 2) for finding in report.findings)
    assert {"altered": "altered", "cut": "cut", "removed": "removed"}[what] in {
        finding.kind for finding in report.findings if finding.segment == 1
    }
    assert any("at a start" in finding.what for finding in report.findings)


def test_lines_that_do_not_fit_into_memory_are_read_from_the_segment(tmp_path, monkeypatch):
    """Who appends never waits, and memory is bounded."""
    monkeypatch.setattr("auditsvc.evidence.line_queue._MOST_BYTES", 5 * len(line(0)))
    run = Run(tmp_path)
    run.put(*range(40))
    assert sum(1 for piece in run.notary._queue if piece.data is not None) == 5
    run.step()
    run.put(40)
    run.end()
    report = verify_spool(tmp_path)
    assert report.is_proved
    assert (report.lines, report.unseen_bytes) == (41, 35 * len(line(0)))


def test_segments_that_retention_deletes_are_missed_by_nobody(tmp_path):
    """A head says so before it happens; their last heads stay, in one chain."""
    run = Run(tmp_path)
    for number in range(300):
        run.put(number)
        if number % 10 == 9:
            run.step()
        old = retention.surplus(tmp_path, Place(run.notary.sealed_before()), 3 * SEGMENT)
        if old:
            assert run.notary.sign_now(kept_from=old[-1] + 1)
            retention.delete(tmp_path, old)
            run.notary.dropped()
    run.end()
    report = verify_spool(tmp_path)
    assert report.is_proved
    assert segments(tmp_path)[0] > 3
    assert len(Folder(tmp_path).dropped().heads) == segments(tmp_path)[0] - 1
    assert Folder(tmp_path).segments() == segments(tmp_path)


def test_no_number_of_a_segment_is_used_twice(tmp_path):
    """A spool that somebody emptied begins behind its last head."""
    signed(tmp_path, 100)
    last = segments(tmp_path)[-1]
    for segment in segments(tmp_path):
        segment_path(tmp_path, segment).unlink()
    run = Run(tmp_path)
    assert run.writer.place.segment == last + 1
    run.put(1)
    run.end()
    found = verify_spool(tmp_path).findings
    assert {f.segment for f in found if f.kind == "removed"} == set(range(1, last + 1))


def test_a_head_is_what_it_was_written_as(tmp_path):
    """And no other text is one."""
    for text in signed(tmp_path, 20):
        assert parse_head(text).text() == text
        assert parse_head(text).is_signed()
        for other in (text[:-1], text.replace('"n":', '"m":'), text.replace(":true", ":1"), "[]"):
            with pytest.raises(ValueError):  # noqa: PT011 - json's own, or ours
                parse_head(other)
