"""One POST to an HTTP endpoint, within a time for the whole of it.

Redirects are not followed, and no proxy is used: what is sent goes where the settings say.
"""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit


def post(url: str, text: bytes, seconds: float) -> None:
    """Send JSON; OSError unless it is answered with 2xx in time."""
    try:
        status = _answer(url, text, seconds)
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(str(error) or type(error).__name__) from error
    if not http.HTTPStatus.OK <= status < http.HTTPStatus.MULTIPLE_CHOICES:
        raise OSError(f"it has answered {status}")


def _answer(url: str, text: bytes, seconds: float) -> int:
    """Send the request; gives the status of the answer."""
    parts = urlsplit(url)
    made = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = made(parts.hostname or "", parts.port, timeout=seconds)
    # The timeout of a socket is for each read: who sends a byte now and then would hold us.
    is_late, ends = threading.Event(), time.monotonic() + seconds
    late = threading.Timer(seconds, _cut, (connection, is_late))
    late.daemon = True
    late.start()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        # A name may have several addresses, each with a timeout of its own, and TLS another one:
        # the time may be over, and the timer with it, before there is a socket that it can cut. On
        # a busy host the timer's thread comes later than the time.
        connection.connect()
        if time.monotonic() >= ends:
            is_late.set()
        if not is_late.is_set():
            connection.request("POST", path, text, {"Content-Type": "application/json"})
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        if not is_late.is_set():
            raise
        # It was cut off in the middle: that says nothing of the other end.
    finally:
        late.cancel()
        connection.close()
    if is_late.is_set():
        raise TimeoutError(f"no answer within {seconds:g} s")
    return status


def _cut(connection: http.client.HTTPConnection, is_late: threading.Event) -> None:
    """End a request that takes too long."""
    is_late.set()
    with suppress(OSError, AttributeError):  # not connected yet: looked at when it is
        connection.sock.shutdown(2)
