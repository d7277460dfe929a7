r"""Rows as a table for people: on a terminal fitted to its width, else a line a row.

A table that is wider than the terminal has its long cells in several lines, broken between words
(`auditsvc.render.fit`). Where the words have no room side by side, or that takes more lines than
what the caller names instead (`Else`), rows are written so. For a pipe or a file a cell that is
longer than most goes beyond its column, and the next ones come back to theirs where they can: one
long cell does not make every line as long.

Rows come in pages. A page has the columns' widths of the page before where they suit it, so that
it stands under the same header; else a header of its own.
"""

from __future__ import annotations

import os
from decimal import Decimal
from enum import Enum
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from rich.cells import cell_len, set_cell_size

from auditsvc.host.terminal import visible
from auditsvc.render.colour import marked
from auditsvc.render.fit import GAP, fit, hanging, terminal_width, wrapped
from auditsvc.value_text import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from auditsvc.render.fit import Piece

    Marks = Callable[[Sequence[object]], Sequence[str | None]]
    """Gives the mark of each cell of a row (`auditsvc.render.colour`)."""

_PAGE: Final = 1000  # rows that a table's widths are made from
_WIDE: Final = 32_000
"""Columns of what is no terminal: a cell that is longer has several lines there, too."""
_LONG: Final = 60
"""A cell that is wider does not widen its column where lines are not fitted to a terminal."""
_ROOMY: Final = 3
"""Blanks between columns where all have room; one more stands at each side."""
_HEADER: Final = "1"
"""The mark of a header: bold."""
_DEEPEST: Final = 25
"""The most columns that lines of a flowing row are indented: those of a time."""


class Else(Enum):
    """What is written of rows that do not suit a table of the terminal's width."""

    TABLE = "table"
    """A table all the same, with broken words."""
    RECORDS = "records"
    """A record a row, with a line a column."""
    FLOWING = "flowing"
    """The cells of a row side by side, in as many lines as they need."""


class _Layout(NamedTuple):
    """The widths of columns, and the blanks between them; without widths it is no table."""

    widths: tuple[int, ...]
    gap: int = GAP
    is_open: bool = False
    """Whether cells may be wider than their column."""


_LOOSE: Final = _Layout(())
"""Not a table: records, or flowing rows."""


def write_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    out: TextIO,
    *,
    marks: Marks | None = None,
    otherwise: Else = Else.TABLE,
) -> None:
    """Write rows of values.

    `marks` gives, for a row, the mark of each cell; without it nothing but the header is marked.
    """
    names = [visible(name) for name in columns]
    width = terminal_width() if out.isatty() else None
    is_bold = marks is not None or (out.isatty() and os.environ.get("TERM", "dumb") != "dumb")
    head = [(name, _HEADER if is_bold else None) for name in names]
    remaining = iter(rows)
    before: _Layout | None = None
    number = 1
    while (page := list(islice(remaining, _PAGE))) or before is None:
        cells = [[visible(as_text(value)) for value in row] for row in page]
        layout = _layout(names, cells, width, before, otherwise)
        of_rows = [tuple(marks(row)) if marks else (None,) * len(names) for row in page]
        pieces = [list(zip(*row, strict=True)) for row in zip(cells, of_rows, strict=True)]
        if layout.widths:
            rights = [
                any(isinstance(row[n], int | float | Decimal) for row in page)
                for n in range(len(names))
            ]
            if layout != before:
                out.writelines(_lines([head], layout, rights, top=True))
            out.writelines(_lines(pieces, layout, rights))
        elif otherwise is Else.FLOWING:
            if layout != before:
                out.writelines(flowing([head], width))
            out.writelines(flowing(pieces, width))
        else:
            out.writelines(records(names, cells, width, first=number))
        before = layout
        number += len(page)
    if before.gap == _ROOMY:
        out.write("\n" if before.is_open else " " * _total(before) + "\n")


def records(
    names: Sequence[str], rows: Iterable[Sequence[str]], width: int | None, *, first: int = 1
) -> Iterator[str]:
    """Give rows of visible texts as records, a line a column; longer ones below themselves."""
    widest = max(map(cell_len, names), default=0)
    names = [set_cell_size(name, widest) for name in names]
    for number, row in enumerate(rows, first):
        yield f"-[ {number} ]".ljust(widest + 1, "-") + "+-----\n"
        for name, text in zip(names, row, strict=True):
            if not text:
                yield f"{name} |\n"
            elif width is None:
                yield f"{name} | {text}\n"
            else:
                lines = hanging([(f"{name} |", None), (text, None)], width, widest + 3, gap=1)
                yield from (f"{line}\n" for line in lines)


