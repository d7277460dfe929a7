"""`auditsvc rules`: rules in files and in the kernel; one file for each verb."""

from __future__ import annotations

import typer

from auditsvc.cli.options import show_help

app = typer.Typer(
    help="Check, compare, load and report on audit rules.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.callback()(show_help)
VERBS = {
    "check": "Show what is wrong or weak in rule files; needs no privilege.",
    "diff": "Show what `rules load` would change.",
    "load": "Load rules: change what differs, without a gap; all or nothing.",
    "list": "Show the loaded rules as `auditctl -l` does.",
    "report": "Show for each control whether it is in force, and its events.",
}
