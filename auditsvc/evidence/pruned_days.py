"""The days that retention deleted, as the programs that deleted them said: a file beside the heads.

    pruned    one line for each: the store's identity and the date, UTC

A store says itself which days went (`pruned_day`), and who can write to it can say so of any day.
So who prunes says it here first, where only root and the service's user can write, and `verify`
takes the store's word for no other day.

Invariant: a day is in the file, synced, before the first of its events is deleted. Lines are only
appended. What a store said before it is first seen here stands as it was found (`BEGINS`).
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

from auditsvc.evidence.folder import Folder, evidence_error
from auditsvc.evidence.store_facts import identity_in
from auditsvc.host.files import open_file, read_file
from auditsvc.store.database import reading
from auditsvc.store.partitions import DAY, date_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from auditsvc.store.database import Database

NAME: Final = "pruned"
BEGINS: Final = "begins"
"""In the place of a date: the days of this store are in the file. It comes after those that were
found, so that a file that was cut in between (disk full, a crash) is begun again."""


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
    _append(spool, identity, [] if said in _said(spool, identity) else [said])


def begin(spool: Path, identity: str, days: Collection[int]) -> None:
    """Note what a store says of itself when it is first seen; later nothing. EvidenceError."""
    if Folder(spool).exists and announced(spool, identity) is None:
        _append(spool, identity, [*map(date_of, sorted(days)), BEGINS])


def announced(spool: Path, identity: str) -> frozenset[int] | None:
    """Give the days of a store that were said; None if it was never seen. EvidenceError."""
    said = _said(spool, identity)
    return frozenset(_days(said)) if BEGINS in said else None


def _said(spool: Path, identity: str) -> list[str]:
    path = Folder(spool).path / NAME
    try:
        lines = read_file(path).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise evidence_error(path, error) from error
    words = [line.split() for line in lines]
    return [each[1] for each in words if len(each) == 2 and each[0] == identity]


def _days(said: Iterable[str]) -> Iterator[int]:
    for text in said:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            continue
        yield int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) // DAY


def _append(spool: Path, identity: str, words: Iterable[str]) -> None:
    path = Folder(spool).path / NAME
    text = "".join(f"{identity} {word}\n" for word in words).encode()
    try:
        descriptor = open_file(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # of a crash
                text = b"\n" + text
            if os.write(descriptor, text) < len(text):
                raise OSError(28, os.strerror(28), str(path))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise evidence_error(path, error) from error
