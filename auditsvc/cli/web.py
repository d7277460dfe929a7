"""`auditsvc web`: pages over the store, on loopback, read-only."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Annotated

import typer

from auditsvc.cli.ended import ended_by_signals
from auditsvc.cli.lowering import lower
from auditsvc.cli.options import StoreOption
from auditsvc.config import load_settings
from auditsvc.errors import UsageError
from auditsvc.search import sources
from auditsvc.store.read.limits import MOST_SECONDS


def web(
    *,
    store: StoreOption = None,
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            help="127.0.0.1:PORT (0: any free one), unix:PATH, or systemd (its socket).",
            metavar="PLACE",
        ),
    ] = "127.0.0.1:8181",
    archive: Annotated[
        bool, typer.Option("--archive", help="Show the archive [archive] and the store as one.")
    ] = False,
    fleet: Annotated[
        bool, typer.Option("--fleet", help="Show the events of all hosts of the fleet [fleet].")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            help="End a page's questions after this time; 0: never.",
            min=0,
            max=MOST_SECONDS,
            metavar="SECONDS",
        ),
    ] = 10.0,
) -> None:
    """Show pages over the store in a browser; nothing can be changed there.

    Open the link that is printed: it works once, then a new one is printed. From another host,
    forward the port: ssh -L 8181:127.0.0.1:8181 HOST. Ctrl-C ends it. With --archive the
    overview, events, an event and SQL are of archive and store as one, with --fleet of all
    hosts; other pages are of the store alone, and say so.
    """
    try:
        serve = import_module("auditsvc.web.serve").serve
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed", "pip install 'auditsvc[web]'") from error
    if os.geteuid() == 0:
        typer.echo(
            "auditsvc: it runs as root and needs no more than to read the store:"
            " start it as a user who may do that",
            err=True,
        )
    settings = load_settings(store=store)
    if archive and fleet:
        raise UsageError("--archive and --fleet do not go together", "give one of them")
    make = sources.archive if archive else sources.fleet if fleet else None
    source = None if make is None else make(settings)
    lower(settings)
    with ended_by_signals():
        serve(settings, listen, timeout, source)
