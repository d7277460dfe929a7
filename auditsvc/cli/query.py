"""`auditsvc query`: SQL on the store, always read-only."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from auditsvc.cli.options import StoreOption
from auditsvc.config import load_settings
from auditsvc.render.rows import Format, write_rows
from auditsvc.store.read.sql import run_query


def query(
    sql: Annotated[str, typer.Argument(help="One SQL statement.", metavar="SQL")],
    store: StoreOption = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format", help="Default: table on a terminal, else csv.", show_default=False
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Do not put ' before CSV cells that spreadsheets take as formulas."
        ),
    ] = False,
) -> None:
    """Query the store in SQL.

    The views are syscalls, paths, sockaddrs, events, records, tamper, coverage, ledger
    and partials. On a terminal all formats escape control and invisible characters. In
    CSV, text that begins like a formula (= + - @) gets a ' before it.
    """
    settings = load_settings(store=store)
    chosen = form or (Format.TABLE if sys.stdout.isatty() else Format.CSV)
    with run_query(settings.store, sql) as result:
        write_rows(result, chosen, sys.stdout, exact=exact)
        sys.stdout.flush()
