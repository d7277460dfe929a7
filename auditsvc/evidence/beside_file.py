"""A file beside the heads with what this host's programs noted of its stores, a line for each word.

    noted = BesideFile("pruned")
    noted.append(spool, identity, ["2025-06-15"])
    noted.words(spool, identity)              # of one store: ["2025-06-15"]

A store can be written by who is neither root here nor the service's user, and then says whatever
he likes; this file cannot. Invariants: what is appended is synced before `append` returns, and
lines are only appended. A line that a crash cut is none.
"""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.evidence.folder import Folder, evidence_error
from auditsvc.host.files import open_file, read_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BEGINS: Final = "begins"
"""A word: what comes from now on is noted of this store. It comes after what was found then, so
that a file that was cut in between (disk full, a crash) is begun again."""


@dataclass(frozen=True, slots=True)
class BesideFile:
    """One such file, of any spool; EvidenceError if it cannot be read or written."""

    name: str

    def words(self, spool: Path, identity: str) -> list[str]:
        """Give what was noted of a store, in order."""
        path = Folder(spool).path / self.name
        try:
            data = read_file(path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise evidence_error(path, error) from error
        whole = data[: data.rfind(b"\n") + 1].decode(errors="replace")
        words = [line.split() for line in whole.split("\n")]
        return [each[1] for each in words if len(each) == 2 and each[0] == identity]

    def digest(self, spool: Path, identity: str, count: int | None = None) -> tuple[int, str]:
        """Give how many words were noted of a store, and their digest, hex; of the first `count`.

        As words are only appended, a head that has both binds them.
        """
        words = self.words(spool, identity)[:count]
        text = "".join(f"{word}\n" for word in words)
        return len(words), hashlib.sha256(text.encode(errors="replace")).hexdigest()

    def append(self, spool: Path, identity: str, words: Iterable[str]) -> None:
        """Note words without white space, synced; nothing is noted where nothing is signed."""
        folder = Folder(spool)
        if not folder.exists:
            return
        path = folder.path / self.name
        text = "".join(f"{identity} {word}\n" for word in words).encode()
        try:
            descriptor = open_file(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":  # of a crash
                    text = b"\n" + text
                if os.write(descriptor, text) < len(text):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise evidence_error(path, error) from error
