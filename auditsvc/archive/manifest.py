"""What an archive has, in the order in which it came: a chain of small JSON texts.

    manifests/00000012-2026-11-28-0001.json    part 1 of a day
    manifests/00000013-drop-2026-01-01.json    the days before this one are deleted
    2026-11-28/0001-syscalls.parquet           a file of a part

A part counts once its manifest is there, which is put last. Each manifest has the digest of every
file of its part, and that of the manifest before; the store has the digest of the last one
(`auditsvc.store.write.archived`), and the heads of the evidence sign it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from datetime import date as date_class
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.errors import ArchiveError
from auditsvc.store.partitions import date_of

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION: Final = 1
FOLDER: Final = "manifests"
_EPOCH: Final = date_class(1970, 1, 1)
_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_NAME: Final = re.compile(rf"{FOLDER}/([0-9]{{8}})-(?:({_DATE})-([0-9]{{4}})|drop-({_DATE}))\.json")
_FILE: Final = re.compile(rf"({_DATE})/([0-9]{{4}})-([a-z_]+)\.parquet")


def day_of_date(date: str) -> int:
    """Give the day of a date; ValueError."""
    return (date_class.fromisoformat(date) - _EPOCH).days


@dataclass(frozen=True, slots=True)
class File:
    """A file of a part."""

    name: str
    view: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One part of a day; or, with `part` 0, that the days before `day` are deleted."""

    n: int
    """From 1, without gaps."""
    previous: str
    """Digest of the manifest before, hex; "" for the first."""
    store: str
    """The store's identity (`auditsvc.ingest.known_store`)."""
    host: str
    day: str
    part: int
    """From 1; further parts have late events."""
    through: str
    """The last day that the archive has, with this part."""
    seq: int
    """The store's last arrival of which it has all events of these days."""
    events: int = 0
    files: tuple[File, ...] = ()
    head: str = ""
    """The newest head of the evidence when it was made: what the log held then; "" for none."""
    made: float = 0.0
    """Seconds since 1970."""
    version: int = field(default=VERSION)

    @property
    def name(self) -> str:
        """The name of its file."""
        what = f"{self.day}-{self.part:04d}" if self.part else f"drop-{self.day}"
        return f"{FOLDER}/{self.n:08d}-{what}.json"

    def text(self) -> str:
        """Give it as JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")) + "\n"

    def digest(self) -> str:
        """Give its digest, hex."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def parse(text: bytes) -> Manifest:
    """Read what `text` gave; ArchiveError if it is another text."""
    try:
        values = json.loads(text)
        files = tuple(File(**each) for each in values.pop("files"))
        found = Manifest(**values, files=files)
        day_of_date(found.day)
        day_of_date(found.through)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ArchiveError(
            "a manifest of the archive is damaged", "see `auditsvc verify`"
        ) from error
    if found.version != VERSION:
        raise ArchiveError("the archive is of a newer program", "use that one")
    return found


class Entry(NamedTuple):
    """What a manifest's name says."""

    n: int
    day: int
    part: int
    """0: the days before `day` are deleted."""
    name: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What the names in an archive say."""

    entries: tuple[Entry, ...]
    """In the order of their numbers."""
    sizes: dict[str, int]

    @property
    def last(self) -> Entry | None:
        """The newest one."""
        return self.entries[-1] if self.entries else None

    @property
    def first_kept(self) -> int:
        """The first day that is not deleted."""
        return max((each.day for each in self.entries if not each.part), default=0)

    def parts(self) -> dict[int, list[int]]:
        """Give the parts of each day that is kept."""
        found: dict[int, list[int]] = {}
        for each in self.entries:
            if each.part and each.day >= self.first_kept:
                found.setdefault(each.day, []).append(each.part)
        return dict(sorted(found.items()))

    def files(self, view: str, days: Iterable[int] | None = None) -> list[str]:
        """Give the files of a view, of some days, in the order of days and parts."""
        parts = self.parts()
        wanted = parts if days is None else [day for day in parts if day in days]
        names = (file_name(day, part, view) for day in wanted for part in sorted(parts[day]))
        return [name for name in names if name in self.sizes]


def file_name(day: int, part: int, view: str) -> str:
    """Give the name of a file."""
    return f"{date_of(day)}/{part:04d}-{view}.parquet"


def part_of(name: str) -> tuple[int, int] | None:
    """Give the day and part of a file by its name; None if it is none of an archive."""
    found = _FILE.fullmatch(name)
    return None if found is None else (day_of_date(found[1]), int(found[2]))


def listing(sizes: dict[str, int]) -> Listing:
    """Read the names of an archive's files."""
    entries = []
    for name in sizes:
        if found := _NAME.fullmatch(name):
            day, part = (found[2], int(found[3])) if found[2] else (found[4], 0)
            entries.append(Entry(int(found[1]), day_of_date(day), part, name))
    return Listing(tuple(sorted(entries)), sizes)
