"""`auditsvc fleet status`: what the lake has of each host."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from auditsvc import arrow
from auditsvc.cli.options import FormOption
from auditsvc.config import load_settings
from auditsvc.render.output import wants_json, write_json, write_table

_COLUMNS = ("host", "store", "batch", "events", "lag_seconds", "waiting", "state")


def status(
    silent: Annotated[
        float,
        typer.Option("--silent", min=1.0, help="Seconds after which a host counts as silent."),
    ] = 2 * 3600.0,
    form: FormOption = None,
) -> None:
    """Show what the lake has of each host; if anything is wrong, the exit status is 1."""
    report = arrow.use("auditsvc.fleet.report")
    found = report.make_report(load_settings().fleet, silent=silent)
    if wants_json(form):
        write_json(found)
    else:
        write_table(_COLUMNS, [_row(each) for each in found["hosts"]])
        typer.echo(f"{found['events']} events of {len(found['hosts'])} stores; {found['verdict']}")
    if not found["well"]:
        raise typer.Exit(1)


def _row(each: dict[str, Any]) -> list[object]:
    return [
        *(each[name] for name in ("host", "store", "n", "events", "lag_seconds", "waiting")),
        "; ".join(each["wrong"]) or "well",
    ]
