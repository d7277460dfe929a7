"""Proves a spool's lines by its heads, and its heads by heads from elsewhere.

    report = verify_spool(directory, anchors=heads, since=0.0)

No private key is needed, and nothing is written. The service may be running: what it appends
or deletes meanwhile is no finding.

What is compared: each head is signed by the key that the head before it announced, and has that
head's digest; the lines of each segment give the value in each of its heads; every segment from
`kept_from` on is there; heads from elsewhere are among these.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from auditsvc.errors import EvidenceError, SpoolError
from auditsvc.evidence.chain import TAG, make_chain, start_of
from auditsvc.evidence.finding import ALTERED, CUT, HEADS, INSERTED, REMOVED, Finding, Report
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.head import link_problem
from auditsvc.evidence.locate import first_change
from auditsvc.evidence.segment_lines import read_lines
from auditsvc.host.files import open_file, read_file
from auditsvc.plural import counted
from auditsvc.spool.segments import segment_path, segments, spool_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditsvc.evidence.chain import LineChain
    from auditsvc.evidence.head import Head
    from auditsvc.evidence.keys import Signed
    from auditsvc.native import Choice

_THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment's heads, and where its chain must begin."""

    number: int
    heads: Sequence[Head]
    start: str


@dataclass(slots=True)
class _Checked:
    findings: list[Finding]
    lines: int = 0
    bytes: int = 0
    unsigned: int = 0
    unseen: int = 0


def verify_spool(
    directory: Path,
    *,
    anchors: Sequence[Head] = (),
    since: float = 0.0,
    choice: Choice = "auto",
) -> Report:
    """Verify a spool; segments that ended before `since` are not read again.

    EvidenceError if nothing was ever signed there, or if heads cannot be read.
    """
    folder = Folder(directory)
    if not folder.exists:
        raise EvidenceError(
            f"there are no heads in {folder.path}: nothing was signed",
            "`auditsvc run` signs what it collects; or name the spool with --spool",
        )
    report = Report()
    dropped, kept = _read_heads(folder, report)
    heads = [head for each in kept.values() for head in each]
    last = heads[-1] if heads else dropped[-1] if dropped else None
    if last is None:
        raise EvidenceError(
            f"there are no heads in {folder.path}: nothing was signed yet, or they were removed",
            "a service signs within a second; heads that it sent elsewhere tell more",
        )
    report.heads = len(heads)
    report.hosts = sorted({head.host for head in (*dropped, *heads)})
    _check_links(dropped, heads, report)
    check_anchors(anchors, dropped, heads, report)
    _check_present(directory, folder, kept, last, report)
    _check_lines(directory, _chosen(kept, dropped, since), report, choice)
    if heads:
        report.first, report.last = heads[0].first, heads[-1].last
    return report


def _read_heads(folder: Folder, report: Report) -> tuple[list[Head], dict[int, list[Head]]]:
    dropped, problem = folder.dropped()
    problems = [problem]
    kept = {}
    for segment in folder.segments():
        kept[segment], problem = folder.heads(segment)
        problems.append(problem)
    report.findings += [Finding(HEADS, each) for each in problems if each]
    # A crash may have left the heads of a segment that is in `dropped` already.
    if dropped:
        kept = {
            segment: heads
            for segment, heads in kept.items()
            if heads and heads[-1].n > dropped[-1].n
        }
    return dropped, {segment: heads for segment, heads in kept.items() if heads}


