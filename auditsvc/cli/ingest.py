"""`auditsvc ingest`: log files into the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from auditsvc.cli.options import StoreOption
from auditsvc.config import load_settings
from auditsvc.ingest import Ingest
from auditsvc.terminal import visible


def ingest(
    files: Annotated[list[Path], typer.Argument(help="Logs, plain or .gz.", metavar="FILE...")],
    store: StoreOption = None,
    host: Annotated[
        str | None,
        typer.Option("--host", help="Host of records without node=. Default: this one."),
    ] = None,
) -> None:
    """Load log files that auditd or auditsvc wrote; what is already there is not added again."""
    settings = load_settings(store=store, host=host)
    job = Ingest(settings, files)
    console = Console(stderr=True)
    if not console.is_terminal:
        job.run(lambda _: None)
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("", total=job.total)
            job.run(
                lambda done: progress.update(
                    task, completed=done, description=visible(str(job.current))
                )
            )
    typer.echo(f"{job.events} new events; {job.duplicates} records were in the store already")
