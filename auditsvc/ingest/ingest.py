"""`auditsvc ingest`: loads log files that no longer grow, or a journal, from its checkpoint.

Invariant: reading a log twice adds nothing. If a log begins with the same bytes as one that
was read before (by their hash), reading continues after them; any other log is read from
the beginning, and the store skips events that it already has. Of the journal, all entries
are read, and the next time only new ones.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from auditsvc.collect import logfile
from auditsvc.collect.journald.source import JournalSource
from auditsvc.decode import make_decoder
from auditsvc.ingest.known_store import KnownStore
from auditsvc.ingest.load import Load, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from auditsvc.config import Settings
    from auditsvc.decode.contract import Decoder
    from auditsvc.store import Store


class EndedFile:
    """A log that does not grow; its `segment` is the hash of the bytes read so far."""

    def __init__(self, path: Path, segment: str, position: int) -> None:
        self.path = path
        self.missing = 0
        self.position = 0
        self.moved = 0
        """Bytes of the file on disk that were read (compressed bytes of a compressed file)."""
        self._stream = logfile.open_log(path)
        self._hash = sha256()
        if position and not self._skip(position, segment):
            self._stream.seek(0)
            self.position = 0
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
        except logfile.READ_ERRORS as error:
            raise logfile.unreadable(self.path, error) from error
        self._hash.update(data)
        self.position += len(data)
        return data

    def checkpoint(self) -> tuple[str, int]:
        """Hash and number of the bytes read so far."""
        return self._hash.hexdigest(), self.position

    def origin(self) -> int:
        """Give the position where reading begins."""
        return self.position

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class Ingest:
    """One run of `auditsvc ingest`."""

    def __init__(self, settings: Settings, files: Iterable[Path]) -> None:
        """Check every file before the first one is read; SpoolError if one cannot be read."""
        self._settings = settings
        self._names = {path: logfile.fingerprint_of(path) for path in logfile.in_order(files)}
        self.total = sum(path.stat().st_size for path in self._names)
        """Bytes on disk."""
        self.current: Path | None = None
        """The file being read."""
        self.events = 0
        """Events that are new in the store."""
        self.duplicates = 0
        """Records that were already in the store."""

    def run(self, progress: Callable[[int], None]) -> None:
        """Read every file to its end; `progress` gets the bytes on disk that are done."""
        done = 0
        with _open_store(self._settings) as store:
            for path, name in self._names.items():
                self.current = path
                for moved in self._read(store, path, name):
                    progress(done + moved)
                done += path.stat().st_size
                progress(done)

    def _read(self, store: Store, path: Path, name: str) -> Iterator[int]:
        """Load one file; gives the bytes on disk that are done after each step."""
        files: list[EndedFile] = []

        def opened(segment: str, position: int) -> EndedFile:
            files.append(EndedFile(path, segment, position))
            return files[-1]

        load = Load(store, Route("file", name, opened, partial(_make_decoder, self._settings)))
        for _ in _steps(load, self._settings):
            yield files[-1].moved
        self.events += load.events
        self.duplicates += load.duplicates


class IngestJournal:
    """One run of `auditsvc ingest --journal`."""

    def __init__(
        self, settings: Settings, directory: Path | None, say: Callable[[str], None]
    ) -> None:
        """`directory` and `say` as for `JournalSource`."""
        self._settings = settings
        self._source = JournalSource(directory, settings.host, say)
        self.total = None
        self.current = "journal"
        self.events = 0
        """Events that are new in the store."""
        self.duplicates = 0
        """Records that were already in the store."""

    def run(self, progress: Callable[[int], None]) -> None:
        """Read the entries of the journal; `progress` gets the bytes of log made so far."""
        source = self._source
        with _open_store(self._settings) as store:
            decoder = partial(_make_decoder, self._settings)
            load = Load(store, Route("journal", source.name, source.open, decoder))
            begin = load.log.origin()
            for _ in _steps(load, self._settings):
                progress(load.log.origin() - begin)
        self.events += load.events
        self.duplicates += load.duplicates


def _open_store(settings: Settings) -> Store:
    return KnownStore(settings.spool_directory, settings.store).open(remember=False)


def _steps(load: Load, settings: Settings) -> Iterator[None]:
    """Load a log to its end, and close it; yields after each step."""
    try:
        committed = False
        while not committed:
            while load.step():
                yield
                if load.is_full(settings.loader.batch_bytes):
                    load.commit_behind()
            load.finish()
            committed = load.commit()
    finally:
        load.close()


def _make_decoder(settings: Settings, secret: bytes) -> Decoder:
    return make_decoder(
        settings.decoder_name,
        secret=secret,
        host=settings.host,
        idle=settings.loader.idle,
        trust_kernel_log=settings.ingest.trust_kernel_log,
    )
