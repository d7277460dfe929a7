"""`auditsvc prune`: deletes the days that the settings [retention] do not keep."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.evidence import pruned_days
from auditsvc.host.terminal import visible
from auditsvc.ingest.known_store import KnownStore
from auditsvc.plural import counted
from auditsvc.render.output import wants_json, write_json, write_table
from auditsvc.retention.job import Job
from auditsvc.retention.report import list_due
from auditsvc.store.partitions import date_of
from auditsvc.store.space import rewrite as rewrite_file
from auditsvc.store.space import space_of

_LEAST_PAUSE = 0.03
"""Seconds; SQLite's other writers look at most so long apart whether they may write."""


def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the days that would be deleted.")
    ] = False,
    rewrite: Annotated[
        bool,
        typer.Option(
            "--rewrite",
            help="Afterwards write an SQLite file anew: one that an older auditsvc made cannot "
            "shrink before. Writers wait, and as much room is needed again.",
        ),
    ] = False,
    store: StoreOption = None,
    form: FormOption = None,
) -> None:
    """Delete whole days of events, and raw lines, that the settings [retention] do not keep."""
    settings = load_settings(store=store)
    if not settings.retention.is_limited:
        raise UsageError(
            "nothing limits what is kept",
            'set retention.keep = "90d" or retention.max_bytes (AUDITSVC_RETENTION__KEEP)',
        )
    if dry_run:
        due = list_due(settings.store, settings.retention, time.time())
        if wants_json(form):
            write_json([asdict(each) for each in due])
        else:
            shown = [(each.day, each.events, each.lines, each.held_for or None) for each in due]
            write_table(("day", "events", "raw lines", "held for"), shown)
        return
    known = KnownStore(settings.spool_directory, settings.store)
    with known.open(remember=False, create=False) as opened:
        announce = partial(pruned_days.announce, settings.spool_directory, opened.database)
        job = Job(opened.database, settings.retention, announce=announce)
        begun = time.monotonic()
        for _ in job.steps():  # others can write in between
            time.sleep(max(_LEAST_PAUSE, (time.monotonic() - begun) / 2))
            begun = time.monotonic()
        if rewrite:
            rewrite_file(opened.database)
        left = space_of(opened.database)
    held = {date_of(day): reader for day, reader in job.held.items()}
    stays = left.used < left.file and left.is_exact and not left.can_shrink
    if wants_json(form):
        gone = {date_of(day): events for day, events in job.events.items()}
        facts = {"events": gone, "lines": job.lines, "freed": job.freed, "held": held}
        size = {"bytes": left.used, "file_bytes": left.file, "needs_rewrite": stays}
        write_json(facts | size)
        return
    events, days = counted(sum(job.events.values()), "event"), counted(len(job.events), "day")
    typer.echo(f"deleted: {events} of {days}, {counted(job.lines, 'raw line')}")
    typer.echo(f"{job.freed} bytes freed, {left.used} in use")
    for day, reader in held.items():
        typer.echo(visible(f"{day} stays: {reader} has not had its events"))
    if stays:
        typer.echo(
            f"the file keeps its {left.file} bytes and uses them again; "
            "`auditsvc prune --rewrite` makes it smaller"
        )
