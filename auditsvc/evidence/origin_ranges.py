"""What a store says came from elsewhere (`origin`), as far as that can be disproved.

    judged = judge(connection, spool, identity, ranges)     # Judged(findings, ranges, old)

A range takes its events out of what our lines are compared with. So who can write to the store
could put rows of his own into one. A range that no program makes is a finding, and hides nothing:

* its source is one that there is not, or a spool;
* its source is NULL, as of what an older program stored without a source, but it was not there
  when the store was first seen (a file beside the heads, `unknown`, has those that were).

A single event of no source is one of which a log and a spool gave parts: whether a line of ours
gave such a part is looked for when the lines are compared (`auditsvc.evidence.rows`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import text as sql

from auditsvc.evidence.beside_file import BEGINS, BesideFile
from auditsvc.store.origins import OWN

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy import Connection

FILE: Final = BesideFile("unknown")
_WORD: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")

Range = tuple[int, int, int | None]
"""The first and the last event, and the source's id."""


class Judged(NamedTuple):
    """What was found, and the ranges that are left."""

    findings: list[str]
    ranges: list[Range]
    old: list[tuple[int, int]]
    """Of those what an older program stored without a source, as far as that is known."""
    is_noted: bool
    """Whether it was noted what these are."""


def unknown_in(connection: Connection) -> list[tuple[int, int]]:
    """Give the ranges of events whose source is not known."""
    found = connection.execute(
        sql("SELECT low, high FROM origin WHERE source IS NULL ORDER BY low")
    )
    return [(int(low), int(high)) for low, high in found]


def begin(spool: Path, identity: str, ranges: Iterable[tuple[int, int]]) -> None:
    """Note those of a store when it is first seen; later nothing. EvidenceError."""
    if BEGINS not in FILE.words(spool, identity):
        FILE.append(spool, identity, [*(f"{low}-{high}" for low, high in ranges), BEGINS])


def judge(connection: Connection, spool: Path, identity: str, ranges: Iterable[Range]) -> Judged:
    """Compare ranges with what can be known of them; EvidenceError."""
    noted = _noted(spool, identity)
    judged = Judged([], [], [], noted is not None)
    kinds = {
        int(each.id): str(each.kind)
        for each in connection.execute(sql("SELECT id, kind FROM source"))
    }
    for low, high, source in ranges:
        what = ""
        if source is None:
            if _is_old(low, high, noted):
                judged.old.append((low, high))
            elif low < high:
                what = "are of no source"
        elif source not in kinds:
            what = f"are of source {source}, which there is not"
        elif kinds[source] == OWN:
            what = "are of a spool"
        if what:
            judged.findings.append(
                f"a row of origin says that events {low} to {high} came from elsewhere, and {what}"
            )
        else:
            judged.ranges.append((low, high, source))
    return judged


def _is_old(low: int, high: int, noted: list[tuple[int, int]] | None) -> bool:
    if noted is None:
        return low < high
    return any(one <= low and high <= last for one, last in noted)


def _noted(spool: Path, identity: str) -> list[tuple[int, int]] | None:
    words = FILE.words(spool, identity)
    if BEGINS not in words:
        return None
    found = filter(None, map(_WORD.fullmatch, words))
    return [(int(each[1]), int(each[2])) for each in found]
