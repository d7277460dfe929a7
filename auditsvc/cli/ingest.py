"""`auditsvc ingest`: loads log files, or the journal, into the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from auditsvc.cli.lowering import lower
from auditsvc.cli.options import StoreOption
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.host.terminal import visible
from auditsvc.ingest.ingest import Ingest, IngestJournal
from auditsvc.plural import counted


def ingest(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Log files, plain or .gz, .xz, .bz2, .zst.", metavar="FILE"),
    ] = None,
    journal: Annotated[
        bool,
        typer.Option("--journal", help="Instead of files: the journal's audit entries."),
    ] = False,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory",
            help="The journals in this folder, of any host. Default: this machine's.",
            metavar="DIR",
        ),
    ] = None,
    store: StoreOption = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host", help="Host of records without node=. Default: this one.", metavar="NAME"
        ),
    ] = None,
) -> None:
    """Load log files, or the journal's audit entries; stored events are not added again."""
    if bool(files) == journal:
        what = "give files or --journal, not both" if files else "give files, or --journal"
        raise UsageError(what, "see `auditsvc ingest --help`")
    if directory is not None and not journal:
        raise UsageError("--directory needs --journal", "add it, or give the files instead")
    settings = load_settings(store=store, host=host)
    lower(settings, reads_files=True, named=(*(files or ()), directory))
    job = IngestJournal(settings, directory, _report) if journal else Ingest(settings, files or [])
    console = Console(stderr=True)
    if not console.is_terminal:
        job.run(lambda _: None)
    else:
        with Progress(*_columns(job), console=console, transient=True) as progress:
            task = progress.add_task("", total=job.total)
            job.run(
                lambda done: progress.update(
                    task, completed=done, description=visible(str(job.current))
                )
            )
    new, old = counted(job.events, "new event"), counted(job.duplicates, "record")
    typer.echo(f"{new}; {old} already stored")
    for note in job.notes:
        _report(note)
    for error in job.errors[:-1]:
        _report(str(error))
    if job.errors:
        raise job.errors[-1]


def _report(what: str) -> None:
    typer.echo(f"auditsvc: {visible(what)}", err=True)


def _columns(job: Ingest | IngestJournal) -> list[ProgressColumn]:
    name = TextColumn("{task.description}", markup=False)
    if job.total is None:  # it is unknown how many of a journal's entries are audit entries
        return [name, DownloadColumn()]
    return [name, BarColumn(), DownloadColumn(), TimeRemainingColumn()]
