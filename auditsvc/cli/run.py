"""`auditsvc run`: collects records from a source into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditsvc.cli.log import configure_log
from auditsvc.cli.options import StoreOption
from auditsvc.config import load_settings
from auditsvc.ruleset.sources import rules_in_use
from auditsvc.service.run import Service


def run(
    store: StoreOption = None,
    rules: Annotated[
        list[Path] | None,
        typer.Option(
            "--rules",
            help="Rule file or folder, in auditctl's language, or the name of a shipped set; "
            "may be repeated. Default: every system call of every task.",
            metavar="PATH|SET",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="netlink (as the audit daemon), multicast (beside one), stdin (as its plugin), "
            "journal (journald's audit entries), or a log file to follow.",
            metavar="netlink|multicast|stdin|journal|FILE",
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", help="Stop after this time.", metavar="SECONDS", min=0),
    ] = None,
) -> None:
    """Collect audit records and store every event as rows, until SIGTERM or SIGINT."""
    settings = load_settings(store=store, rules=rules or None, source=source)
    configure_log()
    found, notes = rules_in_use(settings)
    Service(settings, found, notes).run(duration)
