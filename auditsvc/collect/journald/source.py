"""The journal as a log: journald's own audit entries, as lines of records.

What must hold:

* Every entry is given once. The position is a sequence number for each chain of files
  (`folder`), so that neither the clock nor a file's name matters: a host whose clock was
  set back at a reboot loses nothing.
* What was deleted or damaged before it was read is counted in `missing` and reported.
* Only entries with journald's own field `_TRANSPORT=audit` are read; no program can send it.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from systemd import id128

from auditsvc.collect.journald.file import JournalFile
from auditsvc.collect.journald.folder import DamagedError, Folders, Header, is_archived, unreadable
from auditsvc.collect.journald.overflow import Overflow
from auditsvc.collect.journald.record import Lines
from auditsvc.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEW_SECONDS: Final = 5.0
"""A file without a header that is not older than this is just being made."""

_LOST: Final = "its entries were not all read"


class _Found(NamedTuple):
    """A file that was just opened."""

    path: Path
    header: Header
    descriptor: int


class JournalLog:
    """Implements `auditsvc.ingest.load.Log`.

    Its segment has for each chain the sequence number up to which it was read, as
    CHAIN:NUMBER in hex, followed by `.` if all files of the chain were read to their end.
    Its position counts the bytes given.
    """

    def __init__(
        self,
        folders: Folders,
        segment: str = "",
        position: int = 0,
        *,
        lines: Lines,
        report: Callable[[str], None],
        idle: Callable[[], None],
    ) -> None:
        """Continue at a position of `checkpoint`; SpoolError if that is impossible.

        `report` is called with what is missing; `idle` when there is nothing to read.
        """
        self.missing = 0
        self._folders = folders
        self._report = report
        self._line = lines.line
        self._idle = idle
        self._position = position
        self._reached: dict[str, int] = {}
        self._closed: set[str] = set()
        """Chains of which all files were read to their end."""
        self._files: dict[str, JournalFile] = {}
        """Files being read by file id, in the order of reading."""
        self._listing: list[tuple[Path, int]] = []
        self._known: set[str] = set()
        """Ids of files that are being read or were read to their end."""
        self._unbroken: set[str] = set()
        """Chains in which nothing can be missing between the position and the next file."""
        self._damaged: set[str] = set()
        """Names of files that cannot be opened."""
        self._restore(segment)
        reports: list[str] = []
        self._report = reports.append
        self._scan()
        if not self._known:
            self.close()
            why = "; ".join(reports) or f"{folders}: no file there is a journal"
            raise SpoolError(why, "give a journal's folder with --directory")
        self._report = report
        for what in reports:
            report(what)

    def checkpoint(self) -> tuple[str, int]:
        """Give how far each chain was read, and the number of bytes given."""
        chains = (
            f"{chain}:{number:x}{'.' if chain in self._closed else ''}"
            for chain, number in self._reached.items()
        )
        return " ".join((*chains, *(f"!{name}" for name in sorted(self._damaged)))), self._position

    def _restore(self, segment: str) -> None:
        for word in segment.split():
            if word.startswith("!"):
                self._damaged.add(word[1:])
                continue
            chain, _, number = word.partition(":")
            self._reached[chain] = int(number.rstrip("."), 16)
            if number.endswith("."):
                self._closed.add(chain)

    def origin(self) -> int:
        """Give where reading begins."""
        return self._position

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def read(self, limit: int) -> bytes:
        """Give up to about `limit` of the next bytes, whole lines; b"" when there are none yet."""
        data = self._take(limit)
        if not data and self._scan():
            data = self._take(limit)
        if not data:
            self._idle()
        self._position += len(data)
        return data

    # --- reading -------------------------------------------------------------------------

    def _take(self, limit: int) -> bytes:
        parts: list[bytes] = []
        left = limit
        for file_id, file in list(self._files.items()):
            final = file.is_final()  # before the last read, so that nothing can follow it
            if not file.begun:
                self._begin(file)
            if not file.vacuumed:
                got = self._take_of(file, left)
                parts += got
                left -= sum(map(len, got))
                if left <= 0:
                    break
                file.drained = file.header.tail
            if final:
                self._finish(file_id, file)
        return b"".join(parts)

    def _begin(self, file: JournalFile) -> None:
        """Check that nothing is missing before a file that is about to be read."""
        file.begun = True
        chain, head = file.header.chain, file.header.head
        if chain not in self._unbroken and head > self._reached.get(chain, head) + 1:
            self._miss(
                f"{file.path}: earlier files of the journal are deleted: entries were not read"
            )
            self._reached[chain] = head - 1
        self._unbroken.discard(chain)

    def _take_of(self, file: JournalFile, limit: int) -> list[bytes]:
        make_line = self._line
        lines: list[bytes] = []
        try:
            while limit > 0 and (entry := file.take()) is not None:
                lines.append(make_line(entry))
                limit -= len(lines[-1])
            if lines:
                self._reached[file.header.chain] = file.sequence()
        except OSError as error:
            raise unreadable(file.path, error) from error
        return lines

    def _finish(self, file_id: str, file: JournalFile) -> None:
        """Finish a file that was read to its end and will not grow."""
        chain, header = file.header.chain, file.header
        reached = file.drained if file.vacuumed else header.tail
        self._reached[chain] = max(self._reached.get(chain, 0), reached)
        if not file.vacuumed and (lost := file.unreadable_entries()):
            self._miss(f"{file.path}: damaged: {lost} of {header.entries} entries cannot be read")
        if file.is_deleted():
            self._listing = []  # the next files may be deleted too
        else:
            self._unbroken.add(chain)
        del self._files[file_id]
        file.close()
        if not file.vacuumed and not self._is_read(chain):
            self._closed.add(chain)

    def _is_read(self, chain: str) -> bool:
        """Whether a file of the chain is being read."""
        return any(file.header.chain == chain for file in self._files.values())

    def _miss(self, what: str) -> None:
        self.missing += 1
        self._report(what)

    # --- looking for files ---------------------------------------------------------------

    def _scan(self) -> bool:
        """Look for new and renamed files; gives whether there are any."""
        listing = self._folders.listing()
        if listing == self._listing:
            return False
        self._listing = listing
        found: list[_Found] = []
        for path, _ in listing:
            if (one := self._open(path)) is not None:
                found.append(one)
        began: dict[str, int] = {}
        for _, header, _ in sorted(found, key=lambda each: each.header.head):
            began.setdefault(header.chain, header.began)
        self._find_missing_chains(found)
        changed = False
        # Chains by the time of their first entry left, files by their position in the chain.
        found.sort(key=lambda each: (began[each.header.chain], each.header.chain, each.header.head))
        for one in found:
            changed |= self._add(one)
        return changed

    def _open(self, path: Path) -> _Found | None:
        """Open a file and read its header; None if that is impossible, or not possible yet."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            self._listing = []  # renamed since it was listed: look again
            return None
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            return _Found(path, Header.read(descriptor), descriptor)
        except OSError as error:  # a pipe has no places
            os.close(descriptor)
            raise unreadable(path, error) from error
        except (EOFError, DamagedError) as error:
            young = time.time() - os.fstat(descriptor).st_mtime < NEW_SECONDS
            os.close(descriptor)
            if young and isinstance(error, EOFError):
                self._listing = []
            else:
                self._damage(path, str(error) or "it is empty")
            return None

    def _add(self, found: _Found) -> bool:
        """Begin to read a new file, unless all of it was read before."""
        path, header, descriptor = found
        if header.file_id in self._known:
            os.close(descriptor)
            file = self._files.get(header.file_id)
            if file is None or file.path == path:
                return False
            file.path = path
            return True
        self._known.add(header.file_id)
        reached = self._reached.get(header.chain, 0)
        if is_archived(path, header) and header.tail <= reached:
            os.close(descriptor)
            return False
        try:
            file = JournalFile(path, descriptor, header, reached)
        except OSError as error:
            os.close(descriptor)
            self._damage(path, error.strerror or str(error))
            return False
        for other in self._files.values():
            other.superseded |= other.header.chain == header.chain
        self._files[header.file_id] = file
        self._closed.discard(header.chain)
        return True

    def _damage(self, path: Path, why: str) -> None:
        """Count a file that cannot be opened, once."""
        name = "_".join(path.name.split())
        if name not in self._damaged:
            self._damaged.add(name)
            self._miss(f"{path}: {why}: {_LOST}")

    def _find_missing_chains(self, found: list[_Found]) -> None:
        """Check that all chains that were not completely read still exist."""
        chains = {each.header.chain for each in found}
        for chain, number in list(self._reached.items()):
            if self._is_read(chain):
                continue
            if chain not in chains:
                if chain not in self._closed:
                    self._miss(f"the journal {chain} is deleted: {_LOST}")
                del self._reached[chain]
                self._closed.discard(chain)
            elif any(each.header.chain == chain and each.header.head <= number for each in found):
                self._unbroken.add(chain)  # the oldest files go first


