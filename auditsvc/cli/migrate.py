"""`auditsvc migrate`: updates a store to the schema of this program."""

from __future__ import annotations

from contextlib import ExitStack

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
    # Begun by the first step: a store that needs none has no bar.
    with ExitStack() as bar:
        shown = Progress(*columns, console=console, transient=True)
        task = shown.add_task("schema", total=None)

        def progress(what: str, done: int, total: int) -> None:
            if console.is_terminal and not console.is_dumb_terminal and not shown.live.is_started:
                bar.enter_context(shown)
            shown.update(task, description=what, completed=done, total=total)

        done = migrate_store(settings.store, create=not known.is_known, progress=progress)
    typer.echo(visible(done))
