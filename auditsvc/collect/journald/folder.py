"""The files of a journal, and their headers.

A journal file begins with a header (systemd's JOURNAL_FILE_FORMAT, "Header"), little
endian. These fields are used:

    file id        does not change when the file is renamed
    sequence id    shared by the files that one journald wrote one after another (a
                   chain); an entry's sequence number is unique in it and only grows
    head, tail     sequence numbers of the first and last entry

Audit entries are in the system's files, never in a user's (`user-*`): journald stores
them without a sender. A file is renamed once, when it is archived: to a name with `@`, or,
if it was found damaged or not closed, with `~` at the end; after that it does not grow.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from auditsvc.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER: Final = struct.Struct("<8s II B7x 16s 16s 16s 16s QQ QQ QQ QQ QQQQ Q")
_SIGNATURE: Final = b"LPKSHHRH"
_STATE_ARCHIVED: Final = 2
_NAMES: Final = re.compile(r"(?!user-).*\.journal~?", re.DOTALL)
_SYSTEM_NAMES: Final = re.compile(r"system(@.*)?\.journal~?", re.DOTALL)
_MACHINE: Final = re.compile(r"[0-9a-f]{32}(\..*)?", re.DOTALL)

_ROOTS: Final = (Path("/var/log/journal"), Path("/run/log/journal"))


class DamagedError(Exception):
    """Not a journal file, or its header is damaged."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a journal file."""

    file_id: str
    chain: str
    entries: int
    head: int
    tail: int
    began: int
    """Time of the first entry, in microseconds since 1970."""
    archived: bool

    @classmethod
    def read(cls, descriptor: int) -> Self:
        """Read it from an open file; DamagedError, or EOFError if it is not written yet."""
        data = os.pread(descriptor, _HEADER.size, 0)
        if len(data) < _HEADER.size or not any(data[:8]):
            raise EOFError
        signature, _, _, state, file_id, _, _, chain, *numbers = _HEADER.unpack(data)
        if signature != _SIGNATURE:
            raise DamagedError("not a journal file")
        entries, tail, head, _, began = numbers[-5:]
        return cls(file_id.hex(), chain.hex(), entries, head, tail, began, state == _STATE_ARCHIVED)


class Folders:
    """The folders of one journal."""

    def __init__(self, directory: Path | None, machine_id: str) -> None:
        """`directory`: read all below it; None: this machine's own journal.

        SpoolError if it cannot be read.
        """
        self.directory = directory
        if directory is None:
            self._roots = [root / machine_id for root in _ROOTS]
        else:
            self._roots = [directory]
        # Errors must be found before anything is read.
        found = False
        for path, _ in self.listing():
            found = True
            try:
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise unreadable(path, error) from error
        if not found:
            raise SpoolError(
                f"there is no journal in {self}",
                "start systemd-journald, or give its folder with --directory",
            )

    def __str__(self) -> str:
        return " or ".join(map(str, self._roots))

    def listing(self) -> list[tuple[Path, int]]:
        """Give the path and inode number of every file that may hold audit entries."""
        return sorted(self._list())

    def _list(self) -> Iterator[tuple[Path, int]]:
        for root in self._roots:
            yield from self._list_one(root, below=self.directory is not None)

    def _list_one(self, folder: Path, *, below: bool) -> Iterator[tuple[Path, int]]:
        names = _NAMES if self.directory is not None else _SYSTEM_NAMES
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if names.fullmatch(entry.name) and not entry.is_dir():
                        yield Path(entry.path), entry.inode()
                    elif below and _MACHINE.fullmatch(entry.name) and entry.is_dir():
                        yield from self._list_one(Path(entry.path), below=False)
        except FileNotFoundError:
            if self.directory is not None and folder == self.directory:
                raise SpoolError(
                    f"{folder}: no such directory", "give a journal's folder"
                ) from None
        except OSError as error:
            raise unreadable(folder, error) from error


def is_archived(path: Path, header: Header) -> bool:
    """Whether a file with this name and header does not grow any more."""
    return header.archived or path.name.endswith("~") or "@" in path.name


def unreadable(path: Path, error: OSError) -> SpoolError:
    """Make the error for a journal that could not be read."""
    hint = "give a journal's folder with --directory"
    if isinstance(error, PermissionError):
        hint = "run as root or as a member of the group systemd-journal"
    return SpoolError(f"{path}: {error.strerror or error}", hint)
