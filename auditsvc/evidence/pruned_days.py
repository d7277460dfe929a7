"""The days that retention deleted, as the programs that deleted them said: a file beside the heads.

    pruned    one line for each: the store's identity and the date, UTC

A store says itself which days went (`pruned_day`), and who can write to it can say so of any day.
So who prunes says it here first, where only root and the service's user can write, and `verify`
takes the store's word for no other day.

Invariant: a day is in the file, synced, before the first of its events is deleted. Lines are only
appended. What a store said before it is first seen here stands as it was found (`BEGINS`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

from auditsvc.evidence.beside_file import BEGINS, BesideFile
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.store_facts import identity_in
from auditsvc.store.database import reading
from auditsvc.store.partitions import DAY, date_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from auditsvc.store.database import Database

FILE: Final = BesideFile("pruned")


def announce(spool: Path, database: Database, day: int) -> None:
    """Say that a day's events are going to be deleted; EvidenceError if that cannot be written.

    Nothing is said where nothing was ever signed.
    """
    if not Folder(spool).exists:
        return
    with reading(database) as connection:
        identity = identity_in(connection)
    said = date_of(day)
    # What is there may not have been synced: who wrote it was killed, or the disk failed.
    FILE.append(spool, identity, [] if said in FILE.words(spool, identity) else [said])


def begin(spool: Path, identity: str, days: Collection[int]) -> None:
    """Note what a store says of itself when it is first seen; later nothing. EvidenceError."""
    if announced(spool, identity) is None:
        FILE.append(spool, identity, [*map(date_of, sorted(days)), BEGINS])


def announced(spool: Path, identity: str) -> frozenset[int] | None:
    """Give the days of a store that were said; None if it was never seen. EvidenceError."""
    said = FILE.words(spool, identity)
    return frozenset(_days(said)) if BEGINS in said else None


def _days(said: Iterable[str]) -> Iterator[int]:
    for text in said:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            continue
        yield int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) // DAY
