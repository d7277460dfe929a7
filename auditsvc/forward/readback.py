"""Our own entries, read back from the journal: the only proof that they are there.

Entries go in batches, and each carries its batch's name in AUDITSVC_BATCH. That a whole
batch arrived is seen by counting the entries of that name, which costs a microsecond
each; only where some are missing are they looked at one by one.

Anybody may send any field, so an entry counts only if journald says that a process of
our own user sent it (`_UID`, taken from the socket's credentials).
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from systemd._reader import _Reader

from auditsvc.errors import JournalError
from auditsvc.forward.fields import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH: Final = "AUDITSVC_BATCH"
_EVENT: Final = "AUDITSVC_EVENT_ID"


class Entry(NamedTuple):
    """An entry of ours: its batch, and its event's id (None for the forwarder's own)."""

    batch: str
    event_id: int | None


class Readback:
    """Reads this host's journal; every method raises JournalError where that fails."""

    def __init__(self) -> None:
        self._uid = f"_UID={os.geteuid()}"
        self._reader: _Reader | None = None
        self._watched = ""
        self._counted = 0

    def reopen(self) -> None:
        """Look at the journal's files anew: journald may have come or changed them."""
        self.close()
        with _explained():
            self._reader = _Reader()
            self._reader.data_threshold = 0
            self._reader.fileno()  # from now on `process` notices new files

    def close(self) -> None:
        """Let go of the journal's files."""
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
        """Count the entries of a batch that are there; asked again, it counts on."""
        reader = self._open()
        with _explained():
            reader.process()
            if batch != self._watched:
                self._match(reader, batch)
            while reader._next():  # noqa: SLF001 - the public one reads every field
                self._counted += 1
            return self._counted

    def look(self, batch: str) -> set[int]:
        """Give the event ids of a batch that are there."""
        reader = self._open()
        with _explained():
            reader.process()
            self._match(reader, batch)
            self._watched = ""
            found: set[int] = set()
            while reader._next():  # noqa: SLF001
                event_id = _number(reader)
                if event_id is not None:
                    found.add(event_id)
            return found

    def first(self, batch: str) -> str | None:
        """Give the place of a batch's first entry."""
        reader = self._open()
        with _explained():
            self._match(reader, batch)
            self._watched = ""
            return str(reader._get_cursor()) if reader._next() else None  # noqa: SLF001

    def since(self, place: str) -> Iterator[Entry]:
        """Give our entries from a place on; JournalError if the journal does not hold it."""
        reader = self._open()
        with _explained():
            reader.flush_matches()
            reader.add_match(f"SYSLOG_IDENTIFIER={IDENTIFIER}")
            reader.add_match(self._uid)
            reader.seek_cursor(place)
            self._watched = ""
            while reader._next():  # noqa: SLF001
                try:
                    batch = reader._get(BATCH)  # noqa: SLF001
                except KeyError:
                    continue  # what another part of auditsvc said
                yield Entry(batch.decode(errors="replace"), _number(reader))

    def holds(self, place: str) -> bool:
        """Whether the entry of a place is still in the journal."""
        reader = self._open()
        with _explained():
            reader.flush_matches()
            reader.seek_cursor(place)
            self._watched = ""
            return bool(reader._next() and reader.test_cursor(place))  # noqa: SLF001

    def _match(self, reader: _Reader, batch: str) -> None:
        reader.flush_matches()
        reader.add_match(f"{BATCH}={batch}")
        reader.add_match(self._uid)
        reader.seek_head()
        self._watched, self._counted = batch, 0


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
            "run as root or a member of systemd-journal; `journalctl --verify` finds damage",
        ) from error
