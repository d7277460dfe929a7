"""The hash over the lines of a segment, and the tags by which an altered line is found.

    chain = make_chain(start_of(spool, segment, previous))
    chain.update(lines)         # complete lines, each with its newline
    chain.value()               # 32 bytes: SHA-256(start, SHA-256(line 1), SHA-256(line 2), ...)
    chain.take_tags()           # the first TAG bytes of each line's digest

The start of a segment holds the value with which the segment before it ended, so the values of
all segments are one chain. A tag proves nothing: it tells which line is another one, once the
value tells that one is. The native core is the fast path; `ReferenceChain` is what it must give.
"""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from auditsvc.native import Choice, native_core

TAG: Final = 4
"""Bytes of a tag: 2 % of the log's bytes on disk."""
_NAME: Final = b"auditsvc chain 1\n"


class LineChain(Protocol):
    """A hash over lines, to which lines are added at the end."""

    @property
    def lines(self) -> int:
        """The number of lines."""

    def update(self, data: bytes) -> None:
        """Add complete lines, each with its newline; ValueError if the last one is incomplete."""

    def value(self) -> bytes:
        """Give the digest of all lines so far; more may follow."""

    def take_tags(self) -> bytes:
        """Give the tags of the lines since the last call."""


class ReferenceChain:
    """The chain in Python."""

    def __init__(self, start: bytes) -> None:
        self.lines = 0
        self._state = hashlib.sha256(start)
        self._tags: list[bytes] = []

    def update(self, data: bytes) -> None:
        """See `LineChain`."""
        if data and not data.endswith(b"\n"):
            raise ValueError("lines end with a newline")
        for line in data.split(b"\n")[:-1]:
            digest = hashlib.sha256(line + b"\n").digest()
            self._state.update(digest)
            self._tags.append(digest[:TAG])
            self.lines += 1

    def value(self) -> bytes:
        """See `LineChain`."""
        return self._state.digest()

    def take_tags(self) -> bytes:
        """See `LineChain`."""
        tags, self._tags = b"".join(self._tags), []
        return tags


def make_chain(start: bytes, choice: Choice = "auto") -> LineChain:
    """Make an empty chain, native if that core was built."""
    core = native_core(choice)
    if core is None:
        return ReferenceChain(start)
    chain: LineChain = core.LineChain(start)
    return chain


def start_of(spool: str, segment: int, previous: str) -> bytes:
    """Give what the chain of a segment begins with; `previous`: value of the one before, hex."""
    return _NAME + f"{spool} {segment} {previous}\n".encode()
