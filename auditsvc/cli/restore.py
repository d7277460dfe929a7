"""`auditsvc restore`: puts a backup where the store is to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditsvc.cli.backup import write_copy
from auditsvc.cli.doing import told
from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.runtime.service_state import read_state
from auditsvc.store.backup import restore as restore_store
from auditsvc.store.databases import place_of


def restore(
    file: Annotated[Path, typer.Argument(help="What `backup` made.", metavar="FILE")],
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Move a store that is there aside, under another name."),
    ] = False,
    damaged: Annotated[
        bool,
        typer.Option("--damaged", help="Take a backup in which `check` finds rows missing."),
    ] = False,
    store: StoreOption = None,
    form: FormOption = None,
) -> None:
    """Put a backup where the store is to be; the service must not be running.

    First all that `auditsvc check` checks is checked in the backup; a damaged one is refused.
    The next `auditsvc run` loads what came after the backup, as far as the spool still has it,
    and reports the rest as lost.
    """
    settings = load_settings(store=store)
    state = read_state(settings.runtime_directory)
    if state is not None and state.store == place_of(settings.store):
        raise UsageError(f"the service (pid {state.pid}) uses the store", "stop it first")
    with told() as tell:
        made = restore_store(file, settings.store, replace=replace, take_damaged=damaged, tell=tell)
    write_copy(made.copy, form, moved=made.moved, problems=made.problems)
