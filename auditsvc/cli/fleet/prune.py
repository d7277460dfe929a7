"""`auditsvc fleet prune`: deletes whole days of the table, old snapshots, and left-over files."""

from __future__ import annotations

import re
import time
from typing import Annotated, Final

import typer

from auditsvc import arrow
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.plural import counted
from auditsvc.store.partitions import DAY, date_of

_DAYS: Final = re.compile(r"[1-9][0-9]{0,4}d")
_HOUR: Final = 3600


def prune(
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="DAYS",
            help='As "400d"; default: the setting fleet.keep. Without either all days stay.',
        ),
    ] = None,
    snapshots: Annotated[
        float,
        typer.Option(
            "--snapshots",
            min=0.1,
            metavar="HOURS",
            help="How long earlier states of the table can be asked: longer than any question.",
        ),
    ] = 1.0,
    files: Annotated[
        float,
        typer.Option(
            "--files",
            min=0.1,
            metavar="HOURS",
            help="How old a file must be that no state of the table has: longer than any job of"
            " Spark that writes to it.",
        ),
    ] = 24.0,
) -> None:
    """Delete the days of the table that are not kept, whole: their files are left out at once.

    Then earlier states of the table, and files that are in none: what was taken out before, and
    what programs left that ended before their commit.
    """
    settings = load_settings().fleet
    kept = keep or settings.keep
    if kept is not None:
        if _DAYS.fullmatch(kept) is None:
            raise UsageError(f"{kept} is not a number of days", "give --keep 400d")
        first = int(time.time()) // DAY - int(kept.removesuffix("d"))
        count, rows = arrow.use("auditsvc.fleet.prune").prune(settings, first)
        typer.echo(f"deleted before {date_of(first)}: {rows} rows in {counted(count, 'file')}")
    done = arrow.use("auditsvc.fleet.sweep").sweep(
        settings, snapshots=snapshots * _HOUR, files=files * _HOUR
    )
    left = f"{counted(done.files, 'file')} in none, {counted(done.bytes, 'byte')}"
    typer.echo(f"removed: {counted(done.snapshots, 'snapshot')}; {left}")
