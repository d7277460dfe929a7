"""Rows as text: a table, CSV, JSON, or a JSON object a line."""

from __future__ import annotations

import csv
import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from auditsvc.host.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auditsvc.store.read.result import Result

_PAGE: Final = 1000  # rows that a table's widths are made from
_WIDE: Final = 32_000

# Columns of the views that hold JSON; SQLite has no type that would tell.
_JSON_COLUMNS: Final = {"argv", "fields"}


class Format(Enum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"


def write_rows(result: Result, form: Format, out: TextIO) -> None:
    """Write rows as they come; a reader that goes away early (`| head`) is no error."""
    write = {
        Format.TABLE: _write_table,
        Format.CSV: _write_csv,
        Format.JSON: _write_json,
        Format.JSONL: _write_jsonl,
    }[form]
    try:
        write(result, out)
        out.flush()
    except BrokenPipeError:
        # What is buffered can go nowhere; without this the interpreter fails at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)


def _write_table(result: Result, out: TextIO) -> None:
    terminal = out.isatty()
    console = Console(
        file=out, width=None if terminal else _WIDE, highlight=False, soft_wrap=not terminal
    )
    rows = iter(result)
    first = True
    while (page := list(islice(rows, _PAGE))) or first:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=first)
        for n, name in enumerate(result.columns):
            numbers = any(isinstance(row[n], int | float | Decimal) for row in page)
            table.add_column(
                Text(visible(name)), justify="right" if numbers else "left", overflow="fold"
            )
        for row in page:
            table.add_row(*(Text(visible(_plain(value))) for value in row))
        with console.capture() as capture:  # rich would end the program at a closed pipe
            console.print(table)
        out.write(capture.get())
        first = False


def _write_csv(result: Result, out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(result.columns)
    for row in result:
        writer.writerow([_plain(value) for value in row])


def _write_json(result: Result, out: TextIO) -> None:
    between = "[\n"
    for line in _objects(result):
        out.write(f"{between}  {line}")
        between = ",\n"
    out.write("[]\n" if between == "[\n" else "\n]\n")


def _write_jsonl(result: Result, out: TextIO) -> None:
    out.writelines(f"{line}\n" for line in _objects(result))


def _objects(result: Result) -> Iterator[str]:
    names = _distinct(result.columns)
    documents = [name in _JSON_COLUMNS for name in result.columns]
    for row in result:
        values = (
            _document(value) if document else value
            for value, document in zip(row, documents, strict=True)
        )
        yield json.dumps(dict(zip(names, values, strict=True)), default=_json, ensure_ascii=False)


def _distinct(columns: Iterable[str]) -> list[str]:
    """Count columns that share a name up: no value of a row may fall out of its object."""
    names: list[str] = []
    for column in columns:
        name, n = column, 1
        while name in names:
            n += 1
            name = f"{column}_{n}"
        names.append(name)
    return names


def _document(value: object) -> object:
    """Read a view's JSON; a text of the user's own making stays one."""
    if not isinstance(value, str) or not value.startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _json(value: object) -> object:
    """Give what JSON has for a value that it does not know."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return _plain(value)


def _plain(value: object) -> str:
    """Write a value as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):
        utc = value.astimezone(UTC) if value.tzinfo else value
        return utc.strftime("%Y-%m-%d %H:%M:%S.") + f"{utc.microsecond // 1000:03d}"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
