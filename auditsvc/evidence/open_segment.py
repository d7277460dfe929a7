"""What the notary works on: lines that were appended, and the segment that they go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditsvc.evidence.chain import LineChain


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that were appended; `data` None: to be read from the segment."""

    segment: int
    start: int
    length: int
    data: bytes | None


@dataclass(slots=True)
class OpenSegment:
    """The segment whose lines are being hashed."""

    segment: int
    start: str
    chain: LineChain
    end: int = 0
    first: str = ""
    last: str = ""
    unseen: int = 0
    """Bytes that were read from the disk."""
    is_unsigned: bool = False
    """Whether lines were added since the last head."""
