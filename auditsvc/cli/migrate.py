"""`auditsvc migrate`: updates a store to the schema of this program."""

from __future__ import annotations

import typer

from auditsvc.cli.options import StoreOption
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.ingest.known_store import KnownStore
from auditsvc.store import migrate as migrate_store


def migrate(store: StoreOption = None) -> None:
    """Create the store, or update it to this program's schema."""
    settings = load_settings(store=store)
    known = KnownStore(settings.spool_directory, settings.store)
    typer.echo(visible(migrate_store(settings.store, create=not known.is_known)))
