"""The messages between a run and its loader's process: news is sent, reports are read.

    read_reports(child, take)            # a thread; until the process ends, or says what is none
    send_news(child, callbacks, is_news=True)

A report is checked before it is taken, and reports are taken at a bounded rate, as the interpreter
is the collector's too. What is no report, or comes when it is not expected, is a ProtocolError.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

from auditsvc.service.frames import ProtocolError, close_passed
from auditsvc.service.loader_reports import Opened, parse_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.service.loader_child import Child
    from auditsvc.service.loader_reports import Ask, Report
    from auditsvc.service.remote_parts import Callbacks

_SHARE_SECONDS, _OTHERS = 0.005, 4
"""After so much time of the processor on reports, others have four times as much."""
_MOST_NOTES: Final = 100
"""Of one process: each is a line of the log."""


def send_news(child: Child, callbacks: Callbacks, *, is_news: bool) -> None:
    """Send what waits, and what has changed since it was last sent; OSError if it has ended."""
    send = child.channel.send
    while child.outbox:
        send(child.outbox.popleft())
    head, busy = callbacks.newest(), callbacks.busy()
    if head != child.head:
        child.head = head
        send({"kind": "head", "head": head})
    if busy != child.busy:
        child.busy = busy
        send({"kind": "busy", "on": busy})
    if is_news:
        send({"kind": "arrived"})


def read_reports(child: Child, take: Callable[[Child, Report, int], None]) -> None:
    """Have each report taken, with the descriptor that came with it (-1: none).

    At the end `child.fault` says what was wrong with the last one, if anything was, and the
    channel is closed.
    """
    spent = 0.0
    try:
        for message in child.channel:
            began = time.thread_time()
            child.silent = 0
            take(child, _parsed(message.content, message.descriptor), message.descriptor)
            spent += time.thread_time() - began
            if spent >= _SHARE_SECONDS:
                time.sleep(_OTHERS * spent)
                spent = 0.0
    except ProtocolError as error:
        child.fault = child.fault or f"it sent {error}"
    except Exception as error:  # noqa: BLE001 - another process may do better
        child.fault = child.fault or f"{type(error).__name__}: {error}"
    finally:
        child.channel.close()  # what it sends from here on, nobody takes
        child.has_hung_up = True


def _parsed(content: bytes, descriptor: int) -> Report:
    """Check a report; only one of a store with a server comes with a descriptor."""
    try:
        report = parse_report(content)
    except ProtocolError:
        close_passed(descriptor)
        raise
    if (descriptor >= 0) != (isinstance(report, Opened) and report.backend > 0):
        close_passed(descriptor)
        raise ProtocolError("a descriptor that is not expected, or none")
    return report


def take_note(child: Child, callbacks: Callbacks, what: str) -> None:
    """Pass a note on; a process has a limited number of them."""
    child.notes += 1
    if child.notes > _MOST_NOTES:
        raise ProtocolError("more notes than there can be")
    callbacks.note(what)


def take_opened(child: Child, callbacks: Callbacks, report: Opened, descriptor: int) -> None:
    """Pass on that a store was opened, with the connection to its server, and confirm it."""
    if descriptor < 0:
        callbacks.opened(None, 0)
    else:
        try:
            connection = socket.socket(fileno=descriptor)
        except OSError as error:
            os.close(descriptor)
            raise ProtocolError("a descriptor that is not a socket") from error
        with connection:
            callbacks.opened(connection, report.backend)
    child.channel.send({"kind": "opened"})


def answer(child: Child, callbacks: Callbacks, ask: Ask) -> None:
    """Open a file of the log for it, if this is the source."""
    if callbacks.files is None:
        raise ProtocolError("a question that is not expected")
    content, descriptor = callbacks.files.answer(ask)
    try:
        child.channel.send(content, descriptor)
    finally:
        close_passed(descriptor)
