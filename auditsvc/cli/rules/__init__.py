"""`auditsvc rules`: the rules on paper and in the kernel; one file a verb."""

from __future__ import annotations

import typer

from auditsvc.cli.rules import check, diff, listing, load, report

app = typer.Typer(
    help="Check, load and compare audit rules.", no_args_is_help=True, rich_markup_mode=None
)
app.command("check")(check.check)
app.command("diff")(diff.diff)
app.command("load")(load.load)
app.command("list")(listing.listing)
app.command("report")(report.report)
