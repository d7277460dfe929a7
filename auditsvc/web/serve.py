"""Listens on loopback or on a unix socket, prints the link, and answers until it is stopped."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn

from auditsvc.errors import UsageError
from auditsvc.host.priority import give_way
from auditsvc.web.app import make_app
from auditsvc.web.gate import TOKEN, Sessions

if TYPE_CHECKING:
    from types import FrameType

    from auditsvc.config import Settings
    from auditsvc.search.sources import Source
    from auditsvc.web.live import Live

_TCP: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\]):([0-9]{1,5})")
_UNIX: Final = "unix:"
_PASSED: Final = "systemd"
_FIRST_PASSED: Final = 3
"""SD_LISTEN_FDS_START."""
_WAITING: Final = 64
_AT_ONCE: Final = 64
"""Requests at a time; more are answered with 503."""


_LAST_SECONDS: Final = 5
"""Seconds that pages have to end when the server does."""


class _Server(uvicorn.Server):
    """Ends the streams, which would go on, before it waits for all answers to end."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._live.is_ending = True
        super().handle_exit(sig, frame)


def listen(place: str) -> tuple[socket.socket, str]:
    """Open the socket, and give the beginning of its URL; UsageError if it cannot be."""
    try:
        if place == _PASSED:
            return _passed(), "http://localhost"
        if place.startswith(_UNIX) and place != _UNIX:
            return _unix(Path(place.removeprefix(_UNIX))), "http://localhost"
        found = _TCP.fullmatch(place)
        if found is None or int(found[2]) > 65535:
            raise UsageError(
                f"--listen {place}: neither 127.0.0.1:PORT, unix:PATH nor systemd",
                "from another host, forward it: ssh -L 8181:127.0.0.1:8181 HOST",
            )
        family = socket.AF_INET6 if found[1] == "[::1]" else socket.AF_INET
        address = "::1" if found[1] == "[::1]" else "127.0.0.1"
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, int(found[2])))
        return made, f"http://{found[1]}:{made.getsockname()[1]}"
    except OSError as error:
        # A path that is too long has no number of its own.
        why = error.strerror or str(error)
        raise UsageError(f"--listen {place}: {why}", "choose another place") from error


def _passed() -> socket.socket:
    """Take the socket that systemd passed (sd_listen_fds(3)): one, and that of a path."""
    asked = os.environ.get("LISTEN_PID"), os.environ.get("LISTEN_FDS")
    if asked != (str(os.getpid()), "1"):
        raise UsageError(
            f"--listen {_PASSED}: systemd passed no socket, or several",
            "it is for auditsvc-web.socket: systemctl start auditsvc-web.socket",
        )
    made = socket.socket(fileno=_FIRST_PASSED)
    if made.family != socket.AF_UNIX:
        raise UsageError(
            f"--listen {_PASSED}: the socket has no path",
            "give auditsvc-web.socket a path: ListenStream=/run/auditsvc-web/socket",
        )
    return made


def _unix(path: Path) -> socket.socket:
    """Make a socket for its owner alone; one that nobody listens to any more is replaced."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if path.is_socket():
        try:
            made.connect(str(path))
        except OSError:
            path.unlink()
        else:
            raise UsageError(f"--listen unix:{path}: another program listens there")
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    finally:
        os.umask(before)
    return made


def serve(settings: Settings, place: str, seconds: float, source: Source | None = None) -> None:
    """Answer until SIGINT or SIGTERM; `source`: what is asked in place of the store.

    Pages give way: where both are busy, the service that stores rows comes first.
    """
    give_way()
    listening, base = listen(place)

    def tell(token: str) -> None:
        where = "" if listening.family != socket.AF_UNIX else f" (by {listening.getsockname()})"
        sys.stdout.write(f"{base}/?{TOKEN}={token}{where}\n")
        sys.stdout.flush()

    sessions = Sessions(tell)
    app = make_app(settings, sessions, seconds, source)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # its lines would have the token
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=_AT_ONCE,
        backlog=_WAITING,
        ws="none",
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    listening.listen(_WAITING)
    tell(sessions.token)
    try:
        _Server(config, app.state.live).run(sockets=[listening])
    finally:
        if place.startswith(_UNIX):
            Path(place.removeprefix(_UNIX)).unlink(missing_ok=True)
