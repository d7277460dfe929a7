"""The pages of the store as a whole, of events and of what is missing."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.responses import RedirectResponse, Response

from auditsvc.arrow import use
from auditsvc.render.rows import Format, write_rows
from auditsvc.search import formats
from auditsvc.search.records import records_of
from auditsvc.store.read.result import Result
from auditsvc.web import event, events, overview, parts, proof
from auditsvc.web.answers import as_file, is_part, missing, page, part, store_page
from auditsvc.web.key import Key
from auditsvc.web.period import period_in

if TYPE_CHECKING:
    from starlette.requests import Request

    from auditsvc.web.asking import Asker

_EXPORTS: Final = {
    "csv": "text/csv",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}


class Pages:
    """The pages over one store."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    # --- overview ------------------------------------------------------------------------

    def overview(self, request: Request) -> Response:
        """Show counts, and places for what comes later."""
        narrowed = overview.Narrowed.of(request.query_params)
        period = period_in(request.query_params, self._asker.newest)
        if period.is_empty:
            return self._empty("Overview")
        with self._asker.recorded(request, whole=True) as asking:
            hours, tops = overview.counts_of(asking, period, narrowed)
        query = urlencode(period.words | narrowed.values)
        return page(
            "overview.html",
            "Overview",
            period=period,
            narrowed=narrowed,
            hours=hours,
            tops=tops,
            parts={name: parts.PARTS[name] for name in parts.of(self._asker.source)},
            histories={} if self._asker.is_of_hosts else overview.HISTORIES,
            health=("/part/hosts", "The hosts of the fleet")
            if self._asker.is_of_hosts
            else ("/part/health", "Health of the service"),
            query=query,
            reason=asking.access.reason,
        )

    def part(self, request: Request) -> Response:
        """Show one of the lists that come after the page."""
        name = request.path_params["name"]
        # A page of the store alone has such lists, too.
        alone = "alone" in request.query_params
        if name not in parts.of(None if alone else self._asker.source):
            return missing("There is no such list.")
        narrowed = overview.Narrowed.of(request.query_params)
        newest = self._asker.newest_here if alone else self._asker.newest
        period = period_in(request.query_params, newest)
        with self._asker.recorded(request, whole=not alone) as asking:
            table = parts.part(asking, name, period, narrowed)
        return part("part.html", name=name, table=table)

    # --- events --------------------------------------------------------------------------

    def events(self, request: Request) -> Response:
        """Show one page of events, or only its rows for what is on the screen already."""
        params = request.query_params
        if "words" in params:
            period = period_in(params, self._asker.newest)
            found = events.from_words(params["words"])
            return RedirectResponse(events.address(QueryParams(found), period), 303)
        period = period_in(params, self._asker.newest)
        if period.is_empty:
            return self._empty("Events")
        criteria = events.criteria_in(params, self._asker.words_of, period)
        before = Key.in_text(params, "before")
        before = None if before is None else self._known(before)
        with self._asker.recorded(request, whole=True) as asking:
            found_page = events.page(asking, criteria, before, events.step_in(params))
        columns = events.columns_in(params)
        further = None
        if found_page.next is not None:
            at = {"before": found_page.next.text}
            if found_page.step is not None:
                at["step"] = "/".join(map(str, found_page.step))
            further = events.address(params, period, **at)
        values: dict[str, Any] = {
            "page": found_page,
            "further": further,
            "columns": columns,
            "before": before,
        }
        if is_part(request):
            return part("event_rows.html", **values)
        return page(
            "events.html",
            "Events",
            period=period,
            given=events.given(params),
            fields=events.FIELDS,
            all_columns=events.COLUMNS,
            words=events.to_words(params),
            command=events.command(params, period, self._asker.source, found_page.sql),
            exports={form: events.address(params, period, f"/events.{form}") for form in _EXPORTS},
            first=events.address(params, period),
            live=None if self._asker.is_of_hosts else events.live_address(params),
            reason=asking.access.reason,
            **values,
        )

    def export(self, request: Request) -> Response:
        """Give the events as a file, in the order of time."""
        form = request.path_params["form"]
        if form not in _EXPORTS:
            return missing("There is no such format: csv, json or parquet.")
        period = period_in(request.query_params, self._asker.newest)
        criteria = events.criteria_in(request.query_params, self._asker.words_of, period)
        style = formats.Style(self._asker.settings.host, utc=True)
        out: io.StringIO | io.BytesIO
        with (
            self._asker.recorded(request, whole=True) as asking,
            asking.events(criteria, events.EXPORTED) as found,
        ):
            counted = asking.access.counted(found.events)
            if form != "json":
                extra = formats.Extra(keys=True)
                rows = (formats.csv_row(each, records_of(each), style, extra) for each in counted)
                result = Result(formats.csv_columns(extra), rows)
            else:
                result = Result(formats.JSON, map(formats.json_row, counted))
            if form == "parquet":
                out = io.BytesIO()
                use("auditsvc.arrow.files").write_parquet(result, out)
            else:
                out = io.StringIO()
                write_rows(result, Format(form), out)
        return as_file(out.getvalue(), f"events.{form}", _EXPORTS[form])

    def event(self, request: Request) -> Response:
        """Show one event."""
        key = self._key(request)
        with self._asker.recorded(request, whole=self._is_whole(key)) as asking:
            found = event.shown(asking, key)
        if found is None:
            where = "The fleet" if asking.is_of_hosts else "The store"
            return missing(f"{where} has no event of this id; retention may have deleted it.")
        process = f"/events?{urlencode(found.process)}" if found.process else ""
        return page(
            "event.html",
            "Event",
            event=found,
            process=process,
            reason=asking.access.reason,
            alone=self._asker.alone if asking.source is None else "",
        )

    def around(self, request: Request) -> Response:
        """Show the neighbours of an event, which can take longer to find than the event."""
        key = self._key(request)
        with self._asker.recorded(request, whole=self._is_whole(key)) as asking:
            rows = event.around(asking, key)
        return part("around.html", rows=rows, here=key.address())

    def _key(self, request: Request) -> Key:
        """Read an event's address."""
        return self._known(Key.in_address(request.path_params, request.query_params))

    def _known(self, key: Key) -> Key:
        """Give what counts of a key in an address: where the id says all, that alone."""
        return key if self._asker.is_of_hosts else Key(key.id)

    def _is_whole(self, key: Key) -> bool:
        """Whether an address is that of an event of the other source: of hosts it names one."""
        return not self._asker.is_of_hosts or bool(key.store)

    def _empty(self, title: str) -> Response:
        is_fleet = self._asker.is_of_hosts
        return page("empty.html", title, store=self._asker.shown, fleet=is_fleet)

    # --- what is missing -----------------------------------------------------------------

    def ledger(self, request: Request) -> Response:
        """Show what was received, stored and lost."""
        with self._asker.recorded(request) as asking:
            found = proof.ledger(asking)
        return store_page(self._asker, asking, "ledger.html", "Ledger", found=found)

    def coverage(self, request: Request) -> Response:
        """Show which processes are known to be covered."""
        with self._asker.recorded(request) as asking:
            found = proof.coverage(asking)
        return store_page(self._asker, asking, "coverage.html", "Coverage", found=found)
