"""Live follow: the events that arrive, as server-sent events for the page of events.

    follower = Follower(asker, criteria, after)
    html = follower.new()          # "" if nothing is new

A row is on the page within half a second after its call. The store is asked whether anything was
loaded twenty times a second, which reads a few rows, and only then what; over one connection, in
transactions that end at once: no reader holds back a checkpoint of SQLite or a vacuum of
PostgreSQL. (A notice by NOTIFY would cost each transaction of the writer, also while nobody
follows.) An id has the time of its event's begin, so what is new is looked for among the ids of
the last seconds; of what arrives faster than a person reads only the newest are shown, and the
page says so.

A stream ends with its client, with the server, and after an hour: the browser then asks again,
and has to pass the gate again. https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, StreamingResponse

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.errors import AuditsvcError
from auditsvc.search.statement import statement
from auditsvc.store.read.sql import open_session
from auditsvc.store.read.time_span import ALL, Span
from auditsvc.web import events
from auditsvc.web.key import Key
from auditsvc.web.numbers import number_in
from auditsvc.web.period import Period
from auditsvc.web.render import render

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from starlette.requests import Request
    from starlette.responses import Response

    from auditsvc.search.criteria import Criteria
    from auditsvc.web.asking import Asker, Asking

CLIENTS: Final = 8
"""Streams at a time."""
SHOWN: Final = 50
"""Events that are sent at a time; of more, the newest."""
_NEAR: Final = 10
"""Seconds before the newest event in which one that is new may have begun."""
_EVERY: Final = 0.05
"""Seconds between two looks; more if a look takes long."""
_BEAT: Final = 15.0
"""Seconds after which something is sent, so that a client that is gone is noticed."""
_LONGEST: Final = 3600.0
_NEWEST: Final = "SELECT max(id) FROM syscall UNION ALL SELECT max(id) FROM event"


class Follower:
    """Finds what is new; for one thread at a time."""

    def __init__(
        self, asking: Asking, criteria: Criteria, after: int | None, columns: tuple[str, ...]
    ) -> None:
        """`after`: the id from which on events are new; None: what is stored now is not."""
        self._asking = asking
        self._columns = columns
        self._criteria = replace(criteria, period=ALL)
        self._after = after or 0
        self._seen: set[int] = set()
        self._newest = -1
        self._loaded: object = None
        self._session = open_session(asking.url, asking.limits)
        try:
            if after is None:
                self._loaded = self._session.loaded()
                self._newest = self._look()
                self._seen = set(self._ids(self._newest))
        except BaseException:
            self._session.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def new(self) -> tuple[int, str]:
        """Give the highest id so far, and the rows of what is new as HTML, newest first."""
        loaded = self._session.loaded()
        if loaded == self._loaded:
            return self._newest, ""
        newest = self._look()
        # The first time all after an id that was given, which may be long ago.
        found = self._ids(newest if self._newest >= 0 else min(newest, self._after))
        # What was loaded since is in the next answer, and known by its id.
        self._newest, self._loaded = newest, loaded
        new = [each for each in found if each not in self._seen and each > self._after]
        self._seen = set(found)
        if not new:
            return newest, ""
        keys = [Key(each) for each in new[:SHOWN]]
        rows = events.sentences(self._asking.again(self._session), keys)
        return newest, render(
            "live_rows.html", rows=rows, more=len(new) > SHOWN, columns=self._columns
        )

    def _look(self) -> int:
        found = self._asking.again(self._session).rows(_NEWEST, shown=False).rows
        return max((int(row[0]) for row in found if row[0] is not None), default=0)

    def _ids(self, since: int) -> list[int]:
        low = max(0, (since >> SERIAL_BITS) - _NEAR)
        criteria = replace(self._criteria, period=Span(low=low))
        asking = self._asking.again(self._session)
        # More than are shown, so that what is seen already is known as such.
        sql = statement(criteria, asking.dialect, limit=10 * SHOWN, newest=True)
        return [int(row[0]) for row in asking.rows(sql, shown=False).rows]


class Live:
    """The streams of a server."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self.clients = 0
        """How many there are now."""
        self.is_ending = False

    async def follow(self, request: Request) -> Response:
        """Begin a stream."""
        if self.clients >= CLIENTS:
            return PlainTextResponse(f"{CLIENTS} pages follow already: close one.\n", 503)
        if self._asker.is_of_hosts:
            return PlainTextResponse("What arrives in a fleet cannot be followed.\n", 404)
        params = request.query_params
        criteria = await run_in_threadpool(
            events.criteria_in, params, self._asker.url, Period(ALL, "", "")
        )
        columns = events.columns_in(params)
        given = request.headers.get("last-event-id", "")
        asked: dict[str, str] = {"after": given} if given else dict(params)
        after = number_in(asked, "after")
        return StreamingResponse(
            self._stream(request, criteria, after, columns), media_type="text/event-stream"
        )

    async def _stream(
        self,
        request: Request,
        criteria: Criteria,
        after: int | None,
        columns: tuple[str, ...],
    ) -> AsyncIterator[str]:
        self.clients += 1
        try:
            with self._asker.recorded(request) as asking:
                try:
                    follower = await run_in_threadpool(Follower, asking, criteria, after, columns)
                    with follower:
                        yield "retry: 1000\n\n"
                        async for message in self._messages(follower):
                            yield message
                except (asyncio.CancelledError, GeneratorExit):
                    return  # the client went away: that is how a stream ends
        except AuditsvcError as error:
            yield message_of("failed", render("failed_part.html", what=error.what, hint=error.hint))
        finally:
            self.clients -= 1

    async def _messages(self, follower: Follower) -> AsyncIterator[str]:
        began = sent = time.monotonic()
        while not self.is_ending and time.monotonic() - began < _LONGEST:
            at = time.monotonic()
            newest, html = await run_in_threadpool(follower.new)
            now = time.monotonic()
            if html:
                yield message_of("rows", html, newest)
                sent = now
            elif now - sent > _BEAT:
                yield ": nothing new\n\n"
                sent = now
            await asyncio.sleep(max(_EVERY, now - at))


def message_of(kind: str, html: str, number: int | None = None) -> str:
    """Write a message: a name, an id from which a client goes on, and lines of data."""
    head = f"event: {kind}\n" + ("" if number is None else f"id: {number}\n")
    return head + "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"
