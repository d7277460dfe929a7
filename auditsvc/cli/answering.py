"""What `query` and `fleet query` have in common: options, and an answer that is written.

An answer goes to a pager, a pipe or a file, as text or as bytes in columns; that it was asked is
recorded (`auditsvc.access`); time and memory are limited.
"""

from __future__ import annotations

import os
import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from auditsvc import arrow
from auditsvc.cli.pager import Pager
from auditsvc.cli.recording import recorded
from auditsvc.errors import QueryError, UsageError
from auditsvc.host.signals import alarm
from auditsvc.render.rows import Format, write_rows
from auditsvc.render.waiting import waiting
from auditsvc.store.read.limits import MOST_SECONDS, Limits
from auditsvc.store.read.result import Result

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
FormOption = Annotated[
    Form | None,
    typer.Option(
        "--format",
        help="Default: on a terminal table, or lines if that is too wide; else csv. arrow (a"
        " stream) and parquet need auditsvc[arrow].",
        show_default=False,
    ),
]
ExactOption = Annotated[
    bool,
    typer.Option(
        "--exact", help="Do not put ' before CSV cells that spreadsheets take as formulas."
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        help="Only events from this time on (UTC): 2026-11-28, '2026-11-28 14:30', 14:30,"
        " yesterday, -1h, '2 hours ago'.",
        metavar="TIME",
        show_default=False,
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until",
        help="Only events before this time, written in the same way.",
        metavar="TIME",
        show_default=False,
    ),
]
TimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout",
        help="End the query after this time, with that of a pager; 0: never.",
        metavar="SECONDS",
        min=0,
        max=MOST_SECONDS,
    ),
]


def show_answer(
    settings: Settings,
    command: str,
    sql: str,
    ask: Callable[[Limits], AbstractContextManager[Result]],
    *,
    form: Form | None,
    exact: bool,
    seconds: float,
    no_pager: bool,
    place: str | None = None,
) -> None:
    """Ask, and write the answer; `place`: what is asked, if it is not the store of the settings."""
    write = _writer(form, exact=exact)
    limits = Limits(seconds, _MEMORY)
    late = limits.late()
    try:
        with (
            Pager(sys.stdout, wanted=not no_pager) as pager,
            recorded(settings, command, sql, place=place) as access,
            waiting() as shown,
            alarm(limits.seconds, late),
            ask(limits) as result,
            pager.writing() as paged,
        ):
            out = shown.output(paged)
            write(Result(result.columns, shown.counted(access.counted(result))), out)
            out.flush()
    except QueryError as error:
        if error.what == late.what:
            _drop_output()
        raise


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
