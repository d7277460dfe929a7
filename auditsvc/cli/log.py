"""The log of a command that keeps running: to stderr, for a person or for a program."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from auditsvc.host.terminal import visible
from auditsvc.store.read.value_text import to_json


def configure_log() -> None:
    """Log to stderr: for a person on a terminal, else one JSON object per line."""
    person = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *((_show, structlog.dev.ConsoleRenderer()) if person else (_write,)),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _show(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape hidden characters in text from others (names of programs, rules, hosts)."""
    return {
        visible(name): value if isinstance(value, int | float | None) else visible(str(value))
        for name, value in facts.items()
    }


def _write(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> str:
    return to_json(facts, ascii_only=True)
