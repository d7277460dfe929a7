"""`auditsvc migrate`: updates a store to the schema of this program."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from auditsvc.cli.options import StoreOption
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.ingest.known_store import KnownStore
from auditsvc.store import migrate as migrate_store


def migrate(store: StoreOption = None) -> None:
    """Create the store, or update it to this program's schema.

    A store that is there is updated in steps; after an interruption the next call continues.
    """
    settings = load_settings(store=store)
    known = KnownStore(settings.spool_directory, settings.store)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task("schema", total=None)
        done = migrate_store(
            settings.store,
            create=not known.is_known,
            progress=lambda what, done, total: shown.update(
                task, description=what, completed=done, total=total
            ),
        )
    typer.echo(visible(done))
