"""`auditsvc query`: SQL on the store, always read-only."""

from __future__ import annotations

import os
import sys
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from auditsvc import arrow
from auditsvc.cli.lowering import lower
from auditsvc.cli.options import NoPagerOption, StoreOption
from auditsvc.cli.pager import Pager
from auditsvc.cli.recording import recorded
from auditsvc.config import load_settings
from auditsvc.errors import QueryError, UsageError
from auditsvc.host.signals import alarm
from auditsvc.render.rows import Format, write_rows
from auditsvc.render.waiting import waiting
from auditsvc.store.read.limits import MOST_SECONDS, Limits
from auditsvc.store.read.period import period_of
from auditsvc.store.read.result import Result
from auditsvc.store.read.sql import run_query

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import BinaryIO, TextIO

    from auditsvc.config import Settings

_MEMORY: Final = 512 << 20
"""Bytes of memory that a query may use."""


class Form(Enum):
    """How an answer is written: as text, or in columns as bytes."""

    TABLE = "table"
    LINES = "lines"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    ARROW = "arrow"
    PARQUET = "parquet"


_IN_COLUMNS: Final = (Form.ARROW, Form.PARQUET)


def query(
    sql: Annotated[str, typer.Argument(help="One SQL statement.", metavar="SQL")],
    *,
    store: StoreOption = None,
    form: Annotated[
        Form | None,
        typer.Option(
            "--format",
            help="Default: on a terminal table, or lines if that is too wide; else csv. arrow (a"
            " stream) and parquet need auditsvc[arrow].",
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
    archive: Annotated[
        bool,
        typer.Option(
            "--archive",
            help="Ask the archive [archive] and the store as one, in SQLite's SQL. Needs"
            " auditsvc[archive].",
        ),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            help="End the query after this time, with that of a pager; 0: never.",
            metavar="SECONDS",
            min=0,
            max=MOST_SECONDS,
        ),
    ] = 300.0,
    no_pager: NoPagerOption = False,
) -> None:
    """Query the store in SQL.

    The views are story, all_events, syscalls, paths, sockaddrs, events, records, files,
    connections, logins, denials, commands, changes, processes, names, tamper, coverage, access,
    activity, origins, partials, pruned and ledger; --since and --until apply to those with an
    event_id: all but processes, names, activity, pruned and ledger. The format "lines" has a
    line for each column. On a terminal all formats escape control and invisible characters. In
    CSV, text that begins like a formula (= + - @) gets a ' before it.
    """
    settings = load_settings(store=store)
    lower(settings, pages=sys.stdout.isatty() and not no_pager)
    write = _writer(form, exact=exact)
    limits = Limits(timeout, _MEMORY)
    period = period_of(since, until)
    late = limits.late()
    ask = _of_archive(settings) if archive else partial(run_query, settings.store, views_only=True)
    try:
        with (
            Pager(sys.stdout, wanted=not no_pager) as pager,
            recorded(settings, "query", sql) as access,
            waiting() as shown,
            alarm(limits.seconds, late),
            ask(sql, limits, period) as result,
            pager.writing() as paged,
        ):
            out = shown.output(paged)
            write(Result(result.columns, shown.counted(access.counted(result))), out)
            out.flush()
    except QueryError as error:
        if error.what == late.what:
            _drop_output()
        raise


def _of_archive(settings: Settings) -> Callable[..., AbstractContextManager[Result]]:
    """Give what asks archive and store; ConfigError without an archive or what it needs."""
    if settings.archive.to is None:
        raise UsageError("there is no archive", 'set archive.to = "/FOLDER" (AUDITSVC_ARCHIVE__TO)')
    return partial(arrow.use("auditsvc.archive.ask").run_archive_query, settings)


def _writer(form: Form | None, *, exact: bool) -> Callable[[Result, TextIO], None]:
    """Give what writes an answer; it is checked before anything is asked."""
    if form not in _IN_COLUMNS:
        text = None if form is None else Format(form.value)
        return lambda result, out: write_rows(result, text, out, exact=exact)
    if sys.stdout.isatty():
        raise UsageError(
            f"--format {form.value} writes bytes, which a terminal cannot show",
            "send them to a file: > FILE",
        )
    files = arrow.use("auditsvc.arrow.files")
    write: Callable[[Result, BinaryIO], None] = getattr(files, f"write_{form.value}")
    return lambda result, _: _write_bytes(write, result)


def _write_bytes(write: Callable[[Result, BinaryIO], None], result: Result) -> None:
    try:
        write(result, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # as for text (auditsvc.render.rows)
        _drop_output()


def _drop_output() -> None:
    """Discard buffered output: at the interpreter's end it would wait for a pager again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
