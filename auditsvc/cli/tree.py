"""`auditsvc tree`: which process made which, with time, user and outcome."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from auditsvc.cli.lowering import lower
from auditsvc.cli.options import ColorOption, FormOption, StoreOption
from auditsvc.cli.recording import recorded
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.processes.drawing import as_values, draw, users_of
from auditsvc.processes.report import Asked, find_trees, read_what
from auditsvc.record.fields import UNSET
from auditsvc.render.colour import When, is_coloured
from auditsvc.render.fit import terminal_width
from auditsvc.render.output import wants_json, write_json
from auditsvc.store.read.period import period_of


def tree(
    what: Annotated[
        str | None,
        typer.Argument(
            help="A pid (its last process, or all of a period), an event_id, or"
            " SECOND.MMM:SERIAL of an event.",
            metavar="[PID|EVENT]",
        ),
    ] = None,
    *,
    session: Annotated[
        int | None,
        typer.Option(
            "--session",
            help="All processes of a login session.",
            metavar="N",
            min=0,
            max=UNSET,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="Only what was there from this time on (UTC): 2026-11-28, '2026-11-28 14:30',"
            " 14:30, yesterday, -1h, '2 hours ago'.",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", help="Only what began before this time.", metavar="TIME", show_default=False
        ),
    ] = None,
    depth: Annotated[
        int, typer.Option("--depth", help="Generations to show; 0: all.", metavar="N", min=0)
    ] = 0,
    limit: Annotated[
        int,
        typer.Option("--limit", help="Processes to show of a tree; 0: all.", metavar="N", min=0),
    ] = 1000,
    host: Annotated[
        str | None, typer.Option("--host", help="Only this host's.", metavar="NAME")
    ] = None,
    store: StoreOption = None,
    form: FormOption = None,
    color: ColorOption = When.AUTO,
) -> None:
    """Draw the tree of processes from the log alone: ancestors, the process, its descendants.

    Each line has the time at which the process began (UTC), the login user and the user, program,
    pid, arguments of its last exec, how it ended and after which time. ~ stands before what is
    inferred from the parent's pid alone. Without an end, the process lives or was killed without
    a record.
    """
    if (what is None) == (session is None):
        raise UsageError("give a pid, an event, or --session N", "see `auditsvc tree --help`")
    settings = load_settings(store=store)
    lower(settings)
    kind, value = ("session", session) if what is None else read_what(what)
    asked = Asked(
        period_of(since, until),
        host=host,
        is_of_all_time=since is None and until is None,
        **{kind: value},  # type: ignore[arg-type]
    )
    with recorded(settings, "tree") as access:
        trees = find_trees(settings.store, asked, depth=depth, limit=limit)
        values = [as_values(each) for each in trees]
        access.rows = sum(len(each["processes"]) for each in values)
        if wants_json(form):
            write_json(values)
            return
        coloured = is_coloured(color, sys.stdout)
        width = terminal_width() if sys.stdout.isatty() else None
        for line in draw(trees, users_of(settings.host), coloured=coloured, width=width):
            typer.echo(line, color=coloured)