class JournalSource:
    """A journal that can be opened as a log, again and again."""

    def __init__(
        self,
        directory: Path | None,
        host: str,
        report: Callable[[str], None],
        *,
        sees_journald: bool = True,
    ) -> None:
        """`directory`: all journals in it; None: this machine's own. May raise SpoolError.

        Entries of this machine and of `host` get no `node=`; `report` gets what is missing.
        `sees_journald`: look what journald lost; else another process does, that may look.
        """
        machine = machine_id()
        self._folders = Folders(directory, machine)
        self._lines = Lines(machine.encode(), host.encode())
        self._report = report
        self._overflow = Overflow(report) if directory is None and sees_journald else None
        self.name = str(directory.resolve()) if directory is not None else machine
        """Distinguishes this journal from others in the same store."""

    def open(self, segment: str, position: int) -> JournalLog:
        """Open it at a position of `JournalLog.checkpoint`; ("", 0) is its beginning."""
        return JournalLog(
            self._folders,
            segment,
            position,
            lines=self._lines,
            report=self._report,
            idle=self._look,
        )

    def _look(self) -> None:
        """Check whether this host's journald lost records before they became entries."""
        if self._overflow is not None:
            self._overflow.look(time.monotonic())


def machine_id() -> str:
    """Give this machine's id; SpoolError if it has none."""
    try:
        return str(id128.get_machine().hex)
    except OSError as error:
        raise SpoolError(
            f"this machine has no id: {error.strerror or error}", "see machine-id(5)"
        ) from error
