"""`auditsvc config`: the settings; one file for each verb."""

from __future__ import annotations

import typer

from auditsvc.cli.options import show_help

app = typer.Typer(
    help="Check and show the settings.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.callback()(show_help)
VERBS = {
    "check": "Show every error in the settings.",
    "show": "Show every setting, its value, where it is set, and its meaning.",
    "path": "Show which file is read.",
}
