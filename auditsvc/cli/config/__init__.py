"""`auditsvc config`: the settings; one file for each verb."""

from __future__ import annotations

import typer

from auditsvc.cli.config import check, path, show
from auditsvc.cli.options import Command, show_help

app = typer.Typer(
    help="Check and show the settings.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.callback()(show_help)
for name, verb, does in (
    ("check", check.check, "Show every error in the settings."),
    ("show", show.show, "Show every setting, its value, where it is set, and its meaning."),
    ("path", path.path, "Show which file is read."),
):
    app.command(name, cls=Command, short_help=does)(verb)
