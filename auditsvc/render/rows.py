r"""Rows as text: a table, lines, CSV, JSON, or a JSON object a line.

"Lines" are records with a line for each column, as psql's \x shows them: on a terminal also
used instead of a table that is wider than the terminal, if no format was chosen.

What must hold, whatever the rows hold:

* Nothing that a terminal acts on or hides reaches one (`auditsvc.host.terminal`): a table and
  lines show it escaped always, the other formats where `out` is a terminal; JSON by its own
  escapes.
* A text cell of CSV that a spreadsheet would run as a formula has a `'` before it, unless
  `exact`. Numbers stay numbers. A row is one record, however its cells hold line ends.
* JSON is valid (`auditsvc.value_text`), also in an encoding that lacks a character.
"""

from __future__ import annotations

import codecs
import csv
import os
import re
from decimal import Decimal
from enum import Enum
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, TextIO

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from auditsvc.host.terminal import HIDDEN, encodable, encodable_json, visible, visible_json
from auditsvc.render.colour import STYLES
from auditsvc.store.read.result import distinct
from auditsvc.value_text import as_text, read_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from auditsvc.store.read.result import Result

    Marks = Callable[[Sequence[object]], Sequence[str | None]]
    """Gives the mark of each cell of a row (`auditsvc.render.colour`)."""

_PAGE: Final = 1000  # rows that a table's widths are made from
_WIDE: Final = 32_000

# Columns of the views that hold JSON; SQLite has no type that would tell.
_JSON_COLUMNS: Final = {"argv", "execs", "fields", "parent_argv"}

# What spreadsheets take for the beginning of a formula (OWASP, "CSV Injection"), the
# full-width forms of East Asian input too; leading white space is skipped by some, and so is a
# byte-order mark or another character without a width, which is removed on the way.
_FORMULA: Final = re.compile(rf"[\t\r\n]|[\s{HIDDEN}]*[=+\-@\uff1d\uff0b\uff0d\uff20]")


class Format(Enum):
    """How rows are written."""

    TABLE = "table"
    LINES = "lines"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"


def write_rows(
    result: Result,
    form: Format | None,
    out: TextIO,
    *,
    exact: bool = False,
    marks: Marks | None = None,
) -> None:
    """Write rows as they come; a reader that goes away early (`| head`) is no error.

    `marks` gives, for a row of a table, the mark of each cell; without it nothing is coloured.

    Without a format: on a terminal a table, or lines if its first rows need more columns than
    the terminal has; else CSV.

    `exact`: CSV cells as they are, also those that a spreadsheet takes for formulas.
    """
    try:
        if form is None and out.isatty():
            _write_table(result, out, or_lines=True)
        elif form is Format.TABLE:
            _write_table(result, out, marks=marks)
        elif form is Format.LINES:
            _write_lines(result.columns, result, out)
        elif form in (Format.CSV, None):
            _write_csv(result, out, exact=exact)
        elif form is Format.JSON:
            _write_json(result, out)
        else:
            _write_jsonl(result, out)
        out.flush()
    except BrokenPipeError:
        _give_up(out)


