"""`auditsvc fleet prune`: deletes whole days of the table."""

from __future__ import annotations

import re
import time
from typing import Annotated, Final

import typer

from auditsvc import arrow
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.store.partitions import DAY, date_of

_DAYS: Final = re.compile(r"[1-9][0-9]{0,4}d")


def prune(
    keep: Annotated[
        str | None,
        typer.Option("--keep", metavar="DAYS", help='As "400d"; default: the setting fleet.keep.'),
    ] = None,
) -> None:
    """Delete the days of the table that are not kept, whole: their files are left out at once."""
    settings = load_settings().fleet
    kept = keep or settings.keep
    if kept is None or _DAYS.fullmatch(kept) is None:
        raise UsageError("it is not said how much to keep", "give --keep 400d, or set fleet.keep")
    first = int(time.time()) // DAY - int(kept.removesuffix("d"))
    files, rows = arrow.use("auditsvc.fleet.prune").prune(settings, first)
    typer.echo(f"deleted before {date_of(first)}: {rows} rows in {files} files")