def flowing(rows: Iterable[Sequence[Piece]], width: int | None) -> Iterator[str]:
    """Give rows as lines with their cells side by side; empty ones are left out.

    Nothing in a cell looks like a cell of its own.
    """
    for row in rows:
        indent = min(_DEEPEST, cell_len(row[0][0]) + GAP)
        pieces = [(_single_spaced(text), mark) for text, mark in row if text]
        yield from (f"{line}\n" for line in hanging(pieces, width or _WIDE, indent))


def _single_spaced(text: str) -> str:
    """Give a text in which of several blanks every second one is written as its escape."""
    return text.replace("  ", r" \x20")


def _total(layout: _Layout) -> int:
    """Give the columns that a table takes."""
    sides = 2 if layout.gap == _ROOMY else 0
    return sum(layout.widths) + layout.gap * (len(layout.widths) - 1) + sides


def _layout(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    before: _Layout | None,
    otherwise: Else,
) -> _Layout:
    columns = [[name, *cells] for name, *cells in zip(names, *rows, strict=True)]
    sizes = [[cell_len(text) for text in column] for column in columns]
    if width is None:
        most = (max(each for n, each in enumerate(of) if not n or each <= _LONG) for of in sizes)
        widths = tuple(map(max, most, before.widths if before else [0] * len(names)))
        return _Layout(widths, _ROOMY, is_open=True)
    widths = tuple(map(max, sizes))
    if before is not None and before.widths:
        widths = tuple(map(max, widths, before.widths))
        if widths == before.widths:
            return before
    for gap in (_ROOMY, GAP):
        if _total(natural := _Layout(widths, gap)) <= width:
            return natural
    found = fit(columns, width, at_any_cost=otherwise is Else.TABLE)
    if otherwise is Else.TABLE:
        return natural if found is None else _Layout(found.widths)
    if found is None:
        return _LOOSE
    if otherwise is Else.FLOWING:
        pieces = ([(text, None) for text in row] for row in rows)
        others = sum(1 for _ in flowing(pieces, width))
    else:
        others = sum(1 for _ in records(names, rows, width))
    return _Layout(found.widths) if found.height - 1 <= others else _LOOSE


def _lines(
    rows: Iterable[Sequence[Piece]], layout: _Layout, rights: Sequence[bool], *, top: bool = False
) -> Iterator[str]:
    """Give the lines of rows in columns; `top`: those of a header."""
    is_roomy = layout.gap == _ROOMY
    side, between = (" ", " " * layout.gap) if is_roomy else ("", " " * layout.gap)
    total = _total(layout)
    if top and is_roomy:
        yield "\n" if layout.is_open else " " * total + "\n"
    for row in rows:
        if layout.is_open:
            yield _open_line(row, layout, rights)
            continue
        cells = [
            [(line, mark) for line in wrapped(text, size)]
            for (text, mark), size in zip(row, layout.widths, strict=True)
        ]
        for line in zip_longest(*cells, fillvalue=("", None)):
            shown = between.join(map(_padded, line, layout.widths, rights))
            yield f"{side}{shown}{side}\n" if is_roomy else f"{shown.rstrip()}\n"
    if top:
        yield f"{side}{'─' * (total - 2 * len(side))}{'' if layout.is_open else side}\n"


def _open_line(row: Sequence[Piece], layout: _Layout, rights: Sequence[bool]) -> str:
    """Give a row as one line, whatever its cells' widths, without blanks at its end."""
    line, used, end = "", 0, 1 - layout.gap
    for (text, mark), width, is_right in zip(row, layout.widths, rights, strict=True):
        end += layout.gap + width
        if not text:
            continue
        size = cell_len(text)
        begin = end - size if is_right and size <= width else end - width
        # Nothing in a cell may look like the cells whose columns it covers.
        shown = text if size <= width else _single_spaced(text)
        blanks = max(begin - used, layout.gap if used else 0)
        line += " " * blanks + marked(shown, mark)
        used += blanks + cell_len(shown)
    return f"{line}\n"


def _padded(piece: Piece, width: int, is_right: bool) -> str:
    text, mark = piece
    blanks = " " * (width - cell_len(text))
    return blanks + marked(text, mark) if is_right else marked(text, mark) + blanks
