"""Each way to change the log or its heads shows, with the first line that was touched."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fixtures.evidence import Run, heads_of, line, lines_of, signed, write_lines

from auditsvc.errors import EvidenceError
from auditsvc.evidence.anchors import read_anchors
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.head import parse_head, signature_of
from auditsvc.evidence.key_file import KeyFile
from auditsvc.evidence.keys import Keys, public_of
from auditsvc.evidence.verify import verify_spool
from auditsvc.spool.segments import segment_path, segments

pytestmark = pytest.mark.usefixtures("unsynced")

# What is done to the lines of a segment; the kind, and the index of the line that it is told of.
ON_LINES = {
    "a byte": (lambda rows: [*rows[:5], rows[5].replace(b"0", b"1", 1), *rows[6:]], "altered", 5),
    "a digit at the end": (
        lambda rows: [*rows[:-1], rows[-1].replace(b"op=0", b"op=1")],
        "altered",
        -1,
    ),
    "a longer line": (lambda rows: [*rows[:7], b"x" + rows[7], *rows[8:]], "altered", 7),
    "two lines": (
        lambda rows: [*rows[:9], *(row.upper() for row in rows[9:11]), *rows[11:]],
        "altered",
        9,
    ),
    "a removed line": (lambda rows: [*rows[:3], *rows[4:]], "removed", 3),
    "the first line removed": (lambda rows: rows[1:], "removed", 0),
    "some removed lines": (lambda rows: [*rows[:8], *rows[19:]], "removed", 8),
    "an inserted line": (lambda rows: [*rows[:4], line(777777), *rows[4:]], "inserted", 4),
    "some inserted lines": (
        lambda rows: [*rows[:6], *(line(700000 + n) for n in range(9)), *rows[6:]],
        "inserted",
        6,
    ),
    "a line twice": (lambda rows: [*rows[:12], rows[11], *rows[12:]], "inserted", 12),
    "two lines exchanged": (
        lambda rows: [*rows[:2], rows[3], rows[2], *rows[4:]],
        "reordered",
        2,
    ),
    "a line moved to the end": (lambda rows: [*rows[:5], *rows[6:], rows[5]], "reordered", 5),
    "the end cut": (lambda rows: rows[:-3], "cut", -3),
    "a line added at the end": (lambda rows: [*rows, line(888888)], "inserted", None),
    "all cut": (lambda _: [], "cut", 0),
}


@pytest.mark.parametrize("segment", [2, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("what", ON_LINES)
def test_a_change_of_lines_shows(tmp_path, what, segment):
    """With its kind, its segment and its first line."""
    signed(tmp_path)
    rows = lines_of(tmp_path, segment)
    change, kind, index = ON_LINES[what]
    write_lines(tmp_path, segment, change(rows))
    (finding,) = verify_spool(tmp_path).findings
    first = len(rows) if index is None else index % len(rows)
    assert (finding.kind, finding.segment, finding.line) == (kind, segment, first + 1)


@pytest.mark.parametrize("what", [each for each in ON_LINES if each != "a line added at the end"])
def test_a_change_before_the_last_head_of_a_growing_segment_shows(tmp_path, what):
    """Also while further lines, which no head covers yet, are behind it."""
    run = Run(tmp_path, segment_bytes=1 << 20)
    run.put(*range(40))
    run.step()
    run.put(*range(40, 43))
    run.crash()
    rows = lines_of(tmp_path, 1)
    change, _, index = ON_LINES[what]
    write_lines(tmp_path, 1, [*change(rows[:40]), *rows[40:]])
    (finding,) = verify_spool(tmp_path).findings
    assert (finding.segment, finding.line) == (1, index % 40 + 1)


def test_without_tags_the_lines_between_two_heads_are_told(tmp_path):
    """Tags only name the line; what proves that one was altered are the heads."""
    signed(tmp_path)
    rows = lines_of(tmp_path, 1)
    write_lines(tmp_path, 1, [*rows[:15], line(999), *rows[16:]])
    Folder(tmp_path).tags_path(1).unlink()
    (finding,) = verify_spool(tmp_path).findings
    assert (finding.segment, finding.line) == (1, 11)
    assert "from this one to line 20" in finding.what


def test_tags_that_were_altered_too_hide_nothing(tmp_path):
    """The tag of the altered line is made to fit: it is still told, between two heads."""
    signed(tmp_path)
    rows = lines_of(tmp_path, 1)
    write_lines(tmp_path, 1, [*rows[:15], line(999), *rows[16:]])
    tags = Folder(tmp_path).tags_path(1)
    data = tags.read_bytes()
    tags.write_bytes(data[:60] + hashlib.sha256(line(999)).digest()[:4] + data[64:])
    (finding,) = verify_spool(tmp_path).findings
    assert (finding.segment, finding.line) == (1, 11)


def remove_segment(spool):
    """Delete one in the middle."""
    segment_path(spool, 2).unlink()


def exchange_segments(spool):
    """Exchange two segments."""
    one, other = lines_of(spool, 1), lines_of(spool, 2)
    write_lines(spool, 1, other)
    write_lines(spool, 2, one)


def insert_segment(spool):
    """Add one whose heads are missing, in place of one that is there."""
    Folder(spool).heads_path(2).unlink()


def remove_heads(spool):
    """Delete all heads."""
    for segment in segments(spool):
        Folder(spool).heads_path(segment).unlink()


def cut_heads_and_lines(spool):
    """Delete the last segment with its heads and tags: for this a head from elsewhere is needed."""
    last = segments(spool)[-1]
    segment_path(spool, last).unlink()
    Folder(spool).heads_path(last).unlink()
    Folder(spool).tags_path(last).unlink()


def change_counts(spool):
    """Change what a head counted, without its key."""
    change_head(spool, lambda head: replace(head, counts={"dropped": 0, "records": 7}))


def sign_anew(spool):
    """Alter a line, and sign its head with a key of one's own."""
    own = Ed25519PrivateKey.generate()

    def forge(head):
        head = replace(head, counts={"records": 7}, key=public_of(own))
        return replace(head, signature=signature_of(head, own))

    change_head(spool, forge)


