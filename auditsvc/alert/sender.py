"""A thread that sends alerts, one after the other.

Invariants: who offers a message never waits; at most `MOST` messages wait, then the oldest is
given up and counted; each channel tries a message `TRIES` times, whatever the others do. A message
that is not sent is in the service's log, with the channel's reason.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.errors import AlertError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.alert.channels import Send
    from auditsvc.alert.message import Message

log = structlog.get_logger()

MOST: Final = 64
TRIES: Final = 3
_PAUSE: Final = 2.0


class Sender(threading.Thread):
    """Sends until `finish`."""

    def __init__(self, channels: Sequence[Send], *, pause: float = _PAUSE) -> None:
        super().__init__(name="alert-sender", daemon=True)
        self.problem = ""
        """Why the last message could not be sent, "" if it could."""
        self.given_up = 0
        """Messages that were not sent because too many waited."""
        self._channels = channels
        self._pause = pause
        self._waiting: deque[Message] = deque()
        self._sending: Message | None = None
        self._wake = threading.Condition()
        self._ends: float | None = None

    @property
    def unsent(self) -> list[Message]:
        """Give the messages that wait, and the one that is being sent."""
        with self._wake:
            return [*([] if self._sending is None else [self._sending]), *self._waiting]

    def offer(self, message: Message) -> None:
        """Have a message sent; returns at once."""
        given_up = None
        with self._wake:
            if len(self._waiting) >= MOST:
                given_up = self._waiting.popleft()
                self.given_up += 1
            self._waiting.append(message)
            self._wake.notify()
        if given_up is not None:
            _say(given_up, "too many wait for a channel")

    def finish(self, seconds: float) -> None:
        """Send what waits, for at most so long."""
        with self._wake:
            self._ends = time.monotonic() + seconds
            self._wake.notify()
        if self.is_alive():
            self.join(seconds)
        for message in self.unsent:
            _say(message, "the service has ended")

    def run(self) -> None:
        """Send what was offered."""
        while (message := self._next()) is not None:
            errors = [error for send in self._channels if (error := self._try(send, message))]
            self.problem = "; ".join(errors)
            if errors:
                _say(message, self.problem)

    def _next(self) -> Message | None:
        with self._wake:
            self._sending = None
            while not self._waiting and self._ends is None:
                self._wake.wait()
            self._sending = self._waiting.popleft() if self._waiting else None
            return self._sending

    def _try(self, send: Send, message: Message) -> str:
        """Send by one channel; gives why that is impossible."""
        for left in reversed(range(TRIES)):
            try:
                send(message)
            except AlertError as error:
                if not left or self._ends is not None:
                    return str(error)
                time.sleep(self._pause)
            except Exception as error:  # noqa: BLE001 - one channel must not end the others
                return f"alert: {error}"
            else:
                return ""
        return ""


def _say(message: Message, why: str) -> None:
    log.error("an alert was not sent", alert=message.line, why=why)
