"""The segment whose lines are being hashed: begun, added to, read again, synced.

    opened = OpenSegment.begin(directory, spool, 7, start, "auto")
    opened.add(lines)          # as they are appended
    opened.read(end)           # or from the disk; ValueError if no line ends there
    size = opened.sync(synced=True)
    opened.keep_tags(path)

Only whole lines are hashed. OSError and SpoolError of the files are the caller's.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditsvc.evidence.chain import TAG, make_chain, start_of
from auditsvc.evidence.segment_lines import read_lines
from auditsvc.evidence.stamps import first_stamp, last_stamp
from auditsvc.host.files import open_file
from auditsvc.spool.segments import segment_path

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.evidence.chain import LineChain
    from auditsvc.native import Choice


@dataclass(slots=True)
class OpenSegment:
    """The segment whose lines are being hashed."""

    path: Path
    segment: int
    start: str
    """What its chain begins with, besides its number and its spool."""
    chain: LineChain
    end: int = 0
    first: str = ""
    last: str = ""
    unseen: int = 0
    """Bytes that were read from the disk."""
    is_unsigned: bool = False
    """Whether lines were added since the last head."""
    _tags: list[bytes] = field(default_factory=list)
    """Those of lines that are not in their file yet."""

    @classmethod
    def begin(
        cls, directory: Path, spool: str, segment: int, start: str, choice: Choice
    ) -> OpenSegment:
        """Begin to hash a segment of a spool, of which nothing was hashed."""
        chain = make_chain(start_of(spool, segment, start), choice)
        return cls(segment_path(directory, segment), segment, start, chain)

    def add(self, data: bytes) -> None:
        """Hash lines that stand at the end of what was hashed."""
        self.chain.update(data)
        if not self.end:
            self.first = first_stamp(data)
        self.end += len(data)
        self.last = last_stamp(data) or self.last
        self.is_unsigned = True

    def read(self, end: int) -> None:
        """Hash its lines up to a position from the disk; ValueError if they do not end there."""
        descriptor = open_file(self.path)
        try:
            for lines in read_lines(descriptor, self.end, end):
                self.add(lines)
        finally:
            os.close(descriptor)

    def sync(self, *, synced: bool) -> int:
        """Sync it, if `synced`; gives its size on the disk. FileNotFoundError if it is gone."""
        descriptor = open_file(self.path)
        try:
            if synced:
                os.fdatasync(descriptor)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def keep_tags(self, path: Path, *, fresh: bool = False) -> None:
        """Write the tags of new lines to their file; without it only the line is not named.

        `fresh`: all tags are new, and the file begins anew.
        """
        self._tags.append(self.chain.take_tags())
        tags = b"".join(self._tags)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if fresh else 0)
        with suppress(OSError):
            descriptor = open_file(path, flags)
            try:
                os.pwrite(descriptor, tags, self.chain.lines * TAG - len(tags))
            finally:
                os.close(descriptor)
        self._tags = []
