"""`auditsvc migrate`: updates a store to the schema of this program."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.progress import Progress

from auditsvc.cli.options import StoreOption
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.ingest.known_store import KnownStore
from auditsvc.store import migrate as migrate_store


def migrate(store: StoreOption = None) -> None:
    """Create the store, or update it to this program's schema."""
    settings = load_settings(store=store)
    known = KnownStore(settings.spool_directory, settings.store)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("moving events", total=None, visible=False)
        said = migrate_store(
            settings.store,
            create=not known.is_known,
            progress=lambda done, total: bar.update(
                task, completed=done, total=total, visible=True
            ),
        )
    typer.echo(visible(said))
