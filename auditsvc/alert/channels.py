"""The ways to send an alert: a program, sendmail(8), an HTTP endpoint, the journal.

Each sends one message within `seconds`, or raises AlertError. No shell is used, and all that a
program has started ends with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.alert.message import Message
from auditsvc.errors import AlertError, JournalError
from auditsvc.forward.send import Channel, Full
from auditsvc.forward.wire import joined
from auditsvc.host.http_post import post
from auditsvc.host.processes import end_below
from auditsvc.value_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditsvc.config import AlertSettings

log = structlog.get_logger()

Send = Callable[[Message], None]

SECONDS: Final = 10.0
_MOST: Final = 4096
_SUPERVISOR: Final = (sys.executable, "-I", "-m", "auditsvc.alert.supervisor")
_MORE_SECONDS: Final = 15.0
"""For the supervisor to begin, to end what does not end, and to say so."""
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
    more: float = _MORE_SECONDS,
) -> None:
    """Run a program with the text on its standard input; AlertError unless it ends with 0.

    All that it has started has ended then (`auditsvc.alert.supervisor`).
    """
    name = command[0]
    reads, writes = os.pipe()
    with open(reads, "rb") as report:  # noqa: PTH123 - a descriptor
        try:
            process = subprocess.Popen(
                [*_SUPERVISOR, str(seconds), str(writes), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": _PATH, **variables},
                cwd="/",
                start_new_session=True,
                pass_fds=(writes,),
            )
        except OSError as error:
            raise AlertError(f"alert: {name}: {error.strerror}", "correct it") from error
        finally:
            os.close(writes)
        with process:
            try:
                process.communicate(text, timeout=seconds + more)
            except subprocess.TimeoutExpired:
                end_below(process.pid, more)
                process.kill()
                raise AlertError(f"alert: {name} hinders its supervisor") from None
            _judge(name, report.read(_MOST), seconds)


def _judge(name: str, line: bytes, seconds: float) -> None:
    """Take what the supervisor says; AlertError unless the program has ended with 0."""
    try:
        facts = parse_json(line)
    except ValueError:
        raise AlertError(f"alert: {name} has ended its supervisor") from None
    if why := facts.get("refused"):
        raise AlertError(f"alert: {name}: {why}", "correct it")
    if stay := facts["stay"]:
        log.error("processes cannot be ended", of=name, processes=stay)
    if left := facts["left"]:
        log.warning("what a program has left was ended", program=name, processes=left)
    status = facts["status"]
    if status is None:
        raise AlertError(f"alert: {name} has not ended within {seconds:g} s")
    if status:
        raise AlertError(f"alert: {name} has ended with status {status}")


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
