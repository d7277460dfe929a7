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
) -> None:
    """Ask the store a question in SQL.

    The views are syscalls, paths, sockaddrs, events, records, tamper, coverage, ledger
    and partials.
    """
    settings = load_settings(store=store)
    chosen = form or (Format.TABLE if sys.stdout.isatty() else Format.CSV)
    with run_query(settings.store, sql) as result:
        write_rows(result, chosen, sys.stdout)
        sys.stdout.flush()
