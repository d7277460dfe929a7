"""`auditsvc rules`: the rules on paper and in the kernel; one file a verb."""

from __future__ import annotations

import typer

from auditsvc.cli.rules import check, diff, listing, load, report

app = typer.Typer(
    help="Check, compare, load and report on audit rules.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
for name, verb, does in (
    ("check", check.check, "Name what is wrong or weak in rule files; needs no privilege."),
    ("diff", diff.diff, "Show what `rules load` would change."),
    ("load", load.load, "Change what differs, without a gap; all or nothing."),
    ("list", listing.listing, "Show the loaded rules as `auditctl -l` does."),
    ("report", report.report, "Show control by control what is in force and was seen."),
):
    app.command(name, short_help=does)(verb)
