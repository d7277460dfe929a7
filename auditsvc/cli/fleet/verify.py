"""`auditsvc fleet verify`: holds what the lake has of each host to what the host said."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from auditsvc import arrow
from auditsvc.cli.lowering import lower
from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.config import load_settings
from auditsvc.host.terminal import visible
from auditsvc.plural import counted
from auditsvc.render.output import wants_json, write_json

if TYPE_CHECKING:
    from auditsvc.fleet.verify import Report

_SHOWN = 100


def verify(
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="Only this host. Can be given several times.", metavar="NAME"),
    ] = None,
    *,
    here: Annotated[
        bool,
        typer.Option(
            "--here",
            help="Compare each event of the store of this host with the lake's row of it too.",
        ),
    ] = False,
    heads: Annotated[
        bool,
        typer.Option(
            "--heads", help="Only print the heads that the lake has, for `auditsvc verify --head`."
        ),
    ] = False,
    store: StoreOption = None,
    form: FormOption = None,
) -> None:
    """Hold what the lake has of each host to what it said, and its heads to each other.

    If something is not as it was said, the exit status is 1. Needs auditsvc[fleet].
    """
    settings = load_settings(store=store)
    lower(settings)
    room = arrow.use("auditsvc.fleet.verify")
    if heads:
        for line in room.lake_heads(settings.fleet, host or ()):
            typer.echo(line)
        return
    report = room.verify_lake(settings.fleet, host or ())
    if here:
        arrow.use("auditsvc.fleet.here").compare_store(settings, report)
    if wants_json(form):
        write_json({"proved": report.is_proved} | asdict(report))
    else:
        _show(report, here=here)
    if not report.is_proved:
        raise typer.Exit(1)


def _show(report: Report, *, here: bool) -> None:
    for what in report.findings[:_SHOWN]:
        typer.echo(visible(what))
    if len(report.findings) > _SHOWN:
        typer.echo(f"... {len(report.findings) - _SHOWN} more")
    for note in report.notes:
        typer.echo(visible(f"note: {note}"))
    typer.echo(
        f"{counted(report.sources, 'store')}, {counted(report.batches, 'batch', 'batches')},"
        f" {counted(report.events, 'event')}, {counted(report.heads, 'head')}"
        f" ({report.linked} follow just on the one before)"
    )
    if here:
        typer.echo(f"{counted(report.compared, 'event')} compared with the store of this host")
    typer.echo("proved" if report.is_proved else "NOT PROVED")
