"""`auditsvc backup`: copies the store into a file, while it is written to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from auditsvc.cli.doing import told
from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.cli.recording import recorded
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.render.output import wants_json, write_json
from auditsvc.store.backup import Copy
from auditsvc.store.backup import backup as copy_store


def backup(
    file: Annotated[Path, typer.Argument(help="A new file for the copy.", metavar="FILE")],
    store: StoreOption = None,
    form: FormOption = None,
) -> None:
    """Copy the store, as it is at one moment, into a new file that only root may read.

    Its folder must be there. The service goes on writing. Of a store in PostgreSQL the error
    names the server's command.
    """
    settings = load_settings(store=store)
    with recorded(settings, "backup", is_quiet=True), told() as tell:
        made = copy_store(settings.store, file, tell)
    write_copy(made, form)


def write_copy(
    copy: Copy, form: FormOption, *, moved: Sequence[Path] = (), problems: Sequence[str] = ()
) -> None:
    """Show what was made, in one line or as JSON."""
    newest = None if copy.newest is None else time.strftime("%F %T", time.gmtime(copy.newest))
    if wants_json(form):
        facts = {"file": str(copy.path), "bytes": copy.bytes, "newest": newest}
        more = {"moved": [str(each) for each in moved], "problems": list(problems)}
        write_json(facts | {name: each for name, each in more.items() if each})
        return
    until = f"events up to {newest} UTC" if newest else "no events"
    typer.echo(visible(f"{copy.path}: {copy.bytes} bytes, {until}"))
    for each in moved:
        typer.echo(visible(f"moved aside: {each}"))
    for problem in problems:
        typer.echo(visible(f"problem: {problem}"))
