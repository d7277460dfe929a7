"""What a verification finds, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

ALTERED: Final = "altered"
REMOVED: Final = "removed"
INSERTED: Final = "inserted"
REORDERED: Final = "reordered"
CUT: Final = "cut"
HEADS: Final = "heads"
"""Something about the heads themselves."""
ARCHIVE: Final = "archive"
"""Something about the archive's files."""
STORE: Final = "store"
"""Something about the rows, or the store."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was signed."""

    kind: str
    what: str
    segment: int = 0
    line: int = 0
    """The first line, from 1; 0 if it cannot be told, or if it is about no line."""

    def __str__(self) -> str:
        place = f"segment {self.segment}" if self.segment else ""
        place += f", line {self.line}" if self.line else ""
        return f"{place}: {self.what}" if place else self.what


@dataclass(slots=True)
class Report:
    """The result of a verification."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is no finding, but limits what is proved."""
    segments: int = 0
    lines: int = 0
    """Lines that were compared with their heads."""
    bytes: int = 0
    heads: int = 0
    unsigned_bytes: int = 0
    """Bytes behind the last head."""
    unseen_bytes: int = 0
    """Bytes that were read from the disk before they were signed, not hashed as received."""
    anchors: int = 0
    """Heads from elsewhere that are those of this spool."""
    first: str = ""
    last: str = ""
    """Stamps of the first and the last line that are covered."""
    hosts: list[str] = field(default_factory=list)
    """Names that the spool's host has in the heads."""
    events: int = 0
    """Events of the store that were compared with their lines."""
    sealed: int = 0
    """Events of the store that were compared with signed digests."""

    @property
    def is_proved(self) -> bool:
        """Whether all is as it was signed."""
        return not self.findings
