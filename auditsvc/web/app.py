"""The addresses, and what each answers.

All of them are GET. An error of a user or of the store is a page with one line that says what
and what to do (`AuditsvcError`); anything else is status 500 without a word of its inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from auditsvc.errors import AuditsvcError
from auditsvc.web.answers import failed, no_address, static
from auditsvc.web.asking import Asker
from auditsvc.web.client import with_client
from auditsvc.web.compliance import CompliancePages
from auditsvc.web.gate import Gate
from auditsvc.web.health import Health
from auditsvc.web.history import HistoryPages
from auditsvc.web.hosts import Hosts
from auditsvc.web.live import Live
from auditsvc.web.pages import Pages
from auditsvc.web.process import ProcessPages
from auditsvc.web.sql import SqlPages

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from auditsvc.config import Settings
    from auditsvc.search.sources import Source
    from auditsvc.web.gate import Sessions

    Answer = Callable[[Request], Response]

_SMALL: Final = 500
"""Bytes below which an answer is not compressed."""


def make_app(
    settings: Settings, sessions: Sessions, seconds: float, source: Source | None = None
) -> Starlette:
    """Make the application; `seconds` is how long a page may ask the store, 0: for ever.

    `source`: what pages ask in place of the store, where they can.
    """
    asker = Asker(settings, seconds, source)
    pages, process, live = Pages(asker), ProcessPages(asker), Live(asker)
    compliance, history, sql = CompliancePages(asker), HistoryPages(asker), SqlPages(asker)
    addresses: dict[str, Answer] = {
        "/": pages.overview,
        "/part/health": Health(asker).part,
        "/part/hosts": Hosts(asker).part,
        "/part/{name}": pages.part,
        "/events": pages.events,
        "/events.{form}": pages.export,
        "/event/{id}": pages.event,
        "/event/{id}/around": pages.around,
        "/process": process.page,
        "/process/did": process.did,
        "/who": history.who,
        "/what": history.what,
        "/sql": sql.page,
        "/sql.csv": sql.export,
        "/ledger": pages.ledger,
        "/coverage": pages.coverage,
        "/compliance": compliance.page,
        "/compliance/lines": compliance.lines,
        "/static/{name}": static,
    }
    made = Starlette(
        routes=[
            Route("/events/live", live.follow),
            *(Route(path, with_client(answer)) for path, answer in addresses.items()),
        ],
        middleware=[
            Middleware(Gate, sessions=sessions),
            Middleware(GZipMiddleware, minimum_size=_SMALL),
        ],
        exception_handlers={AuditsvcError: failed, 404: no_address},
    )
    made.state.live = live
    made.state.alone = asker.alone
    return made
