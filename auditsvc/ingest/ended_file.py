"""A log file that has ended, or will be read again once it has grown.

What must hold: if a file still begins with the bytes that were read (compared by their hash),
reading continues after them; any other file is read from its beginning.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from auditsvc.collect import logfile
from auditsvc.errors import SpoolError
from auditsvc.ingest.part import HEAD

if TYPE_CHECKING:
    from pathlib import Path


class EndedFile:
    """A log that does not grow; its `segment` is the hash of the bytes read so far."""

    def __init__(self, path: Path, segment: str, position: int) -> None:
        self.path = path
        self.missing = 0
        self.position = 0
        self.error: SpoolError | None = None
        """Why it ended before its end."""
        self.moved = 0
        """Bytes of the file on disk that were read (of a compressed one: of its packed form)."""
        self.head = b""
        """The first bytes, as far as they were read, up to HEAD."""
        self._stream = logfile.open_log(path)
        self._hash = sha256()
        if position and not self._skip(position, segment):
            self._stream.seek(0)
            self.position = 0
            self.head = b""
            self._hash = sha256()

    def _skip(self, position: int, digest: str) -> bool:
        while self.position < position:
            if not self.read(min(1 << 20, position - self.position)):
                return False
        return self._hash.hexdigest() == digest

    def read(self, limit: int) -> bytes:
        """Give up to `limit` of the next bytes; b"" at the end."""
        try:
            data = self._stream.read(limit)
            raw = getattr(self._stream, "fileobj", self._stream)
            self.moved = raw.tell() if data or self.position else 0
        except SpoolError as error:
            self.error, data = error, b""
        except logfile.READ_ERRORS as error:
            self.error, data = logfile.unreadable(self.path, error), b""
        self._hash.update(data)
        if len(self.head) < HEAD:
            self.head += data[: HEAD - len(self.head)]
        self.position += len(data)
        return data

    def checkpoint(self) -> tuple[str, int]:
        """Hash and number of the bytes read so far."""
        return self._hash.hexdigest(), self.position

    def origin(self) -> int:
        """Where reading begins."""
        return self.position

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
