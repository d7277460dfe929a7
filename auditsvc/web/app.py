"""The addresses, and what each answers.

All of them are GET. An error of a user or of the store is a page with one line that says what
and what to do (`AuditsvcError`); anything else is status 500 without a word of its inside.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from auditsvc.errors import AuditsvcError, QueryError, UsageError
from auditsvc.render.rows import Format, write_rows
from auditsvc.search import formats
from auditsvc.search.records import records_of
from auditsvc.search.select import found_events
from auditsvc.status.glance import glance
from auditsvc.status.health import judge
from auditsvc.status.report import make_report
from auditsvc.store.read.catalog import views_of
from auditsvc.store.read.result import Result
from auditsvc.web import event, events, overview, proof
from auditsvc.web.asking import Asker
from auditsvc.web.gate import Gate, Sessions
from auditsvc.web.period import period_in
from auditsvc.web.render import STATIC, asset, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from auditsvc.config import Settings

_FOR_EVER: Final = "private, max-age=31536000, immutable"
_SMALL: Final = 500
"""Bytes below which an answer is not compressed."""
_ROWS: Final = 500
"""Rows of a query that are shown."""
_EXPORTS: Final = {"csv": "text/csv", "json": "application/json"}
_EXAMPLES: Final = (
    "SELECT time, sentence FROM story ORDER BY event_id DESC LIMIT 50",
    "SELECT exe, sum(calls) FROM activity GROUP BY exe ORDER BY 2 DESC LIMIT 20",
    "SELECT time, auid, exe, path, action FROM files WHERE name = '/etc/shadow' LIMIT 50",
    "SELECT time, name, command, options, rows, ended FROM access ORDER BY time DESC LIMIT 50",
)


class Pages:
    """The pages over one store."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._url = asker.url

    # --- overview ------------------------------------------------------------------------

    def overview(self, request: Request) -> Response:
        """Show counts, and places for what comes later."""
        narrowed = overview.Narrowed.of(request.query_params)
        period = period_in(request.query_params, self._url)
        if period.is_empty:
            return _page("empty.html", "Overview", store=self._url.rpartition("@")[2])
        with self._asker.recorded(request) as asking:
            hours = overview.hours(asking, period, narrowed)
            tops = overview.tops(asking, period, narrowed)
        query = urlencode(period.words | narrowed.values)
        return _page(
            "overview.html",
            "Overview",
            period=period,
            narrowed=narrowed,
            hours=hours,
            tops=tops,
            parts=overview.PARTS,
            query=query,
            reason=asking.access.reason,
        )

    def part(self, request: Request) -> Response:
        """Show one of the lists that come after the page."""
        name = request.path_params["name"]
        if name not in overview.PARTS:
            return _missing("There is no such list.")
        narrowed = overview.Narrowed.of(request.query_params)
        period = period_in(request.query_params, self._url)
        with self._asker.recorded(request) as asking:
            table = overview.part(asking, name, period, narrowed)
        return HTMLResponse(render("part.html", name=name, table=table))

    def health(self, request: Request) -> Response:
        """Show whether the service is well, as far as this user may know."""
        del request
        facts = make_report(self._asker.settings)
        known = judge(facts)
        refused = {each["refused"] for each in facts.values() if "refused" in each}
        problems = [
            each for each in known.problems if not any(each.endswith(why) for why in refused)
        ]
        lines = glance(facts, known, time.time(), 100)
        return HTMLResponse(
            render(
                "health.html",
                status=known.status,
                problems=problems,
                refused=sorted(refused),
                lines="\n".join(lines),
                verdict=lines[0],
            )
        )

    # --- events --------------------------------------------------------------------------

    def events(self, request: Request) -> Response:
        """Show one page of events, or only its rows for what is on the screen already."""
        params = request.query_params
        if "words" in params:
            period = period_in(params, self._url)
            found = events.from_words(params["words"])
            return RedirectResponse(events.address(found, period), 303)
        period = period_in(params, self._url)
        if period.is_empty:
            return _page("empty.html", "Events", store=self._url.rpartition("@")[2])
        criteria = events.criteria_in(params, self._url, period)
        before = events.number_in(params, "before")
        with self._asker.recorded(request) as asking:
            found_page = events.page(asking, criteria, before)
        further = None
        if found_page.next is not None:
            further = events.address(params, period, before=str(found_page.next))
        values: dict[str, Any] = {"page": found_page, "further": further}
        if request.headers.get("hx-request"):
            return HTMLResponse(render("event_rows.html", **values))
        return _page(
            "events.html",
            "Events",
            period=period,
            given=events.given(params),
            fields=events.FIELDS,
            words=events.to_words(params),
            command=events.command(params, period),
            exports={form: events.address(params, period, f"/events.{form}") for form in _EXPORTS},
            first=events.address(params, period),
            before=before,
            reason=asking.access.reason,
            **values,
        )

    def export(self, request: Request) -> Response:
        """Give the events as a file, in the order of time."""
        form = request.path_params["form"]
        if form not in _EXPORTS:
            return _missing("There is no such format: csv or json.")
        period = period_in(request.query_params, self._url)
        criteria = events.criteria_in(request.query_params, self._url, period)
        style = formats.Style(self._asker.settings.host, utc=True)
        out = io.StringIO()
        with (
            self._asker.recorded(request) as asking,
            found_events(self._url, criteria, limit=events.EXPORTED, limits=asking.limits) as found,
        ):
            counted = asking.access.counted(found.events)
            if form == "csv":
                extra = formats.Extra(keys=True)
                rows = (formats.csv_row(each, records_of(each), style, extra) for each in counted)
                result = Result(formats.csv_columns(extra), rows)
            else:
                result = Result(formats.JSON, map(formats.json_row, counted))
            write_rows(result, Format(form), out)
        return _file(out.getvalue(), f"events.{form}", _EXPORTS[form])

    def event(self, request: Request) -> Response:
        """Show one event."""
        number = events.number_in(request.path_params, "id")
        assert number is not None
        with self._asker.recorded(request) as asking:
            found = event.shown(asking, number)
        if found is None:
            return _missing("The store has no event of this id; retention may have deleted it.")
        process = f"/events?{urlencode(found.process)}" if found.process else ""
        return _page(
            "event.html", "Event", event=found, process=process, reason=asking.access.reason
        )

    def around(self, request: Request) -> Response:
        """Show the neighbours of an event, which can take longer to find than the event."""
        number = events.number_in(request.path_params, "id")
        assert number is not None
        with self._asker.recorded(request) as asking:
            rows = event.around(asking, number)
        return HTMLResponse(render("around.html", rows=rows, id=number))

    # --- SQL and proof -------------------------------------------------------------------

    def sql(self, request: Request) -> Response:
        """Show an editor, and the rows of its statement."""
        asked = request.query_params.get("q", "").replace("\r\n", "\n")
        table, error, reason, seconds = None, "", "", 0.0
        if asked.strip():
            began = time.monotonic()
            try:
                with self._asker.recorded(request, asked) as asking:
                    table = asking.rows(asked, _ROWS, views_only=True)
                    reason = asking.access.reason
            except QueryError as problem:
                error = str(problem)
            seconds = time.monotonic() - began
        return _page(
            "sql.html",
            "SQL",
            status=400 if error else 200,
            asked=asked,
            table=table,
            error=error,
            seconds=seconds,
            limit=self._asker.seconds,
            views=views_of(self._url),
            examples=_EXAMPLES,
            export=f"/sql.csv?{urlencode({'q': asked})}",
            reason=reason,
        )

    def sql_export(self, request: Request) -> Response:
        """Give the rows of a statement as CSV."""
        asked = request.query_params.get("q", "").replace("\r\n", "\n")
        out = io.StringIO()
        with self._asker.recorded(request, asked) as asking:
            table = asking.rows(asked, views_only=True)
        write_rows(Result(table.columns, table.rows), Format.CSV, out)
        return _file(out.getvalue(), "rows.csv", "text/csv")

    def ledger(self, request: Request) -> Response:
        """Show what was received, stored and lost."""
        with self._asker.recorded(request) as asking:
            found = proof.ledger(asking)
        return _page("ledger.html", "Ledger", found=found, reason=asking.access.reason)

    def coverage(self, request: Request) -> Response:
        """Show which processes are known to be covered."""
        with self._asker.recorded(request) as asking:
            found = proof.coverage(asking)
        return _page("coverage.html", "Coverage", found=found, reason=asking.access.reason)


