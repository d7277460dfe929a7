"""The ways to send an alert: a program, sendmail(8), an HTTP endpoint, the journal.

Each sends one message within `seconds`, or raises AlertError. No shell is used, and a program
gets its own session, so that all of it can be ended.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from auditsvc.alert.message import Message
from auditsvc.errors import AlertError, JournalError
from auditsvc.forward.send import Channel, Full
from auditsvc.forward.wire import joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditsvc.config import AlertSettings

Send = Callable[[Message], None]

SECONDS: Final = 10.0
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def channels(settings: AlertSettings) -> list[Send]:
    """Give the channels that are set."""
    found: list[Send] = []
    if settings.exec:
        found.append(lambda message: run(settings.exec, message.as_json(), message.as_variables()))
    if settings.mail:
        command = (str(settings.sendmail), "-i", *settings.mail)
        found.append(lambda message: run(command, message.as_mail(settings.mail), {}))
    if url := settings.webhook:
        found.append(lambda message: post(url, message.as_json()))
    if settings.journal:
        found.append(write_journal)
    return found


def run(
    command: Sequence[str],
    text: bytes,
    variables: Mapping[str, str],
    seconds: float = SECONDS,
) -> None:
    """Run a program with the text on its standard input; AlertError unless it ends with 0."""
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": _PATH, **variables},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise AlertError(f"alert: {command[0]}: {error.strerror}", "correct it") from error
    try:
        process.communicate(text, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise AlertError(f"alert: {command[0]} has not ended within {seconds:g} s") from None
    finally:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it has started
        process.wait()
    if process.returncode:
        raise AlertError(f"alert: {command[0]} has ended with status {process.returncode}")


def post(url: str, text: bytes, seconds: float = SECONDS) -> None:
    """POST to an HTTP endpoint; AlertError unless it answers 2xx. Redirects are not followed."""
    parts = urlsplit(url)
    made = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = made(parts.hostname or "", parts.port, timeout=seconds)
    # The timeout of a socket is for each read: who sends a byte now and then would hold us.
    is_late = threading.Event()
    late = threading.Timer(seconds, _cut, (connection, is_late))
    late.daemon = True
    late.start()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, text, {"Content-Type": "application/json"})
        status = connection.getresponse().status
        if is_late.is_set():
            raise TimeoutError(f"no answer within {seconds:g} s")
    except (OSError, http.client.HTTPException) as error:
        raise AlertError(f"alert: {parts.hostname}: {error or type(error).__name__}") from error
    finally:
        late.cancel()
        connection.close()
    if not http.HTTPStatus.OK <= status < http.HTTPStatus.MULTIPLE_CHOICES:
        raise AlertError(f"alert: {parts.hostname} has answered {status}")


def _cut(connection: http.client.HTTPConnection, is_late: threading.Event) -> None:
    """End a request that takes too long."""
    is_late.set()
    with suppress(OSError, AttributeError):  # not connected yet: the connection's own timeout
        connection.sock.shutdown(2)


def write_journal(message: Message) -> None:
    """Write an entry; it is waited for half a second if journald's queue is full."""
    channel = Channel()
    try:
        channel.send(joined(message.as_journal()))
    except Full:
        raise AlertError("alert: journald takes no entries") from None
    except JournalError as error:
        raise AlertError(f"alert: {error}") from error
    finally:
        channel.close()
