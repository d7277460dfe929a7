"""The lines of a segment from one place to another, in pieces of whole lines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE: Final = 1 << 20
"""Bytes that are read at once."""


def read_lines(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """Give the bytes from `start` to `end` of a file; ValueError if no line ends there; OSError."""
    at, rest = start, b""
    while at < end:
        data = os.pread(descriptor, min(_PIECE, end - at), at)
        if not data:
            raise ValueError
        at += len(data)
        data = rest + data
        cut = data.rfind(b"\n") + 1
        rest = data[cut:]
        if cut:
            yield data[:cut]
    if rest:
        raise ValueError
