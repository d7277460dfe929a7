"""Finds the first line that is another one than its tag says, and what was done to it."""

from __future__ import annotations

from typing import Final, NamedTuple

from auditsvc.evidence.chain import TAG
from auditsvc.evidence.finding import ALTERED, CUT, INSERTED, REMOVED, REORDERED

_SAME: Final = 3
"""Lines that must be equal again behind a change, if there are so many."""
_FAR: Final = 100_000
"""Lines that may have been removed or inserted at one place, for it to be told."""


class Change(NamedTuple):
    """What was done first: its kind, the line (from 1), and how many lines."""

    kind: str
    line: int
    many: int

    @property
    def what(self) -> str:
        """Say it."""
        if self.kind == REORDERED:
            return f"lines were put in another order, this one first ({self.many} in all)"
        many = "this line was" if self.many == 1 else f"{self.many} lines from here on were"
        if self.kind == REMOVED:
            many = "a line was" if self.many == 1 else f"{self.many} lines were"
            return f"{many} removed before this one"
        return f"{many} {self.kind}"


def first_change(signed: bytes, found: bytes) -> Change | None:
    """Compare tags of lines, as they were signed, with those of the lines that are there.

    None if they are equal.
    """
    index = _equal(signed, found)
    before, after = signed[index * TAG :], found[index * TAG :]
    line = index + 1
    if not before and not after:
        return None
    if not after:
        return Change(CUT, line, len(before) // TAG)
    if not before:
        return Change(INSERTED, line, len(after) // TAG)
    old, new = _split(before), _split(after)
    if len(old) == len(new) and sorted(old) == sorted(new):
        last = max(n for n, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
        return Change(REORDERED, line, last + 1)
    removed, inserted = _shift(old, new), _shift(new, old)
    if removed and (not inserted or removed <= inserted):
        return Change(REMOVED, line, removed)
    if inserted:
        return Change(INSERTED, line, inserted)
    return Change(ALTERED, line, _run(old, new))


def _equal(one: bytes, other: bytes) -> int:
    """Give how many tags are equal at the beginning."""
    low, high = 0, min(len(one), len(other)) // TAG
    while low < high:
        middle = (low + high + 1) // 2
        if one[: middle * TAG] == other[: middle * TAG]:
            low = middle
        else:
            high = middle - 1
    return low


def _split(tags: bytes) -> list[bytes]:
    return [tags[start : start + TAG] for start in range(0, len(tags), TAG)]


def _shift(longer: list[bytes], shorter: list[bytes]) -> int:
    """Give how many tags `longer` has first, until it goes on as `shorter`; 0 if it does not."""
    same = min(_SAME, len(shorter))
    for count in range(1, min(len(longer), _FAR)):
        if longer[count : count + same] == shorter[:same]:
            return count
    return 0


def _run(old: list[bytes], new: list[bytes]) -> int:
    """Give how many tags differ, until some are equal again."""
    for count in range(1, min(len(old), len(new))):
        if old[count] == new[count]:
            return count
    return 1
