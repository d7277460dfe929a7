"""Events as they arrive, without a write to the store.

    with SpoolArrivals(...) as arrivals:
        while True:
            for event in arrivals.new(criteria): ...

The service's spool has every record in the order of arrival: from it each event comes once and
at once, however long ago it began, also while the database is away (`SpoolArrivals`). Its rows
are made in a small store of this process alone, so that a filter is the same SQL as in a search.

Who follows a store of other hosts has no spool: there the newest ids are asked for again and
again (`StoreArrivals`). An id has the time of its event's begin: one that began more than
`LATE` seconds before it arrived is not seen there.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from auditsvc.decode import make_decoder
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.errors import ClashError
from auditsvc.search.dialect import dialect_of
from auditsvc.search.live_places import LivePlaces
from auditsvc.search.statement import statement
from auditsvc.spool.reader import SpoolReader
from auditsvc.spool.segments import sizes
from auditsvc.store import Checkpoint, open_store
from auditsvc.store.database import reading
from auditsvc.store.databases import file_url
from auditsvc.store.read.events import Known, whole_events
from auditsvc.store.read.time_span import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from auditsvc.decode.batch import Batch
    from auditsvc.decode.contract import Decoder
    from auditsvc.search.criteria import Criteria
    from auditsvc.store import Store
    from auditsvc.store.read.events import Event

LATE: Final = 600
"""Seconds before an event's arrival in which it must have begun, where there is no spool."""
_FRESH: Final = 5
"""Seconds that are asked for each time; all of LATE is, every so many seconds."""
_STANDARD: Final = "SET LOCAL standard_conforming_strings = on"
_CHUNK: Final = 1 << 18
_AT_ONCE: Final = 500
_FULL: Final = 20_000
"""Events in the small store after which it is made anew."""


def _ask(store: Store, url: str, criteria: Criteria) -> list[int]:
    sql = statement(criteria, dialect_of(url))
    with reading(store.database) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(_STANDARD)
        found = connection.execution_options(no_parameters=True).exec_driver_sql(sql)
        return [int(row[0]) for row in found]


def _events(store: Store, ids: list[int], known: Known) -> Iterator[Event]:
    for at in range(0, len(ids), _AT_ONCE):
        with reading(store.database) as connection:
            part = whole_events(connection, ids[at : at + _AT_ONCE], known)
        yield from (each for each in part if each.host is not None)


class SpoolArrivals:
    """What is appended to a spool from now on."""

    def __init__(self, spool: Path, host: str, decoder: str | None = None) -> None:
        """`host` is the name of this host, `decoder` the one to use."""
        found = sizes(spool)
        last = max(found, default=0)
        self._reader = SpoolReader.at(spool, str(last), found.get(last, 0), found)
        self._host = host
        self._decoder_name = decoder
        self._stack = ExitStack()
        self._store: Store
        self._decoder: Decoder
        self._places: LivePlaces | None = None
        self._begin(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._stack.close()

    @property
    def missing(self) -> int:
        """Segments that were deleted before they were read."""
        return self._reader.missing

    def _begin(self, pending: bytes) -> None:
        """Make an empty store, and a decoder that has the records which are pending."""
        self._stack.close()
        folder = self._stack.enter_context(TemporaryDirectory(prefix="auditsvc-"))
        self._url = file_url(Path(folder) / "store.db")
        self._store = self._stack.enter_context(open_store(self._url))
        self._source = self._store.source("file", "spool").id
        self._decoder = make_decoder(self._decoder_name, secret=self._store.secret, host=self._host)
        self._decoder.restore(pending, time.monotonic())
        self._known = Known()
        self._seen: set[int] = set()
        self._count = 0

    def new(self, criteria: Criteria) -> Iterator[Event]:
        """Give the events that have arrived since the last call and meet the criteria."""
        for batch in self.written():
            yield from self._wanted(batch, criteria)
            if self.is_full:
                self.renew()

    @property
    def store(self) -> Store:
        """The small store, which has the rows of what was written since it was made."""
        return self._store

    @property
    def is_full(self) -> bool:
        """Whether the small store should be made anew."""
        return self._count > _FULL

    def renew(self) -> None:
        """Make the small store anew: it is empty then."""
        self._begin(self._decoder.pending())

    def written(self) -> Iterator[Batch]:
        """Write what has arrived since the last call to the small store; gives each batch."""
        more = True
        while more:
            data = self._reader.read(_CHUNK)
            more = bool(data)
            pending = self._decoder.pending()
            batch = self._decoded(data)
            if batch.facts.all_span() is None:
                continue
            try:
                self._write(batch)
            except ClashError:
                # Two texts have one id under this store's secret; another store has another.
                self._begin(pending)
                batch = self._decoded(data)
                self._write(batch)
            self._count += batch.facts.count
            yield batch

    def _decoded(self, data: bytes) -> Batch:
        now = time.monotonic()
        if data:
            self._decoder.feed(data, now)
        self._decoder.expire(now)
        return self._decoder.take()

    def _wanted(self, batch: Batch, criteria: Criteria) -> Iterator[Event]:
        span = batch.facts.all_span()
        if span is None:
            return
        period = Span(span[0] >> SERIAL_BITS, span[1] >> SERIAL_BITS)
        # Where processes are is not told by what has arrived.
        asked = replace(criteria, period=period.both(criteria.period), place=None)
        ids = [each for each in _ask(self._store, self._url, asked) if each not in self._seen]
        self._seen.update(ids)
        events = _events(self._store, ids, self._known)
        if (place := criteria.place) is None:
            yield from events
            return
        if self._places is None:
            self._places = LivePlaces(self._host)
        where = self._places.of_event
        yield from (event for event in events if place.takes(*where(event)))

    def _write(self, batch: Batch) -> None:
        self._store.write(self._source, batch, Checkpoint("1", 0, b""))


class StoreArrivals:
    """What is new among the latest events of a store, which may be that of other hosts."""

    def __init__(self, url: str, criteria: Criteria) -> None:
        """Those of `criteria` that are there already are not new."""
        self._url = url
        self._store = open_store(url, read=True)
        self._known = Known()
        self._whole_at = time.monotonic()
        try:
            self._seen = set(self._latest(criteria, LATE))
        except BaseException:
            self._store.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def _latest(self, criteria: Criteria, seconds: int) -> list[int]:
        since = Span(low=max(0, int(time.time()) - seconds))
        period = since.both(criteria.period)
        return _ask(self._store, self._url, replace(criteria, period=period))

    def new(self, criteria: Criteria) -> Iterable[Event]:
        """Give the events that were not there at the last call."""
        now = time.monotonic()
        is_whole = now - self._whole_at >= _FRESH
        found = self._latest(criteria, LATE if is_whole else 2 * _FRESH)
        new = [each for each in found if each not in self._seen]
        self._seen.update(new)
        if is_whole:
            self._whole_at = now
            self._seen = set(found)
        return _events(self._store, new, self._known)
