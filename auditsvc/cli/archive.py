"""`auditsvc archive`: writes the days that are over to the archive of the settings."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from auditsvc import arrow
from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import Settings, load_settings
from auditsvc.errors import UsageError
from auditsvc.host.terminal import visible
from auditsvc.ingest.known_store import KnownStore
from auditsvc.plural import counted
from auditsvc.render.output import wants_json, write_json, write_table
from auditsvc.store.partitions import date_of
from auditsvc.store.write import archived


def archive(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the days that would be archived.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="End the archive of this store, so that retention waits for it no more; its"
            " files stay.",
        ),
    ] = False,
    store: StoreOption = None,
    form: FormOption = None,
) -> None:
    """Write the days that are over, and late events of earlier ones, to the archive [archive]."""
    settings = load_settings(store=store)
    if forget:
        _forget(settings, form)
        return
    if settings.archive.to is None:
        raise UsageError("there is no archive", 'set archive.to = "/FOLDER" (AUDITSVC_ARCHIVE__TO)')
    jobs = arrow.use("auditsvc.archive.job")
    known = KnownStore(settings.spool_directory, settings.store)
    with known.open(remember=False, create=False) as opened:
        job = jobs.Job(opened.database, settings)
        if dry_run:
            _show_due(job.list_due(), form)
            return
        for _ in job.steps():
            time.sleep(0)
    events = {date_of(day): count for day, count in job.events.items()}
    if wants_json(form):
        done = {"events": events, "bytes": job.bytes, "dropped": job.dropped}
        write_json(done | {"to": str(settings.archive.to)})
        return
    total = counted(sum(events.values()), "event")
    typer.echo(f"archived: {total} of {counted(len(events), 'day')}, {counted(job.bytes, 'byte')}")
    if job.dropped:
        typer.echo(f"deleted from the archive: {counted(len(job.dropped), 'day')}")
    typer.echo(visible(f"in {settings.archive.to}"))


def _show_due(due: dict[int, int], form: Any) -> None:
    days = [(date_of(day), events) for day, events in due.items()]
    if wants_json(form):
        write_json([{"day": day, "events": events} for day, events in days])
    else:
        write_table(("day", "events"), days)


def _forget(settings: Settings, form: FormOption) -> None:
    known = KnownStore(settings.spool_directory, settings.store)
    with (
        known.open(remember=False, create=False) as opened,
        opened.database.begin(alone=True) as connection,
    ):
        had = archived.forget(connection)
    if wants_json(form):
        write_json({"forgotten": had})
    else:
        typer.echo("the store has no archive now" if had else "the store had no archive")
