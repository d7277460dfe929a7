"""What arrived since the last search of the same name: ausearch's --checkpoint.

ausearch keeps a file with the last event's time, serial and the log's inode, and looks for it
in the rotated logs. Here the store keeps the place of a reader (`auditsvc.store.read.feed`): so
late events come too, and no rotation can lose the place. This is the one search that writes to
the store.

The first search of a name gives all events so far; one that arrives while it runs may be given
again by the second. After that each event comes once. The place moves on when all events were
taken, whether or not they met the criteria.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from auditsvc.search.select import Found, explained, found_events
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.read.events import Event, Known, whole_events
from auditsvc.store.read.feed import Feed, Position
from auditsvc.store.read.limits import NO_LIMITS
from auditsvc.store.read.selection import EVERY_TYPE, Selection
from auditsvc.store.read.sql import run_query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from auditsvc.search.criteria import Criteria
    from auditsvc.store.read.limits import Limits

_ANY: Final = Selection(keyed=False, exclude_keys=(), types=(EVERY_TYPE,))
_AT_ONCE: Final = 500
_BEGUN: Final = "searched"


class _Reader:
    """Reads what arrived since the place of a reader, and knows the place behind it."""

    def __init__(self, url: str, feed: Feed, criteria: Criteria, limits: Limits) -> None:
        self._url = url
        self._feed = feed
        self._criteria = criteria
        self._limits = limits
        self.end: Position = feed.position
        self.is_done = False

    def events(self, connection: Connection) -> Iterator[Event]:
        known, more = Known(), True
        while more:
            part = self._feed.ids(_ANY, _AT_ONCE, self.end)
            if part.ids:
                sql = explained(self._url, replace(self._criteria, ids=tuple(part.ids)))
                with run_query(self._url, sql, self._limits) as result:
                    wanted = {int(str(row[0])) for row in result}
                ids = [each for each in part.ids if each in wanted]
                for event in whole_events(connection, ids, known):
                    if event.host is not None:
                        yield event
            self.end, more = part.end, part.more
        self.is_done = True


@contextmanager
def events_since(
    url: str, name: str, criteria: Criteria, limits: Limits = NO_LIMITS
) -> Iterator[Found]:
    """Give the events since the last search of this name; its place moves on at the end.

    It does not if not all events were taken. StoreError if the store cannot be written.
    """
    with open_store(url, create=False) as store:
        feed = Feed(store, _reader(name))
        if feed.note != _BEGUN:
            with found_events(url, criteria, limits=limits) as found:
                taken = _Taken(found.events)
                yield Found(iter(taken), found.connection)
            if taken.is_done:
                feed.save(feed.position, _BEGUN)
            return
        reader = _Reader(url, feed, criteria, limits)
        with open_store(url, read=True) as other, reading(other.database) as connection:
            yield Found(reader.events(connection), connection)
        if reader.is_done:
            feed.save(reader.end, _BEGUN)


class _Taken:
    """Passes events on, and knows whether all were taken."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self.is_done = False

    def __iter__(self) -> Iterator[Event]:
        yield from self._events
        self.is_done = True


def forget(url: str, name: str) -> None:
    """Delete the place of a name: the store keeps nothing for it any more."""
    with open_store(url, create=False) as store:
        Feed(store, _reader(name)).unregister()


def _reader(name: str) -> str:
    return f"search {name}"
