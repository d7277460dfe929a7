"""The days that retention deleted, as the programs that deleted them said: a file beside the heads.

    pruned    one line for each: the store's identity and the date, UTC

A store says itself which days went (`pruned_day`), and who can write to it can say so of any day.
So who prunes says it here first, where only root and the service's user can write, and `verify`
takes the store's word for no other day. A head says which of them this host deleted, for the other
hosts of a shared store, which have not the file:

    2025-06-15/2025-06-17:1234 2025-07-01/2025-07-01:5    periods, and how many events went

Invariant: a day is in the file, synced, before the first of its events is deleted. Lines are only
appended. What a store said before it is first seen here stands as it was found (`BEGINS`), and no
head says that this host did it.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.evidence.beside_file import BEGINS, BesideFile
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.store_facts import identity_in, pruned_in
from auditsvc.store.database import reading
from auditsvc.store.partitions import DAY, date_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from auditsvc.store.database import Database

FILE: Final = BesideFile("pruned")
_MOST: Final = 100
"""Periods in a head."""
_CLAIM: Final = re.compile(r"([0-9-]{10})/([0-9-]{10}):([0-9]{1,18})")
_FIELDS: Final = 3


class Claim(NamedTuple):
    """A period of which a host says that its retention deleted the days."""

    first: int
    last: int
    events: int
    """Events of all hosts of the store that went."""

    def has(self, day: int) -> bool:
        """Whether a day is in it."""
        return self.first <= day <= self.last


def announce(spool: Path, database: Database, day: int) -> None:
    """Say that a day's events are going to be deleted; EvidenceError if that cannot be written.

    Nothing is said where nothing was ever signed.
    """
    if not Folder(spool).exists:
        return
    with reading(database) as connection:
        identity, pruned = identity_in(connection), pruned_in(connection)
    begin(spool, identity, pruned)
    said = date_of(day)
    # What is there may not have been synced: who wrote it was killed, or the disk failed.
    FILE.append(spool, identity, [] if said in _own_words(spool, identity) else [said])


def begin(spool: Path, identity: str, days: Collection[int]) -> None:
    """Note what a store says of itself when it is first seen; later nothing. EvidenceError."""
    if announced(spool, identity) is None:
        FILE.append(spool, identity, [*map(date_of, sorted(days)), BEGINS])


def announced(spool: Path, identity: str) -> frozenset[int] | None:
    """Give the days of a store that were said; None if it was never seen. EvidenceError."""
    said = FILE.words(spool, identity)
    return frozenset(_days(said)) if BEGINS in said else None


def signed_claims(spool: Path, identity: str, pruned: Mapping[int, int]) -> str:
    """Give what a head says of the days that this host deleted; EvidenceError.

    `pruned`: events that are gone, by day, as the store says.
    """
    periods: list[Claim] = []
    for day in sorted({*_days(_own_words(spool, identity))} & pruned.keys()):
        events = pruned[day]
        if periods and periods[-1].last == day - 1:
            periods[-1] = Claim(periods[-1].first, day, periods[-1].events + events)
        else:
            periods.append(Claim(day, day, events))
    # A head has a bound; days between the oldest periods had no events when they went.
    while len(periods) > _MOST:
        second = periods.pop(1)
        periods[0] = Claim(periods[0].first, second.last, periods[0].events + second.events)
    return " ".join(f"{date_of(a)}/{date_of(b)}:{events}" for a, b, events in periods)


def parse_claims(text: str | None) -> list[Claim]:
    """Read what `signed_claims` gave; what is none is left out."""
    found = map(_CLAIM.fullmatch, (text or "").split())
    periods = ((*_days([each[1], each[2]]), int(each[3])) for each in found if each)
    return [Claim(*each) for each in periods if len(each) == _FIELDS]


def _own_words(spool: Path, identity: str) -> list[str]:
    words = FILE.words(spool, identity)
    return words[words.index(BEGINS) + 1 :] if BEGINS in words else []


def _days(said: Iterable[str]) -> Iterator[int]:
    for text in said:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            continue
        yield int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) // DAY
