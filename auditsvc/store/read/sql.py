"""SQL over the store: one statement, read-only by construction, rows one by one.

    with run_query(url, "SELECT * FROM syscalls LIMIT 3") as result:
        for row in result: ...

SQLite: the file is opened read-only, and an authorizer refuses everything but
reading. PostgreSQL: a read-only transaction, and a cursor that the server
declares, which takes one SELECT (or VALUES, TABLE, WITH) and nothing else;
EXPLAIN goes through the extended protocol, which takes one statement. A role
that may only read keeps what a superuser's functions could do beside that.

Rows are never all in memory. Values are the driver's.

    with one_session(url, limits):      # statements with these limits share a connection
        ...
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from auditsvc.errors import QueryError
from auditsvc.store.databases import parse_url
from auditsvc.store.read.limits import NO_LIMITS, Limits
from auditsvc.store.read.raw_tables import refuse_tables
from auditsvc.store.read.time_span import ALL, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.store.read.result import Result
    from auditsvc.store.read.session import Session


_MODULES: Final = {"sqlite": "sqlite", "postgresql": "postgres"}


@dataclass(slots=True)
class _Shared:
    """A connection that several statements use; opened for the first of them."""

    url: str
    limits: Limits
    session: Session | None = None
    is_used: bool = False
    """Whether a statement runs: one that is asked meanwhile has a connection of its own."""

    def fits(self, url: str, limits: Limits) -> bool:
        return not self.is_used and (url, limits) == (self.url, self.limits)

    @contextmanager
    def opened(self) -> Iterator[Session]:
        """Give the connection for a statement; after an error the next one has another."""
        session = self.session = self.session or open_session(self.url, self.limits)
        self.is_used = True
        try:
            yield session
        except BaseException:
            self.close()
            raise
        finally:
            self.is_used = False

    def close(self) -> None:
        if self.session:
            self.session.close()
        self.session = None


_shared: ContextVar[_Shared | None] = ContextVar("shared", default=None)


@contextmanager
def one_session(url: str, limits: Limits) -> Iterator[None]:
    """Have `run_query` use one connection for this store and these limits, one after the other.

    Of this thread only, and for `auditsvc`'s own statements. To open one costs more than most of
    them: SQLite reads the whole schema. A store that cannot be opened is an error of each.
    """
    outer = _shared.get()
    if outer and outer.fits(url, limits):
        yield
        return
    shared = _Shared(url, limits)
    token = _shared.set(shared)
    try:
        yield
    finally:
        _shared.reset(token)
        shared.close()


@contextmanager
def run_query(
    url: str,
    sql: str,
    limits: Limits = NO_LIMITS,
    period: Span = ALL,
    *,
    views_only: bool = False,
) -> Iterator[Result]:
    """Run one statement and give its rows; QueryError says in one line what is wrong with it.

    `period` bounds all views of events in it to these seconds. `views_only`: it is in a user's
    words, and must name no table of the store unless it says so (`raw_tables`).

    QueryError too for a statement that takes longer than `limits` allows. A caller that does not
    fetch the rows in time has to end that itself (`auditsvc.host.signals.alarm`). StoreError if
    the store cannot be reached or does not exist.
    """
    parsed = parse_url(url)
    _check_text(sql)
    if views_only:
        refuse_tables(parsed, sql)
    shared = _shared.get()
    if shared and not views_only and shared.fits(url, limits):
        with shared.opened() as session, session.run(sql, limits, period) as result:
            yield result
        return
    with (
        closing(open_session(url, limits)) as session,
        session.run(sql, limits, period) as result,
    ):
        yield result


def _check_text(sql: str) -> None:
    """See that there is a statement, and that it can be sent."""
    if not sql.strip().rstrip(";").strip():
        raise QueryError("the SQL is empty", "try: SELECT * FROM syscalls LIMIT 10")
    try:
        sql.encode()
    except UnicodeError as error:
        raise QueryError("the SQL has bytes that are not UTF-8", "write it in UTF-8") from error


def open_session(url: str, limits: Limits = NO_LIMITS) -> Session:
    """Open a connection for statements that `auditsvc` itself makes; the caller closes it.

    `limits`: those of the statements that are run; PostgreSQL is told them once. StoreError if the
    store cannot be reached or does not exist.
    """
    parsed = parse_url(url)
    # Only the driver in use is loaded (`auditsvc.store.databases`).
    module = import_module(f"auditsvc.store.read.sql_{_MODULES[parsed.get_backend_name()]}")
    session: Session = module.Session(parsed, limits)
    return session