def _give_up(out: TextIO) -> None:
    """Let what is buffered go nowhere; without this the interpreter fails at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)


def _write_table(
    result: Result, out: TextIO, *, or_lines: bool = False, marks: Marks | None = None
) -> None:
    terminal = out.isatty()
    console = Console(
        file=out,
        width=None if terminal else _WIDE,
        highlight=False,
        soft_wrap=not terminal,
        color_system="standard" if marks else "auto",
        force_terminal=True if marks else None,
        no_color=False if marks else None,
    )
    rows = iter(result)
    first = True
    while (page := list(islice(rows, _PAGE))) or first:
        table = _table(result.columns, page, header=first, marks=marks)
        wide = console.options.update(max_width=_WIDE)
        if or_lines and first and console.measure(table, options=wide).maximum > console.width:
            _write_lines(result.columns, chain(page, rows), out)
            return
        with console.capture() as capture:  # rich would end the program at a closed pipe
            console.print(table)
        out.write(capture.get())
        first = False


def _table(
    columns: Sequence[str],
    page: Sequence[Sequence[object]],
    *,
    header: bool,
    marks: Marks | None = None,
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=header)
    for n, name in enumerate(columns):
        numbers = any(isinstance(row[n], int | float | Decimal) for row in page)
        table.add_column(
            Text(visible(name)), justify="right" if numbers else "left", overflow="fold"
        )
    for row in page:
        texts = [Text(visible(as_text(value))) for value in row]
        for text, mark in zip(texts, marks(row) if marks else (), strict=False):
            text.stylize(STYLES.get(mark or "", ""))
        table.add_row(*texts)
    return table


def _write_lines(columns: Sequence[str], rows: Iterable[Sequence[object]], out: TextIO) -> None:
    names = [visible(name) for name in columns]
    widest = max(map(cell_len, names), default=0)
    names = [set_cell_size(name, widest) for name in names]
    for number, row in enumerate(rows, 1):
        out.write(f"-[ {number} ]".ljust(widest + 1, "-") + "+-----\n")
        shown = [visible(as_text(value)) for value in row]
        cells = zip(names, shown, strict=True)
        out.writelines(f"{name} | {text}\n" if text else f"{name} |\n" for name, text in cells)


class _Records:
    r"""Ends each record that the csv module writes with a newline alone.

    The module quotes a cell for the line ends that it writes itself: with `\n` alone, a
    carriage return in a cell would stand bare and begin a record of its own for many readers.
    """

    def __init__(self, out: TextIO, show: Callable[[str], str]) -> None:
        self._out = out
        self._show = show

    def write(self, record: str) -> None:
        self._out.write(self._show(record.removesuffix("\r\n")) + "\n")


def _write_csv(result: Result, out: TextIO, *, exact: bool) -> None:
    writer = csv.writer(_Records(out, visible if out.isatty() else encodable))
    cell = as_text if exact else _harmless
    writer.writerow([cell(name) for name in result.columns])
    for row in result:
        writer.writerow([cell(value) for value in row])


def _harmless(value: object) -> str:
    text = as_text(value)
    return f"'{text}" if isinstance(value, str) and _FORMULA.match(text) else text


def _write_json(result: Result, out: TextIO) -> None:
    between = "[\n"
    for line in _objects(result, out):
        out.write(f"{between}  {line}")
        between = ",\n"
    out.write("[]\n" if between == "[\n" else "\n]\n")


def write_objects(objects: Iterable[object], out: TextIO) -> None:
    """Write values as JSON, one a line, as rows are; a reader that goes away is no error."""
    show = visible_json if out.isatty() else encodable_json
    ascii_only = not _has_all(out)
    try:
        out.writelines(f"{show(to_json(each, ascii_only=ascii_only))}\n" for each in objects)
        out.flush()
    except BrokenPipeError:
        _give_up(out)


def _write_jsonl(result: Result, out: TextIO) -> None:
    out.writelines(f"{line}\n" for line in _objects(result, out))


def _objects(result: Result, out: TextIO) -> Iterator[str]:
    names = distinct(result.columns)
    documents = [name in _JSON_COLUMNS for name in result.columns]
    show = visible_json if out.isatty() else encodable_json
    ascii_only = not _has_all(out)
    for row in result:
        values = (
            _document(value) if document else value
            for value, document in zip(row, documents, strict=True)
        )
        line = to_json(dict(zip(names, values, strict=True)), ascii_only=ascii_only)
        yield show(line)


def _has_all(out: TextIO) -> bool:
    """Whether a stream can write every character; one of text in memory can."""
    encoding = getattr(out, "encoding", None)
    return encoding is None or codecs.lookup(encoding).name.startswith("utf-")


def _document(value: object) -> object:
    """Read a view's JSON; a text that the user's SQL made stays a text."""
    if not isinstance(value, str) or not value.startswith(("[", "{")):
        return value
    return read_json(value)
