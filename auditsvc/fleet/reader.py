"""SQL over the lake of the settings, for who asks often: the pages.

reader = Reader(settings)
with reader.open() as questions, questions.ask(sql, limits, within) as result: ...
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from auditsvc.arrow.reach import EVERYTHING
from auditsvc.errors import FleetError
from auditsvc.fleet.ask import COLUMNS, Files, Questions, asking, parse
from auditsvc.fleet.copies import Copies
from auditsvc.fleet.lake import explained, load_table, open_catalog, watermarks
from auditsvc.fleet.report import make_report
from auditsvc.fleet.scan import Scan
from auditsvc.store.read.limits import NO_LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from pyarrow import dataset
    from pyiceberg.catalog.rest import RestCatalog

    from auditsvc.arrow.reach import Reach
    from auditsvc.config import Settings
    from auditsvc.fleet.ask import Rows
    from auditsvc.fleet.copies import Kept
    from auditsvc.store.read.limits import Limits
    from auditsvc.store.read.result import Result

_FRESH: Final = 5.0
"""Seconds that a reader takes a snapshot for the newest one."""


class Reader:
    """Asks the lake often, from several threads: catalog and snapshot are kept for a while."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.fleet
        self._lock = threading.Lock()
        self._catalog: RestCatalog | None = None
        self._scan: Scan | None = None
        self._until = 0.0
        self._copies = Copies()

    @property
    def columns(self) -> Mapping[str, Sequence[str]]:
        """All views with their columns."""
        return COLUMNS

    @contextmanager
    def open(self) -> Iterator[Asked]:
        """Give what asks questions, all of one snapshot; FleetError."""
        with ExitStack() as stack:
            stack.enter_context(explained(self._settings))
            source, folders = self._source(stack)
            yield Asked(stack.enter_context(asking(source, folders=folders)))

    def _source(self, stack: ExitStack) -> tuple[Rows, tuple[str, ...]]:
        """Give the rows, and where their copies are; without a place for copies those of Arrow."""
        scan = self._newest()
        try:
            folder = self._copies.folder
        except OSError:
            return scan, ()
        return _Copied(scan, stack.enter_context(self._copies.kept())), (folder,)

    def newest_second(self) -> int | None:
        """Second of the newest event of all hosts; None if there is none. Reads no row.

        Not after now: else one host whose clock is ahead would move the pages of all.
        """
        marks = watermarks(self._newest().table).values()
        known = [each.newest // 1000 for each in marks if each.newest is not None]
        return min(max(known), int(time.time())) if known else None

    def report(self, silent: float) -> dict[str, Any]:
        """Give what the lake has of each host (`auditsvc.fleet.report`); FleetError."""
        return make_report(
            self._settings, silent=silent, table=self._newest().table, must_look=False
        )

    def _newest(self) -> Scan:
        """Give a snapshot that is not older than some seconds; FleetError."""
        with self._lock:
            if self._scan is None or time.monotonic() >= self._until:
                self._scan = None
                try:
                    self._catalog = self._catalog or open_catalog(self._settings)
                    self._scan = Scan(load_table(self._catalog, self._settings))
                except FleetError:
                    self._catalog = None  # it may be another one when it is back
                    raise
                self._until = time.monotonic() + _FRESH
            return self._scan


class _Copied:
    """The rows of a scan, by copies of its files where there can be any."""

    def __init__(self, scan: Scan, kept: Kept) -> None:
        self._scan, self._kept = scan, kept

    def rows(self, within: Reach) -> dataset.Dataset | Files:
        """See `auditsvc.fleet.ask.Rows`."""
        files = self._scan.sizes(within)
        paths = self._kept.of(self._scan.table.io, files) if files else None
        return self._scan.rows(within) if paths is None else Files(paths)


class Asked:
    """The questions of one snapshot, as SQL."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    @contextmanager
    def ask(
        self, sql: str, limits: Limits = NO_LIMITS, within: Reach = EVERYTHING
    ) -> Iterator[Result]:
        """Run one statement; its rows are to be read before the next one.

        `within` as in `Questions.ask`.
        """
        with self._questions.ask(parse(sql), limits, within) as result:
            yield result