def _check_links(dropped: Sequence[Head], heads: Sequence[Head], report: Report) -> None:
    """Check that heads are signed, each by the key that was announced, and none is missing."""
    found = report.findings
    for head in (*dropped, *heads):
        if not head.is_signed():
            found.append(Finding(HEADS, f"head {head.n} is not signed by its key", head.segment))
        if head.broken:
            what = f"head {head.n} says what was found at a start: {head.broken}"
            found.append(Finding(ALTERED, what, head.segment))
    for before, head in pairwise(dropped):
        if head.ended != before.digest():
            what = f"head {head.n} does not follow head {before.n}, which is the last one kept"
            found.append(Finding(HEADS, f"{what} of segment {before.segment}", head.segment))
    lined = [*dropped[-1:], *heads]
    for before, head in pairwise(lined):
        if what := link_problem(before, head):
            found.append(Finding(HEADS, what, head.segment))
    if not dropped and heads and heads[0].n != 1:
        what = f"heads 1 to {heads[0].n - 1} were removed"
        found.append(Finding(HEADS, what, heads[0].segment))


def check_anchors(
    anchors: Sequence[Head], dropped: Sequence[Head], heads: Sequence[Head], report: Report
) -> None:
    """Compare heads from elsewhere with those that are here."""
    known = {head.n: head for head in (*dropped, *heads)}
    newest = max(known, default=0)
    for anchor in anchors:
        if not anchor.is_signed():
            what = f"head {anchor.n} from elsewhere is not signed by its key"
        elif anchor.n > newest:
            what = (
                f"the log was cut: head {anchor.n} from elsewhere (segment {anchor.segment}, byte"
                f" {anchor.end}) is not here, where the last one is {newest}"
            )
        elif anchor.n not in known:
            report.notes.append(
                f"head {anchor.n} from elsewhere is of a deleted segment: not compared"
            )
            continue
        elif known[anchor.n].digest() != anchor.digest():
            what = f"head {anchor.n} is another one than that from elsewhere: it was made anew"
        else:
            report.anchors += 1
            continue
        report.findings.append(Finding(HEADS, what, anchor.segment))


def check_stored_heads(directory: Path, stored: Sequence[Head], report: Report) -> None:
    """Compare the heads that a store has with those of the spool."""
    again = Report()
    folder = Folder(directory)
    dropped, kept = _read_heads(folder, again)
    heads = [head for each in kept.values() for head in each]
    proofs = Report()
    check_anchors(stored, dropped, heads, proofs)
    report.findings += proofs.findings


def check_signed_last(directory: Path, signed: Signed | None, report: Report) -> None:
    """Compare the heads with the one that was signed last, as the keys' file tells it."""
    if signed is None or not signed.n:
        return
    dropped, kept = _read_heads(Folder(directory), Report())
    known = {
        head.n: head for head in (*dropped, *(head for each in kept.values() for head in each))
    }
    newest = max(known, default=0)
    if signed.n > newest:
        what = (
            f"the log was cut: head {signed.n} was signed last, and the last one here is {newest}"
        )
    elif signed.n in known and known[signed.n].digest() != signed.digest:
        what = f"head {signed.n} is another one than was signed"
    else:
        return
    report.findings.append(Finding(HEADS, what))


def _check_present(
    directory: Path, folder: Folder, kept: dict[int, list[Head]], last: Head, report: Report
) -> None:
    """Check that every segment is there that was not deleted by retention."""
    there = set(segments(directory))
    missing = [segment for segment in kept if segment not in there]
    if missing:
        newest = folder.last()  # the service may have deleted them meanwhile
        kept_from = last.kept_from if newest is None else newest.kept_from
        for segment in missing:
            if segment >= kept_from:
                report.findings.append(Finding(REMOVED, "the segment was removed", segment))
    for segment in sorted(there - kept.keys()):
        if segment <= last.segment and segment >= min(kept, default=last.segment):
            what = "no head is of this segment: it was inserted"
            report.findings.append(Finding(INSERTED, what, segment))
        elif segment > last.segment:
            size = _size(directory, segment)
            report.unsigned_bytes += size
            if last.clean and size:
                what = "the service ended before this segment: it was inserted"
                report.notes.append(f"segment {segment}: {what}, or a start is not signed yet")


def _chosen(
    kept: dict[int, list[Head]], dropped: Sequence[Head], since: float
) -> Iterator[_Segment]:
    start = dropped[-1].chain if dropped else ""
    for number, heads in kept.items():
        if heads[-1].time >= since:
            yield _Segment(number, heads, start)
        start = heads[-1].chain