def static(request: Request) -> Response:
    """Give a file of the package."""
    name = request.path_params["name"]
    if name not in STATIC:
        return _missing("There is no such file.")
    headers = {"cache-control": _FOR_EVER}
    return Response(asset(name), media_type=STATIC[name], headers=headers)


def _page(template: str, title: str, *, status: int = 200, **values: Any) -> Response:
    values.setdefault("reason", "")
    return HTMLResponse(render(template, title=title, **values), status)


def _file(text: str, name: str, kind: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(text.encode(errors="backslashreplace"), media_type=kind, headers=headers)


def _missing(what: str) -> Response:
    return _page("error.html", "Not found", status=404, what=what, hint="")


def _failed(request: Request, error: Exception) -> Response:
    """Show an expected error."""
    assert isinstance(error, AuditsvcError)
    status = 400 if isinstance(error, UsageError | QueryError) else 503
    if request.headers.get("hx-request"):
        return HTMLResponse(render("failed_part.html", what=error.what, hint=error.hint))
    return _page("error.html", "Error", status=status, what=error.what, hint=error.hint)


def make_app(settings: Settings, sessions: Sessions, seconds: float) -> Starlette:
    """Make the application; `seconds` is how long a page may ask the store, 0: for ever."""
    pages = Pages(Asker(settings, seconds))
    addresses: dict[str, Callable[[Request], Response]] = {
        "/": pages.overview,
        "/part/health": pages.health,
        "/part/{name}": pages.part,
        "/events": pages.events,
        "/events.{form}": pages.export,
        "/event/{id}": pages.event,
        "/event/{id}/around": pages.around,
        "/sql": pages.sql,
        "/sql.csv": pages.sql_export,
        "/ledger": pages.ledger,
        "/coverage": pages.coverage,
        "/static/{name}": static,
    }
    return Starlette(
        routes=[Route(path, answer) for path, answer in addresses.items()],
        middleware=[
            Middleware(Gate, sessions=sessions),
            Middleware(GZipMiddleware, minimum_size=_SMALL),
        ],
        exception_handlers={AuditsvcError: _failed},
    )
