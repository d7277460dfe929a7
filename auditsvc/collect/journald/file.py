"""One file of a journal, read entry by entry through libsystemd.

It is read from its open descriptor: a file that is renamed or deleted meanwhile is still
read to its end. A vacuumed file is not: journald overwrites what it deletes
(unlinkat_deallocate in src/basic/fs-util.c), so that no reader keeps the disk full.
libsystemd maps the file, so a new entry is found at the next read, without notification.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from systemd import journal

from auditsvc.collect.journald.folder import DamagedError, Header, is_archived
from auditsvc.collect.journald.record import TRANSPORT

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.collect.journald.record import Value


class JournalFile:
    """A file that is being read."""

    def __init__(self, path: Path, descriptor: int, header: Header, reached: int) -> None:
        self.path = path
        self.header = header
        """As it was at the last call of `is_final`."""
        self.vacuumed = False
        """True if it was vacuumed: journald then overwrites its content."""
        self.superseded = False
        """True if the next file of its chain exists."""
        self.begun = False
        """True if reading it has begun."""
        self.drained = 0
        """All entries up to this sequence number were read."""
        self._descriptor = descriptor
        self._entries = _Entries(descriptor)
        self._ahead: dict[str, Value] | None = None
        if reached >= header.head:
            self._ahead = self._entries.seek_after(header.chain, reached)

    def close(self) -> None:
        """Close it."""
        self._entries.close()
        os.close(self._descriptor)

    def take(self) -> dict[str, Value] | None:
        """Give the next audit entry; None if there is none yet."""
        ahead, self._ahead = self._ahead, None
        return ahead or self._entries.take()

    def sequence(self) -> int:
        """Give the sequence number of the last entry."""
        return self._entries.sequence()

    def is_final(self) -> bool:
        """Whether it will not grow any more."""
        try:
            self.header = Header.read(self._descriptor)
        except (EOFError, DamagedError):
            self.vacuumed = True
        return (
            self.vacuumed
            or self.superseded
            or is_archived(self.path, self.header)
            or self.is_deleted()
        )

    def is_deleted(self) -> bool:
        """Whether it has no name any more."""
        return os.fstat(self._descriptor).st_nlink == 0

    def unreadable_entries(self) -> int:
        """Give how many of the entries that it should have cannot be read."""
        if self.is_deleted():
            return 0  # libsystemd does not open a deleted file
        check = _Entries(self._descriptor, audit=False)
        try:
            return max(0, self.header.entries - check.count())
        finally:
            check.close()


class _Entries(journal.Reader):  # type: ignore[misc]
    """One file's entries, their fields as bytes.

    `Reader.get_next` converts every field, which takes five times as long as to read it.
    """

    def __init__(self, descriptor: int, *, audit: bool = True) -> None:
        # Not the descriptor itself: libsystemd closes it in some cases only.
        super().__init__(files=[f"/proc/self/fd/{descriptor}"])
        if audit:
            self.add_match(TRANSPORT)

    def take(self) -> dict[str, Value] | None:
        """Give the next entry; None if there is none yet."""
        return self._get_all() if self._next() else None

    def seek_after(self, chain: str, sequence: int) -> dict[str, Value] | None:
        """Go to after the entry with this number; gives an entry if one was read on the way."""
        self.seek_cursor(f"s={chain};i={sequence:x}")
        entry = self.take()
        return None if entry is None or self.sequence() <= sequence else entry

    def sequence(self) -> int:
        """Give the sequence number of the last entry."""
        parts = dict(part.split("=", 1) for part in self._get_cursor().split(";"))
        return int(parts["i"], 16)

    def count(self) -> int:
        """Count the entries that can be read; for a separate reader."""
        number = 0
        while self._next():
            number += 1
        return number
