"""`auditsvc rules`: rules in files and in the kernel; one file for each verb."""

from __future__ import annotations

import typer

from auditsvc.cli.options import Command, show_help
from auditsvc.cli.rules import check, diff, listing, load, report

app = typer.Typer(
    help="Check, compare, load and report on audit rules.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.callback()(show_help)
for name, verb, does in (
    ("check", check.check, "Show what is wrong or weak in rule files; needs no privilege."),
    ("diff", diff.diff, "Show what `rules load` would change."),
    ("load", load.load, "Load rules: change what differs, without a gap; all or nothing."),
    ("list", listing.listing, "Show the loaded rules as `auditctl -l` does."),
    ("report", report.report, "Show for each control whether it is in force, and its events."),
):
    app.command(name, cls=Command, short_help=does)(verb)
