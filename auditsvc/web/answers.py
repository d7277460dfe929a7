"""Answers that all pages have in common: a page, a file, an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import HTMLResponse, Response

from auditsvc.errors import AuditsvcError, QueryError, UsageError
from auditsvc.web.render import STATIC, asset, render

if TYPE_CHECKING:
    from starlette.requests import Request

    from auditsvc.web.asking import Asker, Asking

_OF_STORE: Final = ("/process", "/who", "/what", "/ledger", "/coverage", "/compliance")
"""Beginnings of the addresses of pages that ask the store alone."""
_FOR_EVER: Final = "private, max-age=31536000, immutable"


def page(template: str, title: str, *, status: int = 200, **values: Any) -> Response:
    """Give a page; `title` is also the name of its place in the navigation.

    `alone`: the name of another source than the store, which the page did not ask; "": of none.
    """
    values.setdefault("reason", "")
    values.setdefault("alone", "")
    return HTMLResponse(render(template, title=title, **values), status)


def store_page(asker: Asker, asking: Asking, template: str, title: str, **values: Any) -> Response:
    """Give a page that asked the store alone, and says so if there is another source."""
    reason = asking.access.reason
    return page(template, title, reason=reason, alone=asker.alone, **values)


def part(template: str, **values: Any) -> Response:
    """Give what htmx puts into a page that is there already."""
    return HTMLResponse(render(template, **values))


def is_part(request: Request) -> bool:
    """Whether htmx asks for a part: for a page that it goes back to it wants all of it."""
    asked = request.headers
    return "hx-request" in asked and "hx-history-restore-request" not in asked


def as_file(content: str | bytes, name: str, kind: str) -> Response:
    """Give a file to keep."""
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    data = content if isinstance(content, bytes) else content.encode(errors="backslashreplace")
    return Response(data, media_type=kind, headers=headers)


def missing(what: str) -> Response:
    """Say that an address has nothing."""
    return page("error.html", "Not found", status=404, what=what, hint="")


def no_address(request: Request, _: Exception) -> Response:
    """Say that nothing has this address, as a page from which others can be reached."""
    what = "There is no page at this address."
    return part("failed_part.html", what=what, hint="") if is_part(request) else missing(what)


def failed(request: Request, error: Exception) -> Response:
    """Show an expected error."""
    assert isinstance(error, AuditsvcError)
    status = 400 if isinstance(error, UsageError | QueryError) else 503
    alone = request.app.state.alone if request.url.path.startswith(_OF_STORE) else ""
    if is_part(request):
        return part("failed_part.html", what=error.what, hint=error.hint)
    return page("error.html", "Error", status=status, what=error.what, hint=error.hint, alone=alone)


def static(request: Request) -> Response:
    """Give a file of the package."""
    name = request.path_params["name"]
    if name not in STATIC:
        return missing("There is no such file.")
    headers = {"cache-control": _FOR_EVER}
    return Response(asset(name), media_type=STATIC[name], headers=headers)
