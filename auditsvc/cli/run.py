"""`auditsvc run`: collects records from a source into a store."""

from __future__ import annotations

import os
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import structlog
import typer

from auditsvc.cli.log import configure_log
from auditsvc.cli.options import StoreOption
from auditsvc.config import Settings, load_settings
from auditsvc.errors import UsageError
from auditsvc.evidence.key_place import open_key_file
from auditsvc.native import BUILD_HINT, is_built
from auditsvc.rule import Add
from auditsvc.ruleset.sources import rules_in_use
from auditsvc.service.loader_process import serve
from auditsvc.service.loading import SPOOLED
from auditsvc.service.privileges import lower
from auditsvc.service.run import Service


class Begin(StrEnum):
    """Where loading begins with a store that is new to the spool."""

    START = "start"
    NOW = "now"


def run(
    *,
    store: StoreOption = None,
    rules: Annotated[
        list[Path] | None,
        typer.Option(
            "--rules",
            help="Rule file or folder, in auditctl's language, or the name of a shipped set; "
            "may be repeated. Default: every system call of every task.",
            metavar="PATH|SET",
            readable=False,  # access(2) does not count capabilities
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
    begin: Annotated[
        Begin,
        typer.Option(
            "--from",
            help="now: into a store that is new to the spool, load only what this run collects, "
            "and not what the spool has already.",
        ),
    ] = Begin.START,
    duration: Annotated[
        float | None,
        typer.Option("--duration", help="Stop after this time.", metavar="SECONDS", min=0),
    ] = None,
    loader: Annotated[int | None, typer.Option("--loader", hidden=True)] = None,
) -> None:
    """Collect audit records and store every event as rows, until SIGTERM or SIGINT."""
    if loader is not None:  # `run` has started us: this is the socket to it
        configure_log()
        serve(socket.socket(fileno=loader), os.getppid())

    def read() -> tuple[Settings, list[Add], list[str]]:
        settings = load_settings(store=store, rules=rules or None, source=source)
        return settings, *rules_in_use(settings)

    settings, found, notes = read()
    if begin is Begin.NOW and settings.source not in SPOOLED:
        raise UsageError(f"--from now: the source {settings.source} has no spool", "leave it out")
    configure_log()
    key_file = None
    if settings.source in SPOOLED and settings.evidence.enabled:
        key_file, note = open_key_file(settings.key_path)
        notes = [*notes, *([note] if note else [])]
    notes = [*notes, *lower(settings)]
    if settings.decoder == "auto" and not is_built():
        structlog.get_logger().warning(
            "there is no native core: rows are made at about a twentieth of its speed",
            hint=BUILD_HINT,
        )
    from_now = begin is Begin.NOW
    Service(settings, found, notes, read, from_now=from_now, key_file=key_file).run(duration)
