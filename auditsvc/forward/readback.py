"""Our own entries, read back from the journal: the only proof that they were written.

Entries are sent in batches, each with its batch's name in AUDITSVC_BATCH. To check that a
batch arrived, the entries with that name are counted, which costs a microsecond each; only
if some are missing are the entries read one by one, those of others too.

Any process may send any field, so an entry counts only if by journald's field `_UID`,
taken from the socket's credentials, a process of our own user sent it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from systemd._reader import _Reader

from auditsvc.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH: Final = "AUDITSVC_BATCH"
_EVENT: Final = "AUDITSVC_EVENT_ID"


class Entry(NamedTuple):
    """An entry of ours: its batch, and its event's id (None for the forwarder's own)."""

    batch: str
    event_id: int | None


class Readback:
    """Reads this host's journal; every method raises JournalError if that fails."""

    def __init__(self) -> None:
        self._uid = str(os.geteuid())
        self._reader: _Reader | None = None
        self._watched = ""
        self._counted = 0

    def reopen(self) -> None:
        """Open the journal's files again: journald may have started or changed them."""
        self.close()
        with _explained():
            self._reader = _Reader()
            self._reader.data_threshold = 0
            self._reader.fileno()  # from now on `process` notices new files

    def close(self) -> None:
        """Close the journal's files."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None
        self._watched = ""

    def _open(self) -> _Reader:
        if self._reader is None:
            self.reopen()
        assert self._reader is not None
        return self._reader

    def count(self, batch: str) -> int:
        """Count the entries of a batch in the journal; a repeated call continues counting."""
        reader = self._open()
        with _explained():
            reader.process()
            if batch != self._watched:
                self._match(reader, batch)
            while reader._next():  # noqa: SLF001 - the public one reads every field
                self._counted += 1
            return self._counted

    def first(self, batch: str) -> str | None:
        """Give the cursor of a batch's first entry; None if there is none."""
        reader = self._open()
        with _explained():
            self._match(reader, batch)
            self._watched = ""
            return str(reader._get_cursor()) if reader._next() else None  # noqa: SLF001

    def since(self, cursor: str) -> Iterator[Entry]:
        """Give our entries from a cursor on ("": all of them), whoever else wrote meanwhile.

        All entries are read, and ours chosen here: the journal's own choice by a field misses an
        entry in which journald was killed. It puts an entry into the list of all entries first,
        then into that of each of its fields (journal_file_link_entry in libsystemd).
        """
        reader = self._open()
        with _explained():
            reader.process()
            reader.flush_matches()
            if cursor:
                reader.seek_cursor(cursor)
            else:
                reader.seek_head()
            self._watched = ""
            while reader._next():  # noqa: SLF001
                if (batch := _text(reader, BATCH)) and _text(reader, "_UID") == self._uid:
                    yield Entry(batch, _number(reader))

    def holds(self, cursor: str) -> bool:
        """Whether the entry at a cursor is still in the journal."""
        reader = self._open()
        with _explained():
            reader.flush_matches()
            reader.seek_cursor(cursor)
            self._watched = ""
            return bool(reader._next() and reader.test_cursor(cursor))  # noqa: SLF001

    def _match(self, reader: _Reader, batch: str) -> None:
        reader.flush_matches()
        reader.add_match(f"{BATCH}={batch}")
        reader.add_match(f"_UID={self._uid}")
        reader.seek_head()
        self._watched, self._counted = batch, 0


def _text(reader: _Reader, name: str) -> str:
    """Give a field of the entry; "" if it has none."""
    try:
        return str(reader._get(name).decode(errors="replace"))  # noqa: SLF001
    except KeyError:
        return ""


def _number(reader: _Reader) -> int | None:
    try:
        return int(reader._get(_EVENT))  # noqa: SLF001
    except (KeyError, ValueError):
        return None


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JournalError(
            f"the journal cannot be read: {error.strerror}",
            "run as root or as a member of systemd-journal; `journalctl --verify` finds damage",
        ) from error