def _check_lines(
    directory: Path, chosen: Iterator[_Segment], report: Report, choice: Choice
) -> None:
    # Hashing leaves Python free, so a thread for each processor.
    with ThreadPoolExecutor(_THREADS) as pool:
        checks = [(pool.submit(_check, directory, each, choice)) for each in chosen]
        for check in checks:
            done = check.result()
            report.segments += 1
            report.findings += done.findings
            report.lines += done.lines
            report.bytes += done.bytes
            report.unsigned_bytes += done.unsigned
            report.unseen_bytes += done.unseen


def _check(directory: Path, segment: _Segment, choice: Choice) -> _Checked:
    """Compare a segment with its heads."""
    number, heads = segment.number, segment.heads
    done = _Checked([])
    if heads[0].start != segment.start:
        what = f"head {heads[0].n} begins with another value than the segment before ended with"
        done.findings.append(Finding(HEADS, what, number))
    path = segment_path(directory, number)
    try:
        descriptor = open_file(path)
    except FileNotFoundError:
        return done  # told by `_check_present`
    except OSError as error:
        raise spool_error(path, error) from error
    try:
        size = os.fstat(descriptor).st_size
        chain = make_chain(start_of(heads[0].spool, number, heads[0].start), choice)
        at = 0
        for head in heads:
            is_equal = size >= head.end >= at and _feed(chain, descriptor, at, head.end)
            at = head.end
            if not is_equal or chain.value().hex() != head.chain or chain.lines != head.lines:
                done.findings.append(_locate(directory, segment, head, size, choice))
                break
            done.lines, done.bytes = head.lines, head.end
            done.unseen = head.unseen
        else:
            if size > at and heads[-1].final:
                what = f"{counted(size - at, 'byte')} were inserted behind the segment's end"
                done.findings.append(Finding(INSERTED, what, number, heads[-1].lines + 1))
            else:
                done.unsigned = size - at
    except OSError as error:
        raise spool_error(path, error) from error
    finally:
        os.close(descriptor)
    return done


def _feed(chain: LineChain, descriptor: int, start: int, end: int) -> bool:
    """Hash a segment's lines from a position to another; False if no line ends there."""
    try:
        for lines in read_lines(descriptor, start, end):
            chain.update(lines)
    except ValueError:
        return False
    return True


def _locate(directory: Path, segment: _Segment, head: Head, size: int, choice: Choice) -> Finding:
    """Find the first line that is another one than when a head was signed."""
    number, signed_lines = segment.number, segment.heads[-1].lines
    try:
        signed = read_file(Folder(directory).tags_path(number))[: signed_lines * TAG]
        data = read_file(segment_path(directory, number))
    except OSError:
        signed, data = b"", b""
    if len(signed) == signed_lines * TAG:
        chain = make_chain(b"", choice)
        chain.update(data[: data.rfind(b"\n") + 1])
        found = chain.take_tags()
        if not segment.heads[-1].final:  # lines that are not signed yet may follow
            found = found[: len(signed)]
        change = first_change(signed, found)
        if change is not None:
            line = change.line
            return Finding(change.kind, f"{change.what}; {_who(head)}", number, line)
    before = max((each.lines for each in segment.heads if each.n < head.n), default=0)
    if size < head.end:
        what = f"the segment was cut: it has {size} of {head.end} bytes"
        return Finding(CUT, f"{what}; {_who(head)}", number)
    what = f"a line from this one to line {head.lines} was altered, removed or inserted"
    return Finding(ALTERED, f"{what}; {_who(head)}", number, before + 1)


def _who(head: Head) -> str:
    return f"head {head.n} was signed for other lines"


def _size(directory: Path, segment: int) -> int:
    try:
        return segment_path(directory, segment).stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise SpoolError(f"spool {directory}: {error.strerror}") from error
