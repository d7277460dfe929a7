"""`auditsvc query`: SQL on the store, always read-only."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Final

import typer

from auditsvc.cli.options import StoreOption
from auditsvc.cli.recording import recorded
from auditsvc.config import load_settings
from auditsvc.errors import QueryError
from auditsvc.host.signals import alarm
from auditsvc.render.rows import Format, write_rows
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.period import period_of
from auditsvc.store.read.result import Result
from auditsvc.store.read.sql import run_query

_MEMORY: Final = 512 << 20
"""Bytes of memory that a query may use."""


def query(
    sql: Annotated[str, typer.Argument(help="One SQL statement.", metavar="SQL")],
    *,
    store: StoreOption = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="Default: on a terminal table, or lines if that is too wide; else csv.",
            show_default=False,
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Do not put ' before CSV cells that spreadsheets take as formulas."
        ),
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="Only events from this time on (UTC): 2026-11-28, '2026-11-28 14:30', 14:30,"
            " yesterday, -1h, '2 hours ago'.",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            help="Only events before this time, written in the same way.",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            help="End the query after this time, with that of a pager; 0: never.",
            metavar="SECONDS",
            min=0,
        ),
    ] = 300.0,
) -> None:
    """Query the store in SQL.

    The views are syscalls, processes, names, paths, sockaddrs, events, records, tamper, coverage,
    ledger, pruned, origins and partials; --since and --until apply to all of them but processes,
    names, ledger and pruned. The format "lines" has a line for each column. On a terminal all
    formats escape control and invisible characters. In CSV, text that begins like a formula
    (= + - @) gets a ' before it.
    """
    settings = load_settings(store=store)
    limits = Limits(timeout, _MEMORY)
    period = period_of(since, until)
    late = limits.late()
    try:
        with (
            recorded(settings, "query", sql) as access,
            alarm(limits.seconds, late),
            run_query(settings.store, sql, limits, period) as result,
        ):
            counted = Result(result.columns, access.counted(result))
            write_rows(counted, form, sys.stdout, exact=exact)
            sys.stdout.flush()
    except QueryError as error:
        if error.what == late.what:
            _drop_output()
        raise


def _drop_output() -> None:
    """Discard buffered output: at the interpreter's end it would wait for a pager again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
