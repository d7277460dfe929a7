"""The log of a command that runs on: to stderr, for a person or for a program."""

from __future__ import annotations

import sys

import structlog


def configure_log() -> None:
    """Log to stderr: for a person on a terminal, else a JSON object a line."""
    person = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
