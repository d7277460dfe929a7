"""`auditsvc run`: collect from a source into a store."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from auditsvc.cli.options import StoreOption
from auditsvc.config import load_settings
from auditsvc.rules_in_use import rules_in_use
from auditsvc.service import Service
from auditsvc.terminal import visible
from auditsvc.value_text import to_json


def run(
    store: StoreOption = None,
    rules: Annotated[
        list[Path] | None,
        typer.Option(
            "--rules",
            help="Rule file or folder, in auditctl's language, or a shipped set's name; "
            "may be repeated. Default: every system call of every task.",
            metavar="PATH|SET",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="netlink (be the audit daemon), multicast (beside one), stdin (as its plugin), "
            "journal (what journald took of the kernel's records), or a log file to follow.",
            metavar="netlink|multicast|stdin|journal|FILE",
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", help="Stop after this long.", metavar="SECONDS", min=0),
    ] = None,
) -> None:
    """Collect audit records and store every event as rows, until SIGTERM or SIGINT."""
    settings = load_settings(store=store, rules=rules or None, source=source)
    configure_log()
    found, notes = rules_in_use(settings)
    Service(settings, found, notes).run(duration)


def configure_log() -> None:
    """Log to stderr: for a person on a terminal, else a JSON object a line."""
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
    """Make what others chose (names of programs, rules, hosts) visible to a person."""
    return {
        visible(name): value if isinstance(value, int | float | None) else visible(str(value))
        for name, value in facts.items()
    }


def _write(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> str:
    return to_json(facts, ascii_only=True)
