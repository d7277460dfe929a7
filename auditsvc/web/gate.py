"""Who may ask: a one-time token, then a cookie; the right Host; no page of another origin.

The server listens on loopback or on a unix socket. What it must still keep out: another user of
the host who guesses the port (token and cookie), a page in the same browser that asks for us
(Sec-Fetch-Site and Origin: another port of the same host is the same site for cookies, so that
SameSite alone does not do), and a name of the attacker's that resolves to 127.0.0.1 (Host).
Every answer has a Content-Security-Policy that runs no code but the package's own files.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE: Final = "auditsvc"
TOKEN: Final = "token"  # noqa: S105 - a name
"""Name of the parameter in the URL that is printed."""
_IDLE: Final = 12 * 3600.0
"""Seconds without a request after which a session ends."""
_MOST: Final = 32
"""Sessions at a time; the one that was not used for the longest time is dropped."""
_LOOPBACK: Final = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")
"""Hosts that may be named: any port, as of `ssh -L`; no name that a server elsewhere gives."""
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Sessions:
    """The token that is valid now, and the sessions that earlier ones began."""

    def __init__(self, new_token: Callable[[str], None] = lambda _: None) -> None:
        """`new_token` is told each token that replaces a used one."""
        self._new_token = new_token
        self.token = secrets.token_urlsafe(32)
        self._used: dict[bytes, float] = {}

    def begin(self, token: str) -> str | None:
        """Use the token up and give the secret of a new session; None if it is not valid."""
        if not hmac.compare_digest(token.encode(errors="replace"), self.token.encode()):
            return None
        self.token = secrets.token_urlsafe(32)
        self._new_token(self.token)
        while len(self._used) >= _MOST:
            del self._used[min(self._used, key=self._used.__getitem__)]
        secret = secrets.token_urlsafe(32)
        self._used[_digest(secret)] = time.monotonic()
        return secret

    def knows(self, secret: str) -> bool:
        """Whether it is the secret of a session that goes on."""
        key, now = _digest(secret), time.monotonic()
        used = self._used.get(key)  # by a hash: how long this takes tells nothing of the secret
        if used is None or now - used > _IDLE:
            self._used.pop(key, None)
            return False
        self._used[key] = now
        return True


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


class Gate:
    """ASGI middleware: refuses a request, begins a session, or lets it through."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; anything but HTTP is not answered."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._answer(Request(scope))
        await (answer or self._app)(scope, receive, guarded)

    def _answer(self, request: Request) -> Response | None:
        """Give what is answered instead of a page; None if the request may go on."""
        if refused := _refusal(request):
            return PlainTextResponse(f"{refused}\n", 403)
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("Only GET: nothing can be changed here.\n", 405)
        token = request.query_params.get(TOKEN)
        if token is not None:
            return self._begin(request, token)
        if self._sessions.knows(request.cookies.get(COOKIE, "")):
            return None
        return PlainTextResponse(
            "No session. Open the link that `auditsvc web` has printed last; each works once.\n",
            403,
        )

    def _begin(self, request: Request, token: str) -> Response:
        secret = self._sessions.begin(token)
        if secret is None:
            return PlainTextResponse(
                "This link was used already, or is not ours."
                " `auditsvc web` prints a new one each time a link is used.\n",
                403,
            )
        query = request.url.remove_query_params(TOKEN).query
        # Only a path of ours: `//name` would be another host.
        path = "/" + request.url.path.lstrip("/\\")
        answer = RedirectResponse(f"{path}?{query}" if query else path, 303)
        answer.set_cookie(COOKIE, secret, httponly=True, samesite="strict", path="/")
        return answer


def _refusal(request: Request) -> str:
    """Give why a request is refused whoever asks, "" if it is not."""
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not _LOOPBACK.fullmatch(hosts[0].lower()):
        return "Wrong Host: open the page as localhost or 127.0.0.1."
    site = request.headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        return "Asked for by a page of another origin: type or paste the address instead."
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() != f"http://{hosts[0].lower()}":
        return "Asked for by a page of another origin."
    return ""
