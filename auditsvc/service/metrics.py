"""The figures of a running service: a thread that gathers them, a socket, a textfile.

    every `metrics.every` seconds: gather -> the textfile, and what a scrape gets

Invariants: nothing waits for this thread; who asks gets the figures that were gathered last, so
asking often costs no queries; one connection at a time, with a time limit; an error (also an
address in use) is kept in `problem`, and tried again. The socket is for root alone, or for the
group of a folder with the setgid bit; a port is on the loopback only.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Final

from auditsvc.errors import AuditsvcError, UsageError, of_system
from auditsvc.host.files import errors_of, make_folder
from auditsvc.host.priority import give_way
from auditsvc.status.exposition import CONTENT_TYPE, exposition

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.config import Settings

_STOP_SECONDS: Final = 2.0
_TEXTFILE_MODE: Final = 0o644
"""node_exporter is not root."""


class Metrics(threading.Thread):
    """Gathers and answers from `start` to `finish`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="metrics", daemon=True)
        self.problem = ""
        """Why the figures cannot be gathered, written or asked for, "" if they can."""
        self._text = b""
        self._settings = settings
        self._stopping = threading.Event()
        self._offering = threading.Lock()
        """Held while something is offered; at the end nothing more is."""
        self._server: _Server | None = None

    def run(self) -> None:
        """Gather, write, wait."""
        give_way()
        while not self._stopping.is_set():
            try:
                self._gather()
            except AuditsvcError as error:
                self.problem = str(error)
            except OSError as error:
                self.problem = of_system(error)
            else:
                self.problem = ""
            self._stopping.wait(self._settings.metrics.every)

    def _gather(self) -> None:
        self._text = exposition(self._settings)
        with self._offering:
            if not self._stopping.is_set():
                self._offer()

    def _offer(self) -> None:
        wanted = self._settings.metrics
        if wanted.textfile is not None:
            _write(wanted.textfile, self._text)
        if wanted.listen is not None and self._server is None:
            self._server = _Server(wanted.listen, lambda: self._text)
            threading.Thread(
                target=self._server.serve_forever, name="metrics-server", daemon=True
            ).start()

    def finish(self) -> None:
        """Close the socket, and remove the textfile: old figures would be taken for new ones."""
        self._stopping.set()
        if self.is_alive():
            self.join(_STOP_SECONDS)
        # What is being offered is waited for; not for ever, as a file system may hang.
        if self._offering.acquire(timeout=_STOP_SECONDS):
            self._offering.release()
        if self._server is not None:
            self._server.close()
        if self._settings.metrics.textfile is not None:
            with suppress(OSError):
                self._settings.metrics.textfile.unlink()


def _write(path: Path, text: bytes) -> None:
    """Replace the textfile; node_exporter never sees half of it, as it reads only `*.prom`."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, _TEXTFILE_MODE)
    with errors_of(path), os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, _TEXTFILE_MODE)
        stream.write(text)
    temporary.replace(path)


class _Server(TCPServer):
    """An HTTP server with one page; one connection at a time."""

    allow_reuse_address = True

    def __init__(self, listen: str, text: Callable[[], bytes]) -> None:
        self.text = text
        self.path: Path | None = None
        try:
            if listen.startswith("unix:"):
                self.path = Path(listen.removeprefix("unix:"))
                self._listen_at(self.path)
            else:
                host, _, port = listen.rpartition(":")
                if host.startswith("["):
                    self.address_family = socket.AF_INET6
                super().__init__((host.strip("[]"), int(port)), _Page)
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"metrics.listen: {listen}: {getattr(error, 'strerror', None) or error}",
                "give another address or path that is free",
            ) from error

    def _listen_at(self, path: Path) -> None:
        make_folder(path.parent)
        with suppress(FileNotFoundError):
            if path.is_socket():  # of a run that was killed
                path.unlink()
        self.address_family = socket.AF_UNIX
        self.allow_reuse_address = False
        super().__init__(str(path), _Page)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        """Bind; a socket file gets the mode of its descriptor (unix_bind in net/unix).

        In a folder with the setgid bit, the folder's group may use it too.
        """
        if self.path is not None:
            os.fchmod(self.socket.fileno(), 0o600)
        super().server_bind()
        if self.path is not None and self.path.parent.stat().st_mode & stat.S_ISGID:
            self.path.chmod(0o660)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: a client that goes away is no error of ours."""

    def close(self) -> None:
        """Answer nobody any more."""
        self.shutdown()
        self.server_close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class _Page(BaseHTTPRequestHandler):
    """`GET /metrics`."""

    timeout = 2.0
    server: _Server

    def do_GET(self) -> None:
        """Answer with the figures that were gathered last."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        text = self.server.text()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def address_string(self) -> str:
        """Give no name of the client."""
        return ""  # a unix socket has no address

    def log_message(self, *_: object) -> None:
        """Do nothing: requests are not logged."""
