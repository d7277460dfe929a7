"""The rows of a batch in the native core; a table's rows become tuples when they are read.

A store that uses the bulk formats (`batch.PackedRows`) reads none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final

from auditsvc.decode.batch import Batch, Facts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from auditsvc._native import NativeBatch
    from auditsvc.decode.batch import Activity, Call, First, Lone, Row, Use


_PIECE: Final = 1 << 20
"""Bytes of rows that are made tuples at once. Their texts take up to five times as much: in Python
a letter may have four bytes, and the driver of SQLite keeps each text in UTF-8, too."""


def batch_of(
    native: NativeBatch,
    unknown: list[Row],
    raw: list[tuple[int, bytes, str]],
    counts: dict[str, int],
) -> Batch:
    """Make a batch from the native decoder's results; `unknown` are rows of `record_type`."""
    dimensions, facts = native.tables
    has_long = native.has_long
    return Batch(
        _Dimensions(native, dimensions, unknown),
        _Facts(native, facts),
        raw,
        counts,
        None if has_long else _Packed(native),
    )


class _Tables(Mapping[str, "list[Row]"]):
    """Rows by the name of their table; those of `native` unless they are in `_rows`."""

    _native: NativeBatch
    _tables: Sequence[str]
    _rows: dict[str, list[Row]]

    def __getitem__(self, table: str) -> list[Row]:
        if table not in self._tables:
            raise KeyError(table)
        if table not in self._rows:
            self._rows[table] = self._read(table)
        return self._rows[table]

    def _read(self, table: str) -> list[Row]:
        return self._native.rows(table)

    def __contains__(self, table: object) -> bool:
        return table in self._tables

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


class _Dimensions(_Tables):
    def __init__(self, native: NativeBatch, tables: Sequence[str], unknown: list[Row]) -> None:
        self._native = native
        self._rows = {"record_type": unknown} if unknown else {}
        self._tables = [*tables, *self._rows]

    def pieces(self, table: str) -> Iterator[Sequence[Row]]:
        """Give a table's rows so that a part of them is in memory twice; see `pieces_of`."""
        if table in self._rows:
            yield self._rows[table]
            return
        start = 0
        while piece := self._native.piece(table, start, _PIECE):
            start += len(piece)
            yield piece


class _Facts(_Tables, Facts):
    def __init__(self, native: NativeBatch, tables: Sequence[str]) -> None:
        super().__init__()
        self._native = native
        self._tables = tables

    @cached_property
    def weights(self) -> dict[str, list[int]]:
        found = {table: self._native.weights(table) for table in self._tables}
        return {table: counts for table, counts in found.items() if counts}

    @cached_property
    def claimed(self) -> frozenset[int]:
        return frozenset(self._native.claimed())

    @property
    def count(self) -> int:
        return self._native.events

    def ids(self) -> list[int]:
        return self._native.ids()

    def lone_ids(self) -> list[int]:
        return self._native.lone_ids()

    def span(self) -> tuple[int, int] | None:
        return self._native.span()

    def has_call(self, ids: Collection[int]) -> bool:
        return self._native.has_call(set(ids))

    def uses(self) -> list[Use]:
        return self._native.uses()

    def activity(self) -> list[Activity]:
        return self._native.activity()

    def firsts(self) -> list[First]:
        return self._native.firsts()

    def calls(self, pairs: Collection[tuple[int, int]]) -> list[Call]:
        return self._native.calls(set(pairs))

    def events_of(self, number: int) -> list[Lone]:
        return self._native.events_of(number)

    def numbers(self) -> set[int]:
        return self._native.numbers()

    def pairs(self, numbers: Collection[int]) -> set[tuple[int, int]]:
        return self._native.pairs(set(numbers))


class _Packed:
    """Implements `auditsvc.decode.batch.PackedRows`."""

    def __init__(self, native: NativeBatch) -> None:
        self.native = native
        self._image = b""

    def pack(self) -> None:
        self._image = self.native.image()

    def image(self) -> bytes:
        image, self._image = self._image, b""  # the caller keeps it
        return image or self.native.image()

    def copy(self, table: str) -> bytes:
        return self.native.copy(table)

    def integers(self, table: str, column: int) -> set[int]:
        return self.native.integers(table, column)
