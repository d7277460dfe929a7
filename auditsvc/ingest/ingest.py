"""`auditsvc ingest`: log files, or a journal, each from where reading stopped.

What must hold: reading a log twice adds nothing. If a file begins with the bytes of one that
was read before (compared by their hash), reading continues after them; any other file is read
from its beginning, and the store recognises what it already has. The files of one log are one
stream (`auditsvc.ingest.file_load`). The journal is read up to its present end, and the next
time from there.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from auditsvc.access import pending
from auditsvc.collect import logfile
from auditsvc.collect.journald.source import JournalSource
from auditsvc.decode import make_decoder
from auditsvc.errors import SpoolError
from auditsvc.ingest.file_load import FileLoad
from auditsvc.ingest.known_store import KnownStore
from auditsvc.ingest.load import Load, Route
from auditsvc.ingest.other_forms import advice
from auditsvc.ingest.part import first_stamp
from auditsvc.ingest.series import KIND, Heads, choose_series, read_head
from auditsvc.retention.report import note_for_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from auditsvc.config import Settings
    from auditsvc.decode.contract import Decoder
    from auditsvc.store import Store


_FOR_EVER: Final = 1e18
"""Seconds; finite, for all events end when infinity has passed."""
_BATCHES: Final = 2
"""Batches of the loader that are one here: nobody waits for the rows, and a page of an index that
several of them change is written once."""
_UNKNOWN: Final = (1 << 40, 0, 0)
"""Behind all others: a file without a record."""


class Ingest:
    """One run of `auditsvc ingest`."""

    def __init__(self, settings: Settings, files: Iterable[Path]) -> None:
        """Check every file before the first one is read; SpoolError if one cannot be read."""
        self._settings = settings
        self.errors: list[SpoolError] = []
        """Of files that could not be read to their end, or held no record."""
        self._heads = Heads()
        self._files = self._in_order([path for path in files if self._can_be_read(path)])
        self.total = sum(path.stat().st_size for path in self._files)
        """Bytes on disk."""
        self.current: Path | None = None
        """The file being read."""
        self.events = 0
        """Events that are new in the store."""
        self.duplicates = 0
        """Records that were already in the store."""
        self.notes: list[str] = []
        """What is worth a line each: lines that were no records."""
        self._loaded: dict[str, FileLoad] = {}  # the last one of each series

    def _can_be_read(self, path: Path) -> bool:
        logfile.open_log(path).close()
        try:
            read_head(path, 1)
        except OSError as error:
            raise logfile.unreadable(path, error) from error
        except SpoolError as error:  # its compression is damaged: the others are read
            self.errors.append(error)
            return False
        return True

    def _in_order(self, files: Iterable[Path]) -> list[Path]:
        """Oldest first within one log, and among logs of one folder; else in the order given.

        If the names do not show the order, the first records do.
        """
        logs: dict[str, list[Path]] = {}
        for path in dict.fromkeys(files):
            logs.setdefault(logfile.name_of(path).base, []).append(path)
        for each in logs.values():
            each.sort(key=lambda path: (logfile.name_of(path).order, self._age(path)))
        groups = list(logs.values())
        for folder in {group[0].parent for group in groups}:
            places = [n for n, group in enumerate(groups) if group[0].parent == folder]
            ordered = sorted((groups[n] for n in places), key=lambda group: self._age(group[0]))
            for place, group in zip(places, ordered, strict=True):
                groups[place] = group
        return [path for group in groups for path in group]

    def _age(self, path: Path) -> tuple[int, int, int]:
        return first_stamp(self._heads.of(path)) or _UNKNOWN

    def run(self, progress: Callable[[int], None]) -> None:
        """Read every file to its end; `progress` gets the bytes on disk that are done."""
        done = 0
        with _open_store(self._settings, self.notes) as store:
            for path in self._files:
                self.current = path
                if self._heads.of(path):  # an empty one has nothing yet
                    for moved in self._read(store, path):
                        progress(done + moved)
                done += path.stat().st_size
                progress(done)

    def _read(self, store: Store, path: Path) -> Iterator[int]:
        """Load one file; gives the bytes on disk that are done after each step."""
        series = self._series_of(store, path)
        # Time in a log is not the time of reading it: no event of it ends for being idle.
        make = partial(_make_decoder, self._settings, idle=_FOR_EVER)
        load = FileLoad(store, make, series, path, self._heads)
        for _ in _steps(load, self._settings):
            yield load.file.moved
        before = self._loaded.get(series)
        self._loaded[series] = load
        self.events += load.events
        self.duplicates += load.duplicates
        if load.raw_before and (before is None or before.file.error is None):
            self.notes.append(
                f"{path}: the file before it ends in a piece of a line, kept raw: {load.raw_before}"
            )
        self._judge(load)
        self._note_age(store, path)

    def _note_age(self, store: Store, path: Path) -> None:
        """Note what becomes of events that the store does not keep."""
        stamp = first_stamp(self._heads.of(path))
        if stamp is None:
            return
        retention = self._settings.retention
        if note := note_for_log(store.database, retention, stamp.second):
            self.notes.append(f"{path}: {note}")

    def _series_of(self, store: Store, path: Path) -> str:
        """Name the series; that of a log with other names if this file continues it."""
        own = choose_series(store, self._settings.host, path, self._heads)
        if store.find(KIND, own) is not None:
            return own
        for name, load in reversed(self._loaded.items()):
            if load.path.parent == path.parent and load.is_followed_by(self._heads.of(path)):
                return name
        return own

    def _judge(self, load: FileLoad) -> None:
        """Note the problems of a file."""
        path = load.path
        if load.file.error is not None:
            self.errors.append(load.file.error)  # and its last line was cut
        elif odd := load.odd:
            self.errors.append(SpoolError(f"{path}: no record in {odd}", advice(load.file.head)))
        elif load.raw:
            were = "line was not a record" if load.raw == 1 else "lines were not records"
            self.notes.append(
                f"{path}: {load.raw} {were} and kept raw; the first: {load.first_raw}"
            )


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
        self.notes: list[str] = []
        """Nothing, as yet."""
        self.errors: list[SpoolError] = []
        """Nothing either: they are raised."""

    def run(self, progress: Callable[[int], None]) -> None:
        """Read the entries of the journal; `progress` gets the bytes of log made so far."""
        source = self._source
        with _open_store(self._settings, self.notes) as store:
            decoder = partial(_make_decoder, self._settings)
            load = Load(store, Route("journal", source.name, source.open, decoder))
            begin = load.log.origin()
            for _ in _steps(load, self._settings):
                progress(load.log.origin() - begin)
        self.events += load.events
        self.duplicates += load.duplicates


def _open_store(settings: Settings, notes: list[str]) -> Store:
    store = KnownStore(settings.spool_directory, settings.store).open(remember=False)
    if problem := pending.load(store, settings.store):
        notes.append(problem)
    return store


def _steps(load: Load, settings: Settings) -> Iterator[None]:
    """Load a log to its end, and close it; yields after each step."""
    try:
        committed = False
        while not committed:
            while load.step():
                yield
                if load.is_full(settings.loader.batch_bytes, times=_BATCHES):
                    load.commit_behind()
            if load.make_room():
                load.finish()
                committed = load.commit()
        while load.store.settle(all_of_it=True):
            yield
    finally:
        load.close()


def _make_decoder(settings: Settings, secret: bytes, *, idle: float | None = None) -> Decoder:
    return make_decoder(
        settings.decoder_name,
        secret=secret,
        host=settings.host,
        idle=settings.loader.idle if idle is None else idle,
        trust_kernel_log=settings.ingest.trust_kernel_log,
    )
