"""The ways to send an alert: a program, sendmail(8), an HTTP endpoint, the journal.

Each sends one message within `seconds`, or raises AlertError. No shell is used, and a program
gets its own session, so that all of it can be ended.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.alert.message import Message
from auditsvc.errors import AlertError, JournalError
from auditsvc.forward.send import Channel, Full
from auditsvc.forward.wire import joined
from auditsvc.host.http_post import post
from auditsvc.host.processes import end_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditsvc.config import AlertSettings

Send = Callable[[Message], None]

SECONDS: Final = 10.0
_EXECUTE: Final = """\
import os, signal, sys
for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(ignored, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.execv(sys.argv[1], sys.argv[1:])
"""
"""The service blocks the signals that it waits for, and a program inherits that: timeout(1), or
a shell's kill, would end nothing. Popen cannot undo it, except by Python code after fork(2).
Python itself ignores two signals."""
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
        Path(command[0]).stat()  # what executes it could say only that it failed
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _EXECUTE, *command],
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
        end_session(process.pid)  # and what it has started
        process.wait()
    if process.returncode:
        raise AlertError(f"alert: {command[0]} has ended with status {process.returncode}")


def post_json(url: str, text: bytes, seconds: float = SECONDS) -> None:
    """POST to an HTTP endpoint; AlertError unless it answers 2xx."""
    try:
        post(url, text, seconds)
    except OSError as error:
        name = url.split("/")[2]  # what follows may be secret
        raise AlertError(f"alert: {name}: {error.strerror or error}") from error


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
