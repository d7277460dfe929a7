"""The events that meet some criteria, read from a store in the order of time, or the last first.

The ids come from statements that each have a slice of the time (`auditsvc.search.slices`), and
run as `auditsvc query` runs them: read-only, within limits of time and memory, row by row. The
events of some hundred ids at a time are then read with all their records.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.search.dialect import dialect_of
from auditsvc.search.slices import slices
from auditsvc.search.statement import ALL, Page, statement
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.read.events import Event, Known, whole_events
from auditsvc.store.read.limits import NO_LIMITS
from auditsvc.store.read.sql import run_query

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from sqlalchemy import Connection

    from auditsvc.decode.batch import Row
    from auditsvc.search.criteria import Criteria
    from auditsvc.store.read.limits import Limits

FIRST: Final = 20
AT_ONCE: Final = 500
"""Events that are read at a time."""


class Found(NamedTuple):
    """The events that were found, to go through once, and the connection that reads them.

    None: they are not of a store.
    """

    events: Iterator[Event]
    connection: Connection | None


def explained(url: str, criteria: Criteria, page: Page = ALL) -> str:
    """Give the SQL of a search; in `auditsvc query` it gives the ids of the same events."""
    return statement(
        criteria,
        dialect_of(url),
        limit=page.limit,
        newest=page.newest,
        before=page.before,
        after=page.above,
    )


@contextmanager
def found_events(
    url: str, criteria: Criteria, page: Page = ALL, limits: Limits = NO_LIMITS
) -> Iterator[Found]:
    """Give the events one by one; StoreError or QueryError as `run_query` has them.

    The first ones come at once, whatever is asked. What was deleted between the reading of its
    id and of its rows is left out.
    """
    with (
        open_store(url, read=True) as store,
        reading(store.database) as connection,
        # Closed with the block: a statement that nobody reads to its end goes on otherwise.
        closing(_ids(url, criteria, page, limits)) as ids,
    ):
        yield Found(_events(connection, ids), connection)


def _ids(url: str, criteria: Criteria, page: Page, limits: Limits) -> Generator[int, None, None]:
    deadline, left = limits.deadline(), page.limit

    def ask(sql: str) -> list[Row]:
        with run_query(url, sql, limits.left(deadline)) as result:
            return list(result)

    for part in slices(criteria, dialect_of(url), ask, page=page):
        sql = part if left is None else f"{part} LIMIT {left:d}"
        with run_query(url, sql, limits.left(deadline)) as result:
            for row in result:
                yield int(str(row[0]))
                left = None if left is None else left - 1
        if left == 0:
            return


def _events(connection: Connection, ids: Iterable[int]) -> Iterator[Event]:
    known, ids, size = Known(), iter(ids), FIRST
    while part := list(islice(ids, size)):
        for event in whole_events(connection, part, known):
            if event.call is not None or event.event is not None:
                yield event
        size = AT_ONCE
