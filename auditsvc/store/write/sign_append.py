"""Judges new signs that are all later than the stored ones of their process id. Pure: no I/O.

So come nearly all, as a log is written in the order of time. Then the stored signs stay, nothing
is to be merged, and only the last life is walked through. `append` gives None where this is not
so, or not known from the signs that were read; `auditsvc.store.write.signs` then does all of it.
Both come to the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.store.process_lives import BIRTHS, INFERRED, SEEN, Sign, walk
from auditsvc.store.sign_sql import DAY_MS
from auditsvc.store.write.sign_firsts import OWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditsvc.store.sign_sql import Place, Span

LIVES: Final = 2
"""From so many beginnings before a change on signs are read."""

Plain = tuple[int, int, int, int | None, int | None, int | None]
"""A `Sign`: the garbage collector does not go through tuples of numbers again and again."""
Stored = tuple[int | None, int, int, int, int | None, int | None, int | None]
"""What a stored sign begins, and the sign."""
First = tuple[int, int, int | None]
"""A first call: `at`, `low`, program."""


class Appended(NamedTuple):
    """New signs with what they begin; stored ones that begin something else now; first calls."""

    new: list[tuple[Plain, int | None]]
    other: list[tuple[Place, int | None]]
    firsts: list[tuple[Span, Place]]


def append(
    signs: Sequence[Plain], firsts: Mapping[Span, First], stored: Sequence[Stored], most: int
) -> Appended | None:
    """Judge signs and first calls that come behind the `stored` ones, which are in order.

    `most`: how many signs may be walked through.
    """
    new, known = _new(signs, firsts, stored)
    if new is None:
        return None
    if not new:
        return Appended([], [], known)
    if not stored and len(new) == 1:
        return Appended([(new[0], INFERRED if new[0][2] in OWN else None)], [], known)
    last, begun = -1, -1
    for place, row in enumerate(stored):
        if row[1] <= last:
            return None  # of one time: a birth is before others
        last = row[1]
        if row[0] is not None:
            begun = place
    if len(new) > 1:
        new.sort(key=_order)
    rows = stored[max(begun, 0) :]
    if last >= new[0][0] or len(rows) + len(new) > most:
        return None
    walked = [Sign(*row[1:]) for row in rows]
    walked += [Sign(*each) for each in new]
    found = walk(walked, first=None if begun < 0 else stored[begun][0]).found
    other = [(row[1:3], code) for row, code in zip(rows, found, strict=False) if code != row[0]]
    return Appended(list(zip(new, found[len(rows) :], strict=True)), other, known)


def _new(
    signs: Sequence[Plain], firsts: Mapping[Span, First], stored: Sequence[Stored]
) -> tuple[list[Plain] | None, list[tuple[Span, Place]]]:
    """Give the signs to add, None if that is not known, and where the first calls are."""
    new = list(signs)
    if len(new) > 1 and len({each[:2] for each in new}) < len(new):
        return None, []
    known: list[tuple[Span, Place]] = []
    for span, (at, low, exe) in firsts.items():
        place = _place(span, stored)
        if place is None:
            place = at, low
            if not any(each[0] == at and each[1] == low for each in signs):
                if not _has_day(span[2], stored):
                    return None, []
                new.append((at, low, SEEN, span[0], span[1], exe))
        elif place > (at, low):
            return None, []
        known.append((span, place))
    return new, known


def _place(span: Span, stored: Sequence[Stored]) -> Place | None:
    """Give the first of the stored signs of the process itself with a parent, session and day."""
    ppid, ses, day = span
    for _, at, low, kind, row_ppid, row_ses, _ in stored:
        if row_ppid == ppid and row_ses == ses and kind in OWN and at // DAY_MS == day:
            return at, low
    return None


def _has_day(day: int, stored: Sequence[Stored]) -> bool:
    """Whether all of a day's signs were read."""
    if not stored or stored[0][1] < day * DAY_MS:
        return True
    return sum(begins is not None for begins, *_ in stored) < LIVES


def _order(sign: Plain) -> tuple[int, bool, int]:
    return sign[0], sign[2] not in BIRTHS, sign[1]
