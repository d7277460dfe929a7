"""What of an archive is changed, missing or additional: for `auditsvc verify`.

The manifests are a chain; the evidence's last head has the number and digest of one of them, and so
proves all before it. Each manifest proves the files of its part.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditsvc.archive.manifest import listing, parse, part_of
from auditsvc.archive.place import open_place
from auditsvc.errors import ArchiveError
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.head import parse_head
from auditsvc.store.partitions import date_of

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.archive.manifest import Entry, File, Listing, Manifest
    from auditsvc.archive.place import Place
    from auditsvc.config import Settings


@dataclass(slots=True)
class Checked:
    """The result."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    """Files that were compared."""


def check_archive(settings: Settings) -> Checked:
    """Compare all files with their manifests, and these with the last head; ArchiveError."""
    place = open_place(settings.archive)
    names = listing(place.sizes())
    found = Checked()
    wanted: dict[str, File] = {}
    digests: dict[int, str] = {}
    for number, entry in enumerate(names.entries, 1):
        made = _manifest(place, entry, number, digests.get(number - 1, ""), found)
        digests[number] = hashlib.sha256(place.read(entry.name)).hexdigest()
        if made is not None and made.part and entry.day >= names.first_kept:
            wanted |= {each.name: each for each in made.files}
    _compare_head(settings, digests, found)
    for name, file in wanted.items():
        _compare(place, names, name, file, found)
    is_busy = _is_busy(settings.state_directory / "archive.lock")
    for name in sorted(set(names.sizes) - set(wanted) - {each.name for each in names.entries}):
        part = part_of(name)
        if part is not None and part[0] < names.first_kept:
            found.notes.append(f"archive: {name} is of a day that is to be deleted")
        elif is_busy and part is not None:
            found.notes.append(f"archive: {name} is being written")
        else:
            found.findings.append(f"{name} is additional: no manifest has it")
    return found


def _manifest(
    place: Place, entry: Entry, number: int, before: str, found: Checked
) -> Manifest | None:
    """Read a manifest, and see that it continues the one before."""
    if entry.n != number:
        found.findings.append(f"manifest {number} is missing, or is there twice")
    try:
        made = parse(place.read(entry.name))
    except ArchiveError:
        found.findings.append(f"{entry.name} is damaged")
        return None
    if made.name != entry.name or made.previous != before:
        found.findings.append(f"{entry.name} does not continue the one before: one was changed")
    try:
        is_signed = not made.head or parse_head(made.head).is_signed()
    except ValueError:
        is_signed = False
    if not is_signed:
        found.findings.append(f"{entry.name} has a head that is not signed")
    return made


def _compare_head(settings: Settings, digests: dict[int, str], found: Checked) -> None:
    """Compare the chain with the manifest that the last head names."""
    last = Folder(settings.spool_directory).last()
    signed = (last.store.get("archive") if last is not None else None) or [0, ""]
    number, digest = int(signed[0]), str(signed[1])
    if number > len(digests):
        found.findings.append(f"manifests after {len(digests)} are missing: {number} were signed")
    elif number and digests.get(number) != digest:
        found.findings.append(f"manifest {number} is not the one that was signed")
    if number < len(digests):
        found.notes.append(f"archive: not signed yet: manifests after {number}")


def _compare(place: Place, names: Listing, name: str, file: File, found: Checked) -> None:
    found.files += 1
    if name not in names.sizes:
        found.findings.append(f"{name} is missing")
        return
    data = place.read(name) if names.sizes[name] == file.bytes else b""
    if hashlib.sha256(data).hexdigest() != file.sha256:
        day = part_of(name)
        of = f" (a part of {date_of(day[0])})" if day else ""
        found.findings.append(f"{name} was changed{of}")


def _is_busy(lock: Path) -> bool:
    """Whether a pass is just writing."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
