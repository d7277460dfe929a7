"""`auditsvc ingest`: logs that have ended, oldest first, each from where it was left.

What must hold: reading a log twice adds nothing. A log that begins like one that was
read before, and still holds the same bytes up to there (their hash says so), goes on
behind them; any other is read whole, and the store tells what it already has.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import IO, TYPE_CHECKING

from auditsvc import logfile
from auditsvc.decode import make_decoder
from auditsvc.errors import SpoolError
from auditsvc.loader import Load
from auditsvc.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from auditsvc.config import Settings
    from auditsvc.decode.interface import Decoder


class EndedFile:
    """A log that does not grow; its `segment` is the hash of the bytes read so far."""

    def __init__(self, path: Path, segment: str, position: int) -> None:
        self.path = path
        self.position = 0
        self.moved = 0
        """Bytes of the file on disk that were read (of a compressed one: of its packed form)."""
        self._stream: IO[bytes] = logfile.open_log(path)
        self._hash = blake2b(digest_size=16)
        if position and not self._skip(position, segment):
            self._stream.seek(0)
            self.position = 0
            self._hash = blake2b(digest_size=16)

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
        except logfile.READ_ERRORS as error:
            raise logfile.unreadable(self.path, error) from error
        self._hash.update(data)
        self.position += len(data)
        return data

    def checkpoint(self) -> tuple[str, int]:
        """Hash and number of the bytes read so far."""
        return self._hash.hexdigest(), self.position

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()


class Ingest:
    """One call of `auditsvc ingest`."""

    def __init__(self, settings: Settings, files: Iterable[Path]) -> None:
        """Every file is looked at before the first one is read: SpoolError names what is wrong."""
        self._settings = settings
        self.files = logfile.in_order(files)
        self._names = [logfile.fingerprint_of(path) for path in self.files]
        self.total = sum(path.stat().st_size for path in self.files)
        """Bytes on disk."""
        self.current = self.files[0]
        """The file being read."""
        self._counts: dict[str, int] = {}

    def run(self, progress: Callable[[int], None]) -> None:
        """Read every file to its end; `progress` is told the bytes on disk that are done."""
        done = 0
        store = open_store(self._settings.store)
        try:
            for path, name in zip(self.files, self._names, strict=True):
                self.current = path
                self._read(store, path, name, lambda moved, before=done: progress(before + moved))
                done += path.stat().st_size
                progress(done)
        finally:
            store.close()

    def _read(self, store: Store, path: Path, name: str, progress: Callable[[int], None]) -> None:
        def opened(segment: str, position: int) -> EndedFile:
            return EndedFile(path, segment, position)

        load = Load(store, ("file", name), self._make_decoder, opened)
        try:
            while load.step():
                progress(load.log.moved)
                if load.unwritten >= self._settings.loader.batch_bytes:
                    load.commit()
            load.finish()
            load.commit()
        finally:
            load.close()

    def _make_decoder(self, secret: bytes) -> Decoder:
        settings = self._settings
        return make_decoder(
            settings.decoder, secret=secret, host=settings.host, idle=settings.loader.idle
        )
