r"""Text for a terminal of some columns: lines that break between words, and widths of a table.

In: text without hidden characters (`auditsvc.host.terminal`). What must hold, whatever the text:

* Nothing is left out: the lines of a text, joined, are the text, but for one blank at a break.
* A word stays whole where it has room. One that is longer than a line breaks behind a `/` or
  another sign that ends a part of it, and only without such a sign anywhere.
* Lines after the first are indented, so that a text cannot begin a line by being long.

Widths are in columns of the terminal (`cell_len`: 2 for a wide character of East Asia).
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from rich.cells import cell_len, chop_cells

from auditsvc.render.colour import marked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Piece = tuple[str, str | None]
    """A text, and its mark (`auditsvc.render.colour`)."""

GAP: Final = 2
"""Blanks between two columns of a table that had to be fitted."""
_LEAST_WORD: Final = 24
"""A word up to this long is not broken by a table; on wide terminals longer ones are not."""
_LEAST_ROOM: Final = 20
"""Columns that a text has, however far it should be indented."""
_LEAST_INDENT: Final = 2
_PART: Final = re.compile(r"[^/,;:=&?|]*[/,;:=&?|]+|[^/,;:=&?|]+")
_MOMENT: Final = re.compile(r"(?<=\b\d{4}-\d\d-\d\d) (?=\d\d:\d\d)")
_TIED: Final = "\0"
"""Stands for a blank at which a line must not break; no visible text has it."""


def terminal_width() -> int:
    """Give the columns of the terminal; COLUMNS says otherwise."""
    return shutil.get_terminal_size().columns


def wrapped(text: str, width: int) -> list[str]:
    """Give the lines of a text, none wider than `width` (which is at least 2)."""
    if cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    line, used = "", 0
    for n, word in enumerate(text.split(" ")):
        size = cell_len(word)
        if n and used + 1 + size <= width:
            line, used = f"{line} {word}", used + 1 + size
            continue
        if n:
            lines.append(line)
        *full, line = _broken(word, width) if size > width else [word]
        lines += full
        used = cell_len(line)
    lines.append(line)
    return lines


def _broken(word: str, width: int) -> list[str]:
    """Give the parts of a word that is longer than a line."""
    lines: list[str] = []
    line, used = "", 0
    for part in _PART.findall(word):
        size = cell_len(part)
        if used + size > width:
            if size > width:
                *full, line = chop_cells(line + part, width)
                lines += full
            else:
                lines.append(line)
                line = part
            used = cell_len(line)
        else:
            line, used = line + part, used + size
    lines.append(line)
    return lines


def hanging(pieces: Sequence[Piece], width: int, indent: int, *, gap: int = GAP) -> Iterator[str]:
    """Give lines with the pieces side by side; what does not fit goes below, indented.

    A piece that fits into a line of its own stays whole. A long one that comes just at the indent
    begins there. Marks are set, and take no columns.
    """
    indent = max(_LEAST_INDENT, min(indent, width - _LEAST_ROOM))
    room = max(_LEAST_ROOM // 2, width - indent)
    shown, used = "", 0
    for n, (text, mark) in enumerate(pieces):
        blanks = gap if n else 0
        size = cell_len(text)
        if used + blanks + size <= width:
            shown += " " * blanks + marked(text, mark)
            used += blanks + size
            continue
        if n and used + blanks != indent:
            yield shown
            shown, blanks = " " * indent, 0
        first, *more = wrapped(text, room)
        shown += " " * blanks + marked(first, mark)
        for line in more:
            yield shown
            shown = " " * indent + marked(line, mark)
        used = indent + cell_len(more[-1] if more else first)
    yield shown


def fitted(text: str, out: TextIO, *, indent: int = 4) -> str:
    """Give a line for `out`: on a terminal in several, each but the first indented."""
    if not out.isatty():
        return text
    return "\n".join(hanging([(text, None)], terminal_width(), indent))


class Fit(NamedTuple):
    """The widths of a table's columns, and the lines that its rows take."""

    widths: tuple[int, ...]
    height: int


def fit(columns: Sequence[Sequence[str]], room: int, *, at_any_cost: bool = False) -> Fit | None:
    """Give widths with which a table of these columns (each with its name first) has room.

    None if their words have no room side by side. `at_any_cost`: rather a time stands below its
    date, and then words are broken.
    """
    room -= GAP * (len(columns) - 1)
    most = max(_LEAST_WORD, room // 4)
    tries = [(most, True), *((size, False) for size in (most, 12, 6, 3) if at_any_cost)]
    for size, is_tied in tries:
        widths = _widths(columns, room, size, is_tied=is_tied)
        if widths is not None:
            heights = map(_heights, columns, widths)
            return Fit(widths, sum(max(of_row) for of_row in zip(*heights, strict=True)))
    return None


def _heights(cells: Sequence[str], width: int) -> Iterator[int]:
    return (len(wrapped(text, width)) for text in cells)


def _widths(
    columns: Sequence[Sequence[str]], room: int, most: int, *, is_tied: bool
) -> tuple[int, ...] | None:
    """Give each column its longest word, and what is left to those that need more, evenly."""
    wanted = [max(map(cell_len, cells)) for cells in columns]
    least = [
        min(want, max(_longest_word(text, most, is_tied=is_tied) for text in cells))
        for cells, want in zip(columns, wanted, strict=True)
    ]
    left = room - sum(least)
    if left < 0:
        return None
    # The columns that need least are served first, so that few rows have several lines.
    for n, at in enumerate(order := sorted(range(len(least)), key=lambda n: wanted[n] - least[n])):
        more = min(wanted[at] - least[at], left // (len(order) - n))
        least[at] += more
        left -= more
    return tuple(least)


def _longest_word(text: str, most: int, *, is_tied: bool) -> int:
    """Give the columns of what should stand in a line, at most `most`."""
    tied = _MOMENT.sub(_TIED, text) if is_tied else text
    longest = 0
    for word in tied.split(" "):
        size = len(word) if word.isascii() else cell_len(word)
        if size > longest:
            if size > _LEAST_WORD:
                size = max(map(cell_len, _PART.findall(word)))
            longest = max(longest, min(size, most))
    return longest
