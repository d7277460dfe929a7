"""The ways to send an alert: a program, sendmail(8), an HTTP endpoint, the journal.

Each sends one message within `seconds`, or raises AlertError. No shell is used, and a program
gets its own session, so that all of it can be ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from auditsvc.alert.message import Message
from auditsvc.errors import AlertError, JournalError
from auditsvc.forward.send import Channel, Full
from auditsvc.forward.wire import joined
from auditsvc.host.http_post import post

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
        found.append(lambda message: post_json(url, message.as_json()))
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


def post_json(url: str, text: bytes, seconds: float = SECONDS) -> None:
    """POST to an HTTP endpoint; AlertError unless it answers 2xx."""
    try:
        post(url, text, seconds)
    except OSError as error:
        raise AlertError(f"alert: {error}") from error


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
