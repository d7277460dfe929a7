"""Runs the SQL of a page: read-only, within one time for all of it, and recorded.

    with asker.recorded(request) as asking:
        table = asking.rows("SELECT ...")

A page that shows rows is one row of the view `access`: command `web`, its address as options.

With another source than the store (`auditsvc.search.sources`) a page whose SQL is of the views
alone asks that (`whole` of `Asker.recorded`), all of it in one session; every other page asks the
store alone and says so.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from auditsvc.access.client import recording
from auditsvc.arrow.reach import EVERYTHING, Reach
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.host.terminal import visible
from auditsvc.search.criteria import Criteria
from auditsvc.search.dialect import SQLITE, dialect_of
from auditsvc.search.select import Found, found_events
from auditsvc.search.sources import ID, is_of_hosts
from auditsvc.search.statement import Page
from auditsvc.store.read.catalog import views_of
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.questions import newest_second
from auditsvc.store.read.sql import run_query
from auditsvc.store.read.time_span import ALL, Span
from auditsvc.web.key import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from starlette.requests import Request

    from auditsvc.access.client import Access
    from auditsvc.config import Settings
    from auditsvc.search.sources import Session, Source
    from auditsvc.store.read.limits import Stop
    from auditsvc.store.read.result import Result
    from auditsvc.store.read.session import Session as StoreSession

_LOG: Final = logging.getLogger(__name__)
_MEMORY: Final = 512 << 20
_ANY: Final = "sqlite://"
"""A URL whose words of SQL are SQLite's."""
MOST: Final = 10_000
"""Rows of one statement that are read at all."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as a page shows them; `more`: the statement had further ones."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    more: bool = False
    key: tuple[str, ...] = ID
    """The columns by which an event is known."""

    def address(self, row: Mapping[str, Any]) -> str:
        """Give the address of the event that a row names; "" if it names none."""
        known = all(row.get(name) is not None for name in self.key)
        return Key.of(self.key, row).address() if known else ""

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
        source: Source | None = None,
        open_: ExitStack | None = None,
        over: StoreSession | None = None,
    ) -> None:
        """`stop` ends what is asked when nobody waits for the answer any more.

        `source`: what is asked in place of the store; `open_` closes its session. `over`: what asks
        the store, else each statement has a connection of its own.
        """
        self.url = url
        self.source = source
        self._open = open_ or ExitStack()
        self._session: Session | None = None
        self._stop = stop
        self._over = over
        self.dialect = dialect_of(url) if source is None else SQLITE
        self.access = access
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    def again(self, over: StoreSession) -> Asking:
        """Give what asks the store for the same page, whose time begins now: a stream goes on."""
        assert self.source is None
        return Asking(self.url, self._seconds, self.access, self._stop, over=over)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns by which an event is known."""
        return ID if self.source is None else self.source.key

    @property
    def is_of_hosts(self) -> bool:
        """Whether it has the events of hosts that the store has not."""
        return is_of_hosts(self.source)

    @property
    def limits(self) -> Limits:
        """What is left of the page's time."""
        return Limits(self._seconds, _MEMORY, self._stop).left(self._ends)

    def rows(
        self,
        sql: str,
        most: int = MOST,
        within: Reach = EVERYTHING,
        *,
        shown: bool = True,
        views_only: bool = False,
    ) -> Table:
        """Run a statement and give its rows; `shown`: they count as rows that the page gives.

        `within`: it asks for nothing else, which a source other than the store need then not
        read. `views_only`: the statement is the user's.
        """
        with self._run(sql, within, views_only=views_only) as result:
            found = [tuple(row) for row in islice(result, most + 1)]
            columns = result.columns
        kept = found[:most]
        if shown:
            self.access.rows += len(kept)
        return Table(columns, kept, len(found) > most, self.key)

    def _run(self, sql: str, within: Reach, *, views_only: bool) -> AbstractContextManager[Result]:
        if self.source is not None:
            return self._in(self.source).ask(sql, self.limits, within)
        if self._over is not None:
            return self._over.run(sql, self.limits, ALL)
        return run_query(self.url, sql, self.limits, views_only=views_only)

    def _in(self, source: Source) -> Session:
        if self._session is None:
            self._session = self._open.enter_context(source.open())
        return self._session

    def events(self, criteria: Criteria, limit: int | None = None) -> AbstractContextManager[Found]:
        """Give whole events, as a search does."""
        if self.source is None:
            return found_events(self.url, criteria, Page(limit), self.limits)
        return self.source.found_in(self._in(self.source), criteria, Page(limit), self.limits)

    @contextmanager
    def one(self, key: Key) -> Iterator[Found]:
        """Give one whole event, or none."""
        second = key.id >> SERIAL_BITS
        criteria = Criteria(ids=(key.id,), period=Span(second, second))
        if self.source is None:
            with found_events(self.url, criteria, limits=self.limits) as found:
                yield found
            return
        read = self.source.whole(self._in(self.source), [key.values], self.limits)
        with self.source.connection() as connection:
            yield Found(iter(read.values()), connection)


class Asker:
    """The store of all pages, and how long a page may ask it."""

    def __init__(self, settings: Settings, seconds: float, source: Source | None = None) -> None:
        """`source`: pages that can ask it in place of the store do."""
        self.settings = settings
        self.source = source
        self.url = settings.store
        self.seconds = seconds
        self._told: set[str] = set()

    @property
    def alone(self) -> str:
        """What a page of the store alone does not ask; "" if there is nothing else."""
        return "" if self.source is None else self.source.name

    @property
    def is_of_hosts(self) -> bool:
        """Whether whole pages are of hosts that the store does not have."""
        return is_of_hosts(self.source)

    @property
    def words_of(self) -> str:
        """The URL of a store whose SQL is that of whole pages."""
        return self.url if self.source is None else _ANY

    @property
    def shown(self) -> str:
        """The name of what whole pages ask."""
        place = None if self.source is None else self.source.place
        return self.url.rpartition("@")[2] if place is None else place

    @property
    def newest(self) -> Callable[[], int | None]:
        """What gives the second of the newest event, for whole pages; None: there is none."""
        return self.newest_here if self.source is None else self.source.newest_second

    @property
    def newest_here(self) -> Callable[[], int | None]:
        """The same of the store."""
        return partial(newest_second, self.url)

    def columns(self) -> Mapping[str, Sequence[str]]:
        """Give the columns of all views that whole pages ask."""
        if self.source is not None:
            return self.source.columns()
        return {view: [each.name for each in of] for view, of in views_of(self.url).items()}

    @contextmanager
    def recorded(
        self, request: Request, sql: str | None = None, *, whole: bool = False
    ) -> Iterator[Asking]:
        """Have the page recorded, and give what it asks with.

        `whole`: of the other source, if there is one. What cannot be recorded is said on stderr,
        for each reason once, and on the page.
        """
        address = request.url.path
        if request.url.query:
            address += f"?{request.url.query}"
        source = self.source if whole else None
        place = None if source is None else source.place
        if source is not None and place is not None:  # the store's own record has no place
            address = f"--{source.name} {address}"
        with (
            recording(self.settings, "web", address, sql, place=place) as access,
            ExitStack() as open_,
        ):
            if access.reason and access.reason not in self._told:
                self._told.add(access.reason)
                _LOG.warning("pages are not recorded: %s", visible(access.reason))
            stop = getattr(request.state, "stop", None)
            yield Asking(self.url, self.seconds, access, stop, source=source, open_=open_)
