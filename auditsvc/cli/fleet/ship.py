"""`auditsvc fleet ship`: ships what the store has, by hand."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from auditsvc import arrow
from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.ingest.known_store import KnownStore
from auditsvc.plural import counted
from auditsvc.render.output import wants_json, write_json
from auditsvc.store.arrivals import FLEET
from auditsvc.store.read.feed import Feed


def ship(
    once: Annotated[
        bool, typer.Option("--once", help="All that the store has now, full batches or not.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="End the shipping of this store, so that retention waits for it no more; the lake"
            " keeps what it has.",
        ),
    ] = False,
    store: StoreOption = None,
    form: FormOption = None,
) -> None:
    """Ship what the store has to the inbox of the fleet [fleet], each event once."""
    if once == forget:
        raise UsageError("say what to do", "give --once or --forget; `run` ships by itself")
    settings = load_settings(store=store)
    known = KnownStore(settings.spool_directory, settings.store)
    with known.open(remember=False, create=False) as opened:
        if forget:
            Feed(opened, FLEET).unregister()
            typer.echo("the store is shipped no more")
            return
        shipper = arrow.use("auditsvc.fleet.ship").Shipper(opened, settings)
        for _ in shipper.steps(only_due=False):
            time.sleep(0)
    done = {"batches": shipper.batches, "events": shipper.events, "bytes": shipper.bytes}
    if wants_json(form):
        write_json(done)
        return
    batches = counted(shipper.batches, "batch", "batches")
    events = counted(shipper.events, "event")
    typer.echo(f"shipped: {events} in {batches}, {counted(shipper.bytes, 'byte')}")
