"""`auditsvc fleet`: the events of many hosts in one lake; one file for each verb."""

from __future__ import annotations

import typer

from auditsvc.cli.fleet import query, verify
from auditsvc.cli.options import Command, show_help

app = typer.Typer(
    help="Ship to the lake of all hosts, commit, and ask it.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.callback()(show_help)
for name, verb, does in (
    ("query", query.query, "Query the events of all hosts in SQL."),
    ("verify", verify.verify, "Hold what the lake has of each host to what it said."),
):
    app.command(name, cls=Command, short_help=does)(verb)
