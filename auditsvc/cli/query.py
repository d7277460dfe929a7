"""`auditsvc query`: SQL over the store, read-only by construction."""

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
            "--exact", help="Leave CSV cells that a spreadsheet would run as formulas as they are."
        ),
    ] = False,
) -> None:
    """Ask the store a question in SQL.

    The views are syscalls, paths, sockaddrs, events, records, tamper, coverage, ledger, origins
    and partials. On a terminal no format writes control or invisible characters as they
    are. In CSV, text that begins like a formula (= + - @) gets a ' before it.
    """
    settings = load_settings(store=store)
    chosen = form or (Format.TABLE if sys.stdout.isatty() else Format.CSV)
    with run_query(settings.store, sql) as result:
        write_rows(result, chosen, sys.stdout, exact=exact)
        sys.stdout.flush()