def sign_with_the_present_key(spool):
    """Change an old head, and sign it with the key that is on the disk."""
    keys = Keys.load(KeyFile(Folder(spool).path / "key"), None)

    def forge(head):
        head = replace(head, counts={"records": 7}, key=keys.current_public)
        return replace(head, signature=signature_of(head, keys.current))

    change_head(spool, forge)


def remove_a_head(spool):
    """Delete one between others."""
    path = Folder(spool).heads_path(1)
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([rows[0], *rows[2:]]))


def no_head(spool):
    """Have a text there that is no head."""
    path = Folder(spool).heads_path(1)
    path.write_text(path.read_text().replace('"version"', '"edition"', 1))


def heads_of_another_spool(spool):
    """Put the heads and lines of another spool there."""
    other = spool.parent / "other"
    signed(other, fresh=True)
    for segment in (1, 2):
        segment_path(spool, segment).write_bytes(segment_path(other, segment).read_bytes())
        heads = Folder(other).heads_path(segment).read_bytes()
        Folder(spool).heads_path(segment).write_bytes(heads)


def change_head(spool, change):
    """Change the second head of the first segment."""
    path = Folder(spool).heads_path(1)
    rows = path.read_text().splitlines()
    rows[1] = change(parse_head(rows[1])).text()
    path.write_text("".join(f"{row}\n" for row in rows))


@pytest.mark.parametrize(
    "tamper",
    [
        remove_segment,
        exchange_segments,
        insert_segment,
        remove_heads,
        change_counts,
        sign_anew,
        sign_with_the_present_key,
        remove_a_head,
        no_head,
        heads_of_another_spool,
    ],
    ids=lambda tamper: tamper.__name__,
)
def test_a_change_of_segments_or_heads_shows(tmp_path, tamper):
    """Without any head from elsewhere."""
    spool = tmp_path / "spool"
    signed(spool)
    assert verify_spool(spool).is_proved
    tamper(spool)
    try:
        is_proved = verify_spool(spool).is_proved
    except EvidenceError as error:
        is_proved = "no heads" not in error.what
    assert not is_proved


def test_a_cut_tail_shows_by_a_head_from_elsewhere(tmp_path):
    """Lines, heads and tags of the end are gone: nothing on the host tells that they were."""
    spool, elsewhere = tmp_path / "spool", tmp_path / "heads"
    elsewhere.write_text("\n".join(signed(spool)))
    anchors = read_anchors(elsewhere)
    assert verify_spool(spool, anchors=anchors).anchors == len(anchors)
    cut_heads_and_lines(spool)
    assert verify_spool(spool).is_proved
    found = verify_spool(spool, anchors=anchors).findings
    assert "the log was cut" in found[0].what


def test_a_log_that_was_made_anew_shows_by_a_head_from_elsewhere(tmp_path):
    """Whoever is root can sign all of it again, with keys of his own."""
    spool, elsewhere = tmp_path / "spool", tmp_path / "heads"
    text = "Nov 29 host auditsvc: head of the audit log: {}\nanother line\n"
    elsewhere.write_text("".join(text.format(head) for head in signed(spool)))
    name = (spool / "identity").read_text()
    for path in sorted(spool.rglob("*"), reverse=True):
        if path.is_file():
            path.unlink()
    (spool / "identity").write_text(name)
    signed(spool, fresh=True)
    assert verify_spool(spool).is_proved
    found = verify_spool(spool, anchors=read_anchors(elsewhere)).findings
    assert "made anew" in found[0].what


def test_who_takes_the_key_can_go_on_but_not_back(tmp_path):
    """With it a head can be signed that follows, and none of those before is replaced unseen."""
    signed(tmp_path)
    heads = heads_of(tmp_path)
    keys = Keys.load(KeyFile(Folder(tmp_path).path / "key"), None)
    assert keys.current_public == heads[-1].next
    assert not {keys.current_public, keys.next_public} & {head.key for head in heads}


def test_older_segments_are_left_out_on_request(tmp_path):
    """Their heads are still proved; their lines are not read."""
    signed(tmp_path)
    last = heads_of(tmp_path)[-1]
    rows = lines_of(tmp_path, 1)
    write_lines(tmp_path, 1, [line(99), *rows[1:]])
    assert verify_spool(tmp_path, since=last.time + 1).segments == 0
    assert verify_spool(tmp_path, since=last.time + 1).is_proved
    assert not verify_spool(tmp_path, since=0).is_proved
