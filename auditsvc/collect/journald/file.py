"""One file of a journal, read entry by entry through libsystemd.

It is read from its open descriptor: one that is renamed or deleted meanwhile is read to
its end all the same. One that is vacuumed is not: journald overwrites what it deletes
(unlinkat_deallocate in src/basic/fs-util.c), so that no reader keeps the disk full.
libsystemd maps the file, so that a new entry shows at the next look, without being told.
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
        """As it was when `is_final` was asked last."""
        self.wiped = False
        """True if it was vacuumed: journald then overwrites what it held."""
        self.superseded = False
        """True if the next file of its chain is there."""
        self.begun = False
        """True if something was read of it."""
        self.drained = 0
        """Last sequence number of which it is known that all up to it was read."""
        self._descriptor = descriptor
        self._entries = _Entries(descriptor)
        self._ahead: dict[str, Value] | None = None
        if reached >= header.head:
            self._ahead = self._entries.seek_behind(header.chain, reached)

    def close(self) -> None:
        """Let go of it."""
        self._entries.close()
        os.close(self._descriptor)

    def take(self) -> dict[str, Value] | None:
        """Give the next audit entry; None if there is none yet."""
        ahead, self._ahead = self._ahead, None
        return ahead or self._entries.take()

    def sequence(self) -> int:
        """Sequence number of the entry given last."""
        return self._entries.sequence()

    def is_final(self) -> bool:
        """Tell whether it will not grow any more."""
        try:
            self.header = Header.read(self._descriptor)
        except (EOFError, DamagedError):
            self.wiped = True
        return (
            self.wiped
            or self.superseded
            or is_archived(self.path, self.header)
            or self.is_deleted()
        )

    def is_deleted(self) -> bool:
        """Tell whether it has no name any more."""
        return os.fstat(self._descriptor).st_nlink == 0

    def unreadable_entries(self) -> int:
        """How many of the entries that it should have cannot be reached."""
        if self.is_deleted():
            return 0  # libsystemd does not open it any more
        check = _Entries(self._descriptor, audit=False)
        try:
            return max(0, self.header.entries - check.count())
        finally:
            check.close()


class _Entries(journal.Reader):  # type: ignore[misc]
    """One file's entries, their fields as bytes.

    `Reader.get_next` converts every field, which takes five times as long as reading it.
    """

    def __init__(self, descriptor: int, *, audit: bool = True) -> None:
        # Not the descriptor itself: libsystemd would close it, or not, by how it fares.
        super().__init__(files=[f"/proc/self/fd/{descriptor}"])
        if audit:
            self.add_match(TRANSPORT)

    def take(self) -> dict[str, Value] | None:
        """Give the next entry; None if there is none yet."""
        return self._get_all() if self._next() else None

    def seek_behind(self, chain: str, sequence: int) -> dict[str, Value] | None:
        """Go behind the entry with this number; gives an entry if that was passed already."""
        self.seek_cursor(f"s={chain};i={sequence:x}")
        entry = self.take()
        return None if entry is None or self.sequence() <= sequence else entry

    def sequence(self) -> int:
        """Sequence number of the entry given last."""
        parts = dict(part.split("=", 1) for part in self._get_cursor().split(";"))
        return int(parts["i"], 16)

    def count(self) -> int:
        """Number of entries that can be reached; for a reader of its own."""
        number = 0
        while self._next():
            number += 1
        return number
