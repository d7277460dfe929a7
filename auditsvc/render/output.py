"""Writes a result as a table for people or as JSON for programs."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from auditsvc.host.terminal import visible
from auditsvc.value_text import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Form(StrEnum):
    """Output format of a result."""

    TABLE = "table"
    JSON = "json"


def wants_json(form: Form | None) -> bool:
    """Whether to write JSON: if requested, or if the output is not a terminal."""
    return (form or (Form.TABLE if sys.stdout.isatty() else Form.JSON)) is Form.JSON


def write_json(value: object) -> None:
    """Write one JSON value, indented."""
    typer.echo(to_json(value, indent=2, ascii_only=True))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; without `columns` it has no header. None is shown as `-`; nothing is cut."""
    cells = list(rows)
    table = Table(box=None, show_header=bool(columns), pad_edge=False)
    for column in columns or ("",) * max(map(len, cells), default=0):
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(visible("-" if cell is None else str(cell))) for cell in row))
    Console(soft_wrap=not sys.stdout.isatty()).print(table)
