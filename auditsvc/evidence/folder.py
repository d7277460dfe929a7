"""The folder `evidence` in a spool's folder: heads and tags, all for their owner only.

    heads-NNNNNNNNNNNN    the heads of a segment, one a line, in order
    tags-NNNNNNNNNNNN     the tags of its lines (`auditsvc.evidence.chain`)
    dropped               the last head of each segment that retention deleted
    recent                the newest of their other heads, until the store has them
    pruned                the days of the store that retention deleted
                          (`auditsvc.evidence.pruned_days`)
    unknown               events of no known source that a store had when it was first seen
                          (`auditsvc.evidence.origin_ranges`)
    spools                the other spools of the store (`auditsvc.evidence.other_spools`)
    peers                 the newest heads that were seen of these (`auditsvc.evidence.peers`)
    key                   the private keys, where no folder is closed to the loader's process
                          (`auditsvc.evidence.keys`, `Settings.key_path`)

Invariants: a head is in its file, synced, before its key is forgotten and before it goes
anywhere else. An incomplete last line is of a crash: it is cut before the next is written. The
heads of a segment go after the segment is gone; its last one stays in `dropped`.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.errors import EvidenceError
from auditsvc.evidence.head import Head, parse_head
from auditsvc.host.files import make_folder, open_file, read_file, replace_file

if TYPE_CHECKING:
    from pathlib import Path

_HEADS: Final = re.compile(r"heads-([0-9]{12})")
_DROPPED: Final = "dropped"
_RECENT: Final = "recent"
KEPT: Final = 300
"""Heads that a store keeps of each spool, and at most so many of deleted segments stay here."""


class Heads(NamedTuple):
    """The heads in a file; `problem` says what is wrong with it, "" if nothing is."""

    heads: list[Head]
    problem: str = ""


class Folder:
    """The files beside one spool."""

    def __init__(self, spool: Path) -> None:
        self.path = spool / "evidence"

    def make(self) -> None:
        """Make the folder, mode 0700; OSError."""
        make_folder(self.path)

    @property
    def exists(self) -> bool:
        """Whether there is one: without it nothing was ever signed."""
        return self.path.is_dir()

    def heads_path(self, segment: int) -> Path:
        """Give the path of the heads of a segment."""
        return self.path / f"heads-{segment:012d}"

    def tags_path(self, segment: int) -> Path:
        """Give the path of the tags of a segment."""
        return self.path / f"tags-{segment:012d}"

    @property
    def dropped_path(self) -> Path:
        """The path of the last heads of segments that are deleted."""
        return self.path / _DROPPED

    def segments(self) -> list[int]:
        """Give the segments that have heads, in order; OSError."""
        try:
            names = os.listdir(self.path)  # noqa: PTH208 - only names
        except FileNotFoundError:
            return []
        return sorted(int(found[1]) for name in names if (found := _HEADS.fullmatch(name)))

    def heads(self, segment: int) -> Heads:
        """Read the heads of a segment; EvidenceError if the file cannot be read."""
        return _read(self.heads_path(segment))

    def dropped(self) -> Heads:
        """Read the last heads of segments that are deleted."""
        return _read(self.dropped_path)

    def last(self) -> Head | None:
        """Give the last head; None if there is none that can be read."""
        for segment in reversed(self.segments()):
            if heads := self.heads(segment).heads:
                return heads[-1]
        dropped = self.dropped().heads
        return dropped[-1] if dropped else None

    def between(self, first: int, last: int) -> list[Head]:
        """Give the newest heads with numbers between two, in order, as far as they are known.

        EvidenceError if they cannot be read.
        """
        found: dict[int, Head] = {}
        for segment in reversed(self.segments()):
            heads = self.heads(segment).heads
            found |= {each.n: each for each in heads if first < each.n < last}
            if len(found) >= KEPT or (heads and heads[0].n <= first):
                break
        else:
            gone = (*self.dropped().heads[-KEPT:], *_read(self.path / _RECENT).heads)
            found |= {each.n: each for each in gone if first < each.n < last}
        return [found[n] for n in sorted(found)][-KEPT:]

    def last_text(self) -> str:
        """Give the text of the last head; "" if none can be read, of which `verify` says why."""
        try:
            last = self.last()
        except (OSError, EvidenceError):
            return ""
        return "" if last is None else last.text()

    def append(self, head: Head) -> None:
        """Write a head to its file, synced; OSError."""
        _append(self.heads_path(head.segment), head)

    def drop(self, segment: int) -> None:
        """Keep only the last head of a segment that is deleted; OSError."""
        found = self.heads(segment).heads
        if more := found[:-1]:
            kept = [*_read(self.path / _RECENT).heads, *more][-KEPT:]
            replace_file(self.path / _RECENT, "".join(f"{each.text()}\n" for each in kept))
        if found:
            dropped = self.dropped().heads
            if not dropped or dropped[-1].n < found[-1].n:
                _append(self.dropped_path, found[-1])
        self.heads_path(segment).unlink(missing_ok=True)
        self.tags_path(segment).unlink(missing_ok=True)


def _read(path: Path) -> Heads:
    try:
        data = read_file(path)
    except FileNotFoundError:
        return Heads([])
    except OSError as error:
        raise evidence_error(path, error) from error
    lines = data.split(b"\n")
    del lines[-1]  # incomplete, of a crash; or nothing
    heads = []
    for number, line in enumerate(lines, 1):
        try:
            heads.append(parse_head(line.decode()))
        except ValueError:
            return Heads(heads, f"{path.name}, line {number}: not a head")
    return Heads(heads)


def _append(path: Path, head: Head) -> None:
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
    try:
        size = os.fstat(descriptor).st_size
        # Without its newline the last line is of a crash.
        start = max(0, size - (1 << 20))
        tail = os.pread(descriptor, size - start, start)
        end = start + tail.rfind(b"\n") + 1
        if end < size:
            os.ftruncate(descriptor, end)
        text = head.text().encode() + b"\n"
        written = os.pwrite(descriptor, text, end)
        if written < len(text):
            with suppress(OSError):
                os.ftruncate(descriptor, end)
            raise OSError(28, os.strerror(28), str(path))
        os.fdatasync(descriptor)
        if not size:
            _sync_folder(path.parent)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def evidence_error(path: Path, error: OSError) -> EvidenceError:
    """Make the error for a failure at a path."""
    return EvidenceError(
        f"evidence {path}: {error.strerror or error}", "free disk space, or check owner and mode"
    )
