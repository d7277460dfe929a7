r"""Rows as text: a table, lines, CSV, JSON, or a JSON object a line.

"Lines" are records with a line for each column, as psql's \x shows them.

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
from enum import Enum
from typing import TYPE_CHECKING, Final, TextIO

from auditsvc.host.terminal import HIDDEN, encodable, encodable_json, visible, visible_json
from auditsvc.render.fit import terminal_width
from auditsvc.render.table import Else, records, write_table
from auditsvc.store.read.result import distinct
from auditsvc.value_text import as_text, read_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from auditsvc.render.table import Marks
    from auditsvc.store.read.result import Result

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
    otherwise: Else = Else.TABLE,
) -> None:
    """Write rows as they come; a reader that goes away early (`| head`) is no error.

    `marks` and `otherwise` are of a table (`auditsvc.render.table`).

    Without a format: on a terminal a table, or records if that does not suit it; else CSV.

    `exact`: CSV cells as they are, also those that a spreadsheet takes for formulas.
    """
    try:
        if form is Format.TABLE:
            write_table(result.columns, result, out, marks=marks, otherwise=otherwise)
        elif form is None and out.isatty():
            write_table(result.columns, result, out, otherwise=Else.RECORDS)
        elif form is Format.LINES:
            _write_lines(result, out)
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


def _write_lines(result: Result, out: TextIO) -> None:
    names = [visible(name) for name in result.columns]
    rows = ([visible(as_text(value)) for value in row] for row in result)
    out.writelines(records(names, rows, terminal_width() if out.isatty() else None))


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
