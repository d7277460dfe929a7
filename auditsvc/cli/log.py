"""The log of a command that keeps running: for the journal, a person, or a program.

* Under systemd (stderr is the journal's, systemd.exec(5) JOURNAL_STREAM): entries with fields of
  their own, `AUDITSVC_LOG_PART=store`, and the level as PRIORITY.
* On a terminal: lines for a person. Otherwise one JSON object per line.

Invariants: nothing waits for journald; an entry that it has no room for goes to stderr instead.
The same message is written at most `_MOST` times a minute; the next one says how many were not.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import structlog

from auditsvc.cli.journal_log import JournalLogger
from auditsvc.host.terminal import visible
from auditsvc.value_text import to_json

_Facts = MutableMapping[str, Any]
_MOST: Final = 30
_SECONDS: Final = 60.0


def configure_log() -> None:
    """Log to the journal if stderr is its, else to stderr."""
    journal = _is_journal()
    person = sys.stderr.isatty()
    form: tuple[Any, ...] = (_write,)
    if person and not journal:
        form = (_show, structlog.dev.ConsoleRenderer())
    structlog.configure(
        processors=[
            Limit(),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(() if journal else form),
        ],
        logger_factory=_to_journal() if journal else structlog.PrintLoggerFactory(sys.stderr),
    )


class Limit:
    """Drops a message that was written too often within a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: dict[str, float] = {}
        self._written: dict[str, int] = {}

    def __call__(self, _logger: Any, _method: str, facts: _Facts) -> _Facts:
        """Let it pass, or raise DropEvent; messages are few, as they are texts of ours."""
        event, now = str(facts.get("event")), self._clock()
        if now - self._begun.get(event, -_SECONDS) >= _SECONDS:
            dropped = self._written.get(event, 0) - _MOST
            self._begun[event], self._written[event] = now, 0
            if dropped > 0:
                facts["not_written"] = dropped
        self._written[event] += 1
        if self._written[event] > _MOST:
            raise structlog.DropEvent
        return facts


def _to_journal() -> Callable[..., JournalLogger]:
    """Give what gives the same logger for every entry: it has a socket, and counts."""
    logger = JournalLogger()
    return lambda *_: logger


def _is_journal() -> bool:
    """Whether stderr is connected to the journal: systemd names its device and inode."""
    try:
        info = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"


def _show(_logger: Any, _method: str, facts: _Facts) -> _Facts:
    """Escape hidden characters in text from others (names of programs, rules, hosts)."""
    return {
        visible(name): value if isinstance(value, int | float | None) else visible(str(value))
        for name, value in facts.items()
    }


def _write(_logger: Any, _method: str, facts: _Facts) -> str:
    return to_json(facts, ascii_only=True)
