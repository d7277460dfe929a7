"""The file of the private keys: two slots, written in turn through a descriptor that stays open.

    file = KeyFile(path)               # opened at each use: in a folder of our own
    file = KeyFile(path, descriptor)   # opened before privileges were dropped: the folder is closed
    file.content(), file.replace(content)

Written in place, so the folder need not be writable: it belongs to root, and a process without
capabilities passes not even to the file's name. A slot is whole or not there (its digest says
which), and the newer one counts: it is synced before the older one is filled with zeros, which
takes the old keys from the very blocks on a file system that writes in place.

    auditsvc-key 1 SERIAL LENGTH SHA256 newline CONTENT zeros

A file of an older program, which begins with a key in PEM, counts as a first slot.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Final

from auditsvc.errors import EvidenceError
from auditsvc.host.files import open_file

if TYPE_CHECKING:
    from pathlib import Path

_SLOT: Final = 4096
_SLOTS: Final = 2
_HEADER: Final = re.compile(rb"auditsvc-key 1 ([0-9]{1,18}) ([0-9]{1,4}) ([0-9a-f]{64})\n")
_OLDER: Final = b"-----BEGIN"


class KeyFile:
    """One file; `path` is for messages if a descriptor is given."""

    def __init__(
        self, path: Path, descriptor: int = -1, refused: EvidenceError | None = None
    ) -> None:
        """`refused`: why it could not be opened; then nothing can be signed, and that is said."""
        self.path = path
        self._descriptor = descriptor
        self._refused = refused

    @property
    def is_apart(self) -> bool:
        """Whether it was opened before privileges were dropped."""
        return self._descriptor >= 0

    def content(self) -> bytes:
        """Give what was written last; b"" if nothing was. EvidenceError, OSError."""
        descriptor = self._open()
        try:
            return self._newest(os.pread(descriptor, _SLOT * _SLOTS, 0))[1]
        finally:
            self._close(descriptor)

    def replace(self, content: bytes) -> None:
        """Write other content, synced, and take away what was there; OSError."""
        descriptor = self._open()
        try:
            data = os.pread(descriptor, _SLOT * _SLOTS, 0)
            try:
                serial = self._newest(data)[0]
            except EvidenceError:  # whoever calls has said so already
                serial = 0
            # An older program's keys, and nothing, are in the first slot, with number 0.
            at = (serial + 1) % _SLOTS
            header = f"auditsvc-key 1 {serial + 1} {len(content)} "
            text = f"{header}{hashlib.sha256(content).hexdigest()}\n".encode() + content
            if len(text) > _SLOT:
                raise ValueError("the keys are too long")
            for slot, filled in ((at, text), (1 - at, b"")):
                os.pwrite(descriptor, filled.ljust(_SLOT, b"\0"), slot * _SLOT)
                os.fdatasync(descriptor)
        finally:
            self._close(descriptor)

    def _open(self) -> int:
        if self._refused is not None:
            raise self._refused
        if self.is_apart:
            return self._descriptor
        return open_file(self.path, os.O_RDWR | os.O_CREAT)

    def _close(self, descriptor: int) -> None:
        if not self.is_apart:
            os.close(descriptor)

    def _newest(self, data: bytes) -> tuple[int, bytes]:
        return newest(data, self.path)


def newest(data: bytes, path: Path) -> tuple[int, bytes]:
    """Give number and content of the slot that counts, (0, b"") if nothing was ever written.

    EvidenceError if it was, and no slot is whole.
    """
    older = [(0, data[:_SLOT].rstrip(b"\0"))] if data.startswith(_OLDER) else []
    slots = (_slot(data[at : at + _SLOT]) for at in range(0, _SLOT * _SLOTS, _SLOT))
    found = older + [each for each in slots if each is not None]
    if found:
        return max(found, key=lambda each: each[0])
    if data.strip(b"\0"):
        raise EvidenceError(f"the key {path} is damaged", "delete it to go on with a new one")
    return 0, b""


def _slot(data: bytes) -> tuple[int, bytes] | None:
    header = _HEADER.match(data)
    if header is None:
        return None
    content = data[header.end() :][: int(header[2])]
    if hashlib.sha256(content).hexdigest() != header[3].decode():
        return None
    return int(header[1]), content
