"""One pass over a store: the days that are over, and what came late for archived ones.

    for _ in Job(store.database, settings).steps(): ...

A day is archived once it is over by `archive.grace`, whole: all its events, by their ids. Events
of archived days that arrive later are found by their arrivals, and go into a further part of
their day.

Invariants, whatever ends the program at whatever moment:

* A part counts once its manifest is there, which comes last. What is there without one is
  replaced by the next pass, which gives the part the same number.
* A manifest says up to which day and arrival the archive has the store (`through`, `seq`). The
  store says the same, for retention; where it has an older state the manifest counts. So no day
  is written twice, and none is deleted from the store before its manifest is there.
* No event is in two parts: a further part leaves out ids that its day has.
* A step reads some events in one transaction that only reads, and then nothing keeps writers out.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from pyarrow import parquet

from auditsvc.archive.manifest import (
    Listing,
    Manifest,
    day_of_date,
    file_name,
    listing,
    parse,
    part_of,
)
from auditsvc.archive.part import Part
from auditsvc.archive.place import TEMPORARY, open_place
from auditsvc.archive.rows import columns_by_view
from auditsvc.archive.views import ARCHIVED, BASE, Ids, ids_of_days
from auditsvc.arrow.events import last_id
from auditsvc.errors import ArchiveError, TooMuchError, of_system
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.stamps import first_stamp
from auditsvc.evidence.store_facts import identity_in, read_facts
from auditsvc.host.file_locks import only_one
from auditsvc.host.files import make_folder, open_file
from auditsvc.retention.archive_due import last_complete
from auditsvc.spool.identity import source_name
from auditsvc.spool.segments import Place as SpoolPlace
from auditsvc.spool.segments import segment_path, segments
from auditsvc.store import arrivals
from auditsvc.store.database import first_line, reading
from auditsvc.store.partitions import DAY, date_of, day_of
from auditsvc.store.write import archived
from auditsvc.store.write.archived import Archived
from auditsvc.store.write.prune import count_events, first_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from auditsvc.archive.place import Place
    from auditsvc.config import Settings
    from auditsvc.store.database import Database

_SIZE: Final = 32_768
"""Events of a step: about a second."""
_LINES: Final = 1 << 16
"""Bytes of a spool that are looked through for a stamp."""


class Due:
    """What a pass has to do."""

    def __init__(self, connection: Connection, state: Archived, last: int) -> None:
        """`last`: the last day that is complete."""
        self.state = state
        self.seq, _ = arrivals.last(connection)
        self.last = max(last, state.through)
        self.days: dict[int, list[Ids]] = {}
        """What to write, by day: first what came late, then whole days; all in order."""
        for low, high in archived.late(connection, state.through, state.seq):
            for day in range(day_of(low), day_of(high) + 1):
                whole = ids_of_days(day, day)
                ids = Ids(max(low, whole.low), min(high, whole.high))
                if count_events(connection, ids.low, ids.high):
                    self.days.setdefault(day, []).append(ids)
        low = arrivals.first_id(state.through + 1)
        while (first := first_event(connection, low)) is not None and day_of(first) <= last:
            self.days[day_of(first)] = [ids_of_days(day_of(first), day_of(first))]
            low = arrivals.first_id(day_of(first) + 1)

    @property
    def is_any(self) -> bool:
        """Whether there is anything to write or to note."""
        return bool(self.days) or self.last != self.state.through


class Job:
    """One pass; what it did is in its attributes, after each step."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        place: Place | None = None,
        size: int = _SIZE,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`size`: events of one step. ConfigError if there is no archive."""
        self.events: dict[int, int] = {}
        """Events that were archived, by day."""
        self.bytes = 0
        """Of their files."""
        self.dropped: list[str] = []
        """Days that the archive keeps no longer."""
        self._database = database
        self._settings = settings
        self._place = open_place(settings.archive) if place is None else place
        self._size = size
        self._now = now

    def list_due(self) -> dict[int, int]:
        """Count the events that a pass would archive now, by day; changes nothing."""
        with reading(self._database) as connection:
            state = archived.read(connection) or Archived()
            due = Due(connection, state, self._last_complete(connection))
            return {
                day: sum(count_events(connection, ids.low, ids.high) for ids in ranges)
                for day, ranges in due.days.items()
            }

    def steps(self) -> Iterator[None]:
        """Do everything, in short steps; ArchiveError, StoreError."""
        with only_one(self._settings.state_directory / "archive.lock", _refusal()):
            try:
                yield from self._steps()
            except pa.ArrowException as error:
                raise ArchiveError(f"archive {self._place.shown}: {first_line(error)}") from error
            except OSError as error:
                what = f"archive: {of_system(error)}"
                raise ArchiveError(what, "free disk space, or check owner and mode") from error

    def _last_complete(self, connection: Connection) -> int:
        """Give the last day that is over, and of which the spool has no line to load."""
        last = last_complete(self._settings.archive, self._now())
        second = first_unloaded(connection, self._settings.spool_directory)
        return last if second is None else min(last, second // DAY - 1)

    def _steps(self) -> Iterator[None]:
        names = listing(self._place.sizes())
        last = self._last(names)
        state = self._adopt(last)
        yield
        with reading(self._database) as connection:
            due = Due(connection, state, self._last_complete(connection))
            columns = columns_by_view(connection, ARCHIVED)
        for number, (day, ranges) in enumerate(due.days.items(), 1):
            is_last = number == len(due.days)
            through = due.last if is_last else max(state.through, day)
            seq = due.seq if is_last else state.seq
            wanted = Archived(through, seq, state.n, state.digest, self._place.shown)
            for made in self._write_day(day, ranges, columns, wanted):
                state = made or state
                yield
            names = listing(self._place.sizes())
        if state.seq != due.seq or state.through != due.last:
            state = Archived(due.last, due.seq, state.n, state.digest, self._place.shown)
            self._note(state)
        yield from self._drop_old(names, state)

    # --- where it goes on -----------------------------------------------------------------

    def _last(self, names: Listing) -> Manifest | None:
        if names.last is None:
            return None
        found = parse(self._place.read(names.last.name))
        if found.store != self._identity():
            raise ArchiveError(
                f"the archive {self._place.shown} is another store's",
                "give this store a folder or prefix of its own in archive.to",
            )
        return found

    def _identity(self) -> str:
        with reading(self._database) as connection:
            return identity_in(connection)

    def _adopt(self, last: Manifest | None) -> Archived:
        """Give the state from which to go on; the store's, or that of a newer manifest."""
        with self._database.begin(alone=True) as connection:
            state = archived.read(connection)
            if state is None:
                state = archived.begin(connection, self._place.shown)
            if state.n > (last.n if last else 0):
                raise ArchiveError(
                    f"the archive {self._place.shown} lacks what was archived in {state.place}",
                    "move all files there, or give that place in archive.to",
                )
            if last is not None and (last.n > state.n or last.digest() != state.digest):
                if last.n == state.n:
                    raise ArchiveError(
                        f"the last manifest in {self._place.shown} is not the one that was written",
                        "see `auditsvc verify`",
                    )
                through = max(day_of_date(last.through), state.through)
                state = Archived(through, last.seq, last.n, last.digest(), self._place.shown)
                archived.write(connection, state)
        return state

    def _note(self, state: Archived) -> None:
        with self._database.begin(alone=True) as connection:
            if archived.read(connection) is None:
                raise ArchiveError("the archive of this store was ended meanwhile", "start again")
            archived.write(connection, state)

    # --- one day --------------------------------------------------------------------------

    def _write_day(
        self,
        day: int,
        ranges: Sequence[Ids],
        columns: dict[str, tuple[str, ...]],
        wanted: Archived,
    ) -> Iterator[Archived | None]:
        """Write one part of a day; gives the state after it, if there was anything new."""
        names = listing(self._place.sizes())
        parts = names.parts().get(day, [])
        number = max(parts, default=0) + 1
        known = self._known(names, day) if parts else None
        with self._folder() as folder:
            part = Part(folder, columns, known)
            for ids in ranges:
                yield from self._read(part, ids)
            if not part.events:
                return
            with reading(self._database) as connection:
                made = part.finish(connection, ids_of_days(day, day), wanted.n + 1)
            yield None
            for name in names.sizes:  # of a pass that was ended
                if part_of(name) == (day, number):
                    self._place.delete(name)
            files = tuple(part.file(view, file_name(day, number, view)) for view in made)
            for each in files:
                self._place.put(each.name, made[each.view])
                yield None
            manifest = Manifest(
                n=wanted.n + 1,
                previous=wanted.digest,
                store=self._identity(),
                host=self._settings.host,
                day=date_of(day),
                part=number,
                through=date_of(wanted.through),
                seq=wanted.seq,
                events=part.events,
                files=files,
                head=Folder(self._settings.spool_directory).last_text(),
                made=round(self._now(), 3),
            )
            self._put(manifest, folder)
        state = Archived(
            wanted.through, wanted.seq, manifest.n, manifest.digest(), self._place.shown
        )
        self._note(state)
        self.events[day] = self.events.get(day, 0) + part.events
        self.bytes += sum(each.bytes for each in files)
        yield state

    def _read(self, part: Part, ids: Ids) -> Iterator[None]:
        after, size = ids.low - 1, self._size
        while True:
            with reading(self._database) as connection:
                last = last_id(connection, after, ids.high, size)
                if last is None:
                    return
                try:
                    part.add(connection, Ids(after + 1, last))
                except TooMuchError:
                    if size < 2:
                        raise
                    size //= 2
                    continue
            after, size = last, min(self._size, size * 2)
            yield None

    def _known(self, names: Listing, day: int) -> pa.Array:
        """Give the ids of the events that the archive has of a day."""
        files, start = self._place.files()
        found = [
            parquet.read_table(start + name, columns=["event_id"], filesystem=files)["event_id"]
            for view in BASE
            for name in names.files(view, [day])
        ]
        return pa.chunked_array([c for each in found for c in each.chunks], pa.int64())

    def _put(self, manifest: Manifest, folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(manifest.text())
        self._place.put(manifest.name, path, is_last=True)

    def _folder(self) -> _Temporary:
        above = self._place.folder or self._settings.state_directory / "archive"
        return _Temporary(above / TEMPORARY)

    # --- what is kept ---------------------------------------------------------------------

    def _drop_old(self, names: Listing, state: Archived) -> Iterator[None]:
        days = self._settings.archive.days
        if days is not None:
            before = int(self._now()) // DAY - days
            gone = [day for day in names.parts() if day < before]
            if gone:
                drop = Manifest(
                    n=state.n + 1,
                    previous=state.digest,
                    store=self._identity(),
                    host=self._settings.host,
                    day=date_of(before),
                    part=0,
                    through=date_of(state.through),
                    seq=state.seq,
                    head=Folder(self._settings.spool_directory).last_text(),
                    made=round(self._now(), 3),
                )
                with self._folder() as folder:
                    self._put(drop, folder)
                self._note(
                    Archived(state.through, state.seq, drop.n, drop.digest(), self._place.shown)
                )
                self.dropped = [date_of(day) for day in gone]
                names = listing(self._place.sizes())
        for name in list(names.sizes):
            found = part_of(name)
            if found is not None and found[0] < names.first_kept:
                self._place.delete(name)
                yield


def first_unloaded(connection: Connection, spool: Path) -> int | None:
    """Give the second of the spool's first line that is not in the store; None if there is none."""
    there = segments(spool) if spool.is_dir() else []
    if not there:
        return None
    place = SpoolPlace(*read_facts(connection, source_name(spool), with_origins=False).checkpoint)
    for segment in there:
        start = place.position if segment == place.segment else 0
        if segment < place.segment:
            continue
        descriptor = open_file(segment_path(spool, segment))
        try:
            lines = os.pread(descriptor, _LINES, start)
        finally:
            os.close(descriptor)
        for line in lines.splitlines(keepends=True):
            if stamp := first_stamp(line):
                return int(stamp.partition(".")[0])
    return None


class _Temporary:
    """A folder for the files of a part that is not there yet; emptied before and after."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        shutil.rmtree(self._path, ignore_errors=True)
        return make_folder(self._path)

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def _refusal() -> ArchiveError:
    return ArchiveError("another program writes the archive just now", "wait for its end")
