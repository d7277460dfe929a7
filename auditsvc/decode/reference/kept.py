"""The dimension rows of a batch until they are taken: long texts take little memory.

In Python one letter of four bytes makes all letters of its text take four, and a text that was
written to SQLite has its UTF-8, too. An exec of megabytes has thousands of such texts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditsvc.decode.batch import Row

_TEXT: Final = "text"
_SHORT: Final = 1 << 10
"""Letters of a text that is kept as it is."""
_LONG: Final = 1 << 20
"""Bytes of a text that is given as its UTF-8 (`auditsvc.decode.batch.pieces_of`)."""
_PIECE: Final = 1 << 20
"""Bytes of rows that are given at once."""


class KeptRows(Mapping[str, "list[Row]"]):
    """Rows by table; implements `auditsvc.decode.batch.InPieces`."""

    def __init__(self) -> None:
        self._rows: defaultdict[str, list[Row]] = defaultdict(list)
        self._has_long = False

    def add(self, table: str, row: Row) -> None:
        """Keep a row."""
        if table == _TEXT and isinstance(value := row[1], str) and len(value) > _SHORT:
            row = (row[0], value.encode(), *row[2:])
            self._has_long = True
        self._rows[table].append(row)

    def take(self) -> KeptRows:
        """Give the rows, and keep none of them."""
        taken = KeptRows()
        taken._rows, self._rows = self._rows, taken._rows
        taken._has_long, self._has_long = self._has_long, False
        return taken

    def __getitem__(self, table: str) -> list[Row]:
        if table not in self._rows:
            raise KeyError(table)
        rows = self._rows[table]
        return [_shown(row) for row in rows] if self._has_long and table == _TEXT else rows

    def __contains__(self, table: object) -> bool:
        return table in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def pieces(self, table: str) -> Iterator[Sequence[Row]]:
        """Give a table's rows in pieces; none if it has none."""
        if table != _TEXT:
            if table in self._rows:
                yield self._rows[table]
            return
        piece: list[Row] = []
        size = 0
        for row in self._rows.get(table, ()):
            length = len(value) if isinstance(value := row[1], bytes) else 0
            piece.append(row if length > _LONG else _shown(row))
            size += length
            if size >= _PIECE:
                yield piece
                piece, size = [], 0
        if piece:
            yield piece


def _shown(row: Row) -> Row:
    """Give a row of `text` with its value as text."""
    value = row[1]
    return (row[0], value.decode(), *row[2:]) if isinstance(value, bytes) else row
