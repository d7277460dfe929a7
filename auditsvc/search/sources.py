"""What can be asked in place of the store: archive and store as one, or the fleet.

    source = archive(settings)              # or fleet(settings)
    with source.open() as session, session.ask(sql, limits, within) as result: ...
    with source.found(criteria, Page(50)) as found: ...

Both answer SQLite's SQL over views with the store's names (DuckDB does), and have no other
tables. They differ in how an event is known: in an archive by its id as in the store, in the
fleet by `host` and `store`, too. Neither package is imported before it is asked for.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

from auditsvc.arrow import use
from auditsvc.arrow.reach import EVERYTHING, Reach
from auditsvc.errors import ConfigError, UsageError
from auditsvc.search.dialect import SQLITE
from auditsvc.search.select import AT_ONCE, FIRST, Found
from auditsvc.search.statement import ALL, Page, statement
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.read.catalog import views_of
from auditsvc.store.read.limits import NO_LIMITS, Limits
from auditsvc.store.read.questions import newest_second

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from auditsvc.arrow.whole_events import Key
    from auditsvc.config import Settings
    from auditsvc.search.criteria import Criteria
    from auditsvc.store.read.events import Event
    from auditsvc.store.read.result import Result

ID: Final = ("event_id",)
OF_FLEET: Final = ("event_id", "host", "store")


class Session(Protocol):
    """Asks several questions, one after the other, of one state of the source."""

    def ask(
        self, sql: str, limits: Limits = NO_LIMITS, within: Reach = EVERYTHING
    ) -> AbstractContextManager[Result]:
        """Run one statement; QueryError and what the source has.

        `within`: it asks for nothing else, which then need not be read.
        """


@dataclass(frozen=True, slots=True)
class Source:
    """One such source."""

    name: str
    """As the option of the command line has it."""
    key: tuple[str, ...]
    """The columns by which an event is known, its id first."""
    of_store: bool
    """Whether it has all events of the store, by the same ids."""
    open: Callable[[], AbstractContextManager[Session]]
    newest_second: Callable[[], int | None]
    """Gives the second of the newest event; None if there is none."""
    columns: Callable[[], Mapping[str, Sequence[str]]]
    """Gives the columns of all views."""
    connection: Callable[[], AbstractContextManager[Connection | None]]
    """Opens the store, if it has the bytes of texts that are shown in another way."""
    place: str | None = None
    """What is recorded as the place that was read; None: the store."""
    report: Callable[[float], dict[str, Any]] | None = None
    """Gives what is known of each host; in: the seconds after which one is silent."""

    def statement(
        self,
        criteria: Criteria,
        *,
        limit: int | None = None,
        newest: bool = False,
        before: Key | None = None,
        after: int | None = None,
    ) -> str:
        """Give the SQL of a search, whose rows are keys; UsageError for what it cannot ask.

        `newest`, `before` and `after` as in `auditsvc.search.statement.statement`.
        """
        if criteria.place is not None and not self.of_store:
            raise UsageError(
                f"--container and --unit do not go with --{self.name}",
                "give --where \"container = 'ID'\" or --where \"unit = 'NAME'\"",
            )
        return statement(
            criteria,
            SQLITE,
            limit=limit,
            newest=newest,
            before=before,
            after=after,
            key=self.key,
            views_only=True,
        )

    def explained(self, criteria: Criteria, page: Page = ALL) -> str:
        """Give the SQL of a page of a search (whose key is the id alone, if it is after one)."""
        return self.statement(
            criteria,
            limit=page.limit,
            newest=page.newest,
            before=page.before,
            after=page.above,
        )

    @contextmanager
    def found(
        self, criteria: Criteria, page: Page = ALL, limits: Limits = NO_LIMITS
    ) -> Iterator[Found]:
        """Give the events one by one, as `auditsvc.search.select.found_events`."""
        with self.open() as session, self.found_in(session, criteria, page, limits) as found:
            yield found

    @contextmanager
    def found_in(
        self, session: Session, criteria: Criteria, page: Page, limits: Limits
    ) -> Iterator[Found]:
        """Give them, asked in a session."""
        sql, limit = self.explained(criteria, page), page.limit
        ask = session.ask
        with self.connection() as connection, ask(sql, limits, reach_of(criteria)) as result:
            keys = ((int(str(row[0])), *row[1:]) for row in result)
            # A limited question is read to its end: a session may have one at a time.
            yield Found(
                self._events(session, keys if limit is None else list(keys), limits), connection
            )

    def _events(self, session: Session, keys: Iterable[Key], limits: Limits) -> Iterator[Event]:
        keys, size, deadline = iter(keys), FIRST, limits.deadline()
        while part := list(islice(keys, size)):
            found = self.whole(session, part, limits.left(deadline))
            yield from (found[each] for each in part if each in found)
            size = AT_ONCE

    def whole(self, session: Session, keys: Sequence[Key], limits: Limits) -> dict[Key, Event]:
        """Read the events with these keys; one that is not there is left out."""
        read = use("auditsvc.arrow.whole_events").whole_events
        deadline = limits.deadline()

        def ask(sql: str, within: Reach) -> AbstractContextManager[Result]:
            return session.ask(sql, limits.left(deadline), within)

        found: dict[Key, Event] = read(ask, keys, self.key)
        return found


def is_of_hosts(source: Source | None) -> bool:
    """Whether what is asked has events of hosts that the store has not; None: it is the store."""
    return source is not None and not source.of_store


def reach_of(criteria: Criteria) -> Reach:
    """Give what a search asks for at most; where a process is, any time before can tell."""
    if criteria.place is not None:
        return EVERYTHING
    return Reach(criteria.period, criteria.hosts[0] if len(criteria.hosts) == 1 else None)


# --- archive and store as one -------------------------------------------------------------


def archive(settings: Settings) -> Source:
    """Give archive and store as one; ConfigError if there is none, or without its packages."""
    if settings.archive.to is None:
        raise ConfigError(
            "there is no archive", 'set archive.to = "/FOLDER" (AUDITSVC_ARCHIVE__TO)'
        )
    url, session = settings.store, _Archive(settings)
    return Source(
        "archive",
        ID,
        of_store=True,
        open=lambda: nullcontext(session),
        newest_second=partial(newest_second, url),
        columns=partial(_columns, url),
        connection=partial(_connected, url),
    )


class _Archive:
    """Asks archive and store: each question is a reading of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._run = use("auditsvc.archive.ask").run_archive_query

    def ask(
        self, sql: str, limits: Limits = NO_LIMITS, within: Reach = EVERYTHING
    ) -> AbstractContextManager[Result]:
        """As `Session`."""
        found: AbstractContextManager[Result]
        found = self._run(self._settings, sql, limits, within.span)
        return found


def _columns(url: str) -> dict[str, tuple[str, ...]]:
    return {view: tuple(each.name for each in found) for view, found in views_of(url).items()}


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    with open_store(url, read=True) as store, reading(store.database) as connection:
        yield connection


# --- the fleet ----------------------------------------------------------------------------


def fleet(settings: Settings) -> Source:
    """Give the fleet's table; ConfigError if there is none, or without its packages."""
    if settings.fleet.catalog is None:
        raise ConfigError("there is no catalog", "set fleet.catalog (AUDITSVC_FLEET__CATALOG)")
    reader = use("auditsvc.fleet.reader").Reader(settings)
    return Source(
        "fleet",
        OF_FLEET,
        of_store=False,
        open=reader.open,
        newest_second=reader.newest_second,
        columns=lambda: reader.columns,
        connection=nullcontext,
        place=use("auditsvc.fleet.query").place_of(settings),
        report=reader.report,
    )
