"""Answers that are a table for a person and JSON for a program."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from auditsvc.terminal import visible
from auditsvc.value_text import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Form(StrEnum):
    """How the answer looks."""

    TABLE = "table"
    JSON = "json"


FormOption = Annotated[
    Form | None,
    typer.Option("--format", help="Default: table on a terminal, else json.", show_default=False),
]


def wants_json(form: Form | None) -> bool:
    """Whether JSON was asked for, or nobody looks."""
    return (form or (Form.TABLE if sys.stdout.isatty() else Form.JSON)) is Form.JSON


def write_json(value: object) -> None:
    """Write one JSON value, indented."""
    typer.echo(to_json(value, indent=2, ascii_only=True))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table for a person; without `columns` it has no header. None is shown as `-`."""
    from rich.console import Console  # noqa: PLC0415 - the service loads the verbs too
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, show_header=bool(columns), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible("-" if cell is None else str(cell))) for cell in row))
    Console(soft_wrap=not sys.stdout.isatty()).print(table)
