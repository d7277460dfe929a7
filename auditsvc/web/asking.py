"""Runs the SQL of a page: read-only, within one time for all of it, and recorded.

    with asker.recorded(request) as asking:
        table = asking.rows("SELECT ...")

A page that shows rows is one row of the view `access`: command `web`, its address as options.

With an archive, a page whose SQL is of the views alone asks archive and store as one
(`whole` of `Asker.recorded`); every other page asks the store alone and says so.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from auditsvc.access.client import recording
from auditsvc.arrow import use
from auditsvc.search.dialect import dialect_of
from auditsvc.search.select import found_events, found_in_archive
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.sql import run_query
from auditsvc.store.read.time_span import ALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from starlette.requests import Request

    from auditsvc.access.client import Access
    from auditsvc.config import Settings
    from auditsvc.search.criteria import Criteria
    from auditsvc.search.select import Found
    from auditsvc.store.read.limits import Stop
    from auditsvc.store.read.result import Result
    from auditsvc.store.read.session import Session
    from auditsvc.store.read.time_span import Span

_MEMORY: Final = 512 << 20
MOST: Final = 10_000
"""Rows of one statement that are read at all."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as a page shows them; `more`: the statement had further ones."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    more: bool = False

    def named(self) -> list[dict[str, Any]]:
        """Give each row by the names of its columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Asking:
    """What one page asks."""

    def __init__(
        self,
        url: str,
        seconds: float,
        access: Access,
        stop: Stop | None = None,
        *,
        archive: Settings | None = None,
        session: Session | None = None,
    ) -> None:
        """`stop` ends what is asked when nobody waits for the answer any more.

        `archive`: the settings of the archive that the page is to ask, too. `session`: what asks
        the store, else each statement has a connection of its own.
        """
        self.url = url
        self.archive = archive
        self._stop = stop
        self._session = session
        self.dialect = dialect_of(url)
        self.access = access
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    def again(self, session: Session) -> Asking:
        """Give what asks for the same page, whose time begins now: a stream goes on for long."""
        return Asking(self.url, self._seconds, self.access, self._stop, session=session)

    @property
    def limits(self) -> Limits:
        """What is left of the page's time."""
        return Limits(self._seconds, _MEMORY, self._stop).left(self._ends)

    def rows(
        self,
        sql: str,
        most: int = MOST,
        period: Span = ALL,
        *,
        shown: bool = True,
        views_only: bool = False,
    ) -> Table:
        """Run a statement and give its rows; `shown`: they count as rows that the page gives.

        `views_only`: the statement is the user's.
        """
        with self._run(sql, period, views_only=views_only) as result:
            found = [tuple(row) for row in islice(result, most + 1)]
            columns = result.columns
        kept = found[:most]
        if shown:
            self.access.rows += len(kept)
        return Table(columns, kept, len(found) > most)

    def _run(self, sql: str, period: Span, *, views_only: bool) -> AbstractContextManager[Result]:
        if self._session is not None:
            return self._session.run(sql, self.limits, period)
        if self.archive is None:
            return run_query(self.url, sql, self.limits, period, views_only=views_only)
        ask: Callable[..., AbstractContextManager[Result]]
        ask = use("auditsvc.archive.ask").run_archive_query
        return ask(self.archive, sql, self.limits, period)

    def events(self, criteria: Criteria, limit: int | None = None) -> AbstractContextManager[Found]:
        """Give whole events, as a search does."""
        if self.archive is None:
            return found_events(self.url, criteria, limit=limit, limits=self.limits)
        return found_in_archive(self.archive, criteria, limit=limit, limits=self.limits)


class Asker:
    """The store of all pages, and how long a page may ask it."""

    def __init__(self, settings: Settings, seconds: float, *, archive: bool = False) -> None:
        """`archive`: pages that can ask archive and store as one do."""
        self.settings = settings
        self.archive = settings if archive else None
        self.url = settings.store
        self.seconds = seconds

    @property
    def is_alone(self) -> bool:
        """Whether there is an archive beside the store."""
        return self.archive is not None

    @contextmanager
    def recorded(
        self, request: Request, sql: str | None = None, *, whole: bool = False
    ) -> Iterator[Asking]:
        """Have the page recorded, and give what it asks with; `whole`: the archive, too."""
        address = request.url.path
        if request.url.query:
            address += f"?{request.url.query}"
        with recording(self.settings, "web", address, sql) as access:
            stop = getattr(request.state, "stop", None)
            archive = self.archive if whole else None
            yield Asking(self.url, self.seconds, access, stop, archive=archive)
