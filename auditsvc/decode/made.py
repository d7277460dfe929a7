"""Rows that the native core keeps: tuples are made of the tables that somebody reads.

A store that takes them whole (`interface.Whole`) reads none.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from auditsvc.decode.facts import Facts
from auditsvc.decode.interface import Batch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from auditsvc._native import Made
    from auditsvc.decode.interface import Row


def batch_of(
    made: Made,
    unknown: list[Row],
    raw: list[tuple[int, bytes, str]],
    counts: dict[str, int],
) -> Batch:
    """Make a batch of what the native decoder gives; `unknown` are rows of `record_type`."""
    dimensions, facts = made.tables
    return Batch(
        _Dimensions(made, dimensions, unknown), _Facts(made, facts), raw, counts, _Whole(made)
    )


class _Tables(Mapping[str, "list[Row]"]):
    """Rows by the name of their table; those of `made` unless they are in `_rows`."""

    _made: Made
    _tables: Sequence[str]
    _rows: dict[str, list[Row]]

    def __getitem__(self, table: str) -> list[Row]:
        if table not in self._tables:
            raise KeyError(table)
        if table not in self._rows:
            self._rows[table] = self._made.rows(table)
        return self._rows[table]

    def __contains__(self, table: object) -> bool:
        return table in self._tables

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


class _Dimensions(_Tables):
    def __init__(self, made: Made, tables: Sequence[str], unknown: list[Row]) -> None:
        self._made = made
        self._rows = {"record_type": unknown} if unknown else {}
        self._tables = [*tables, *self._rows]


class _Facts(_Tables, Facts):
    def __init__(self, made: Made, tables: Sequence[str]) -> None:
        super().__init__()
        self._made = made
        self._tables = tables

    @cached_property
    def weights(self) -> dict[str, list[int]]:
        found = {table: self._made.weights(table) for table in self._tables}
        return {table: counts for table, counts in found.items() if counts}

    @property
    def count(self) -> int:
        return self._made.events

    def ids(self) -> list[int]:
        return self._made.ids()

    def lone_ids(self) -> list[int]:
        return self._made.lone_ids()

    def span(self) -> tuple[int, int] | None:
        return self._made.span()

    def has_call(self, ids: Collection[int]) -> bool:
        return self._made.has_call(set(ids))

    def numbers(self) -> set[int]:
        return self._made.numbers()

    def pairs(self, numbers: Collection[int]) -> set[tuple[int, int]]:
        return self._made.pairs(set(numbers))


class _Whole:
    """Implements `auditsvc.decode.interface.Whole`."""

    def __init__(self, made: Made) -> None:
        self._made = made
        self._image = b""

    def pack(self) -> None:
        self._image = self._made.image()

    def image(self) -> bytes:
        image, self._image = self._image, b""  # who takes it keeps it
        return image or self._made.image()

    def copy(self, table: str) -> bytes:
        return self._made.copy(table)

    def integers(self, table: str, column: int) -> set[int]:
        return self._made.integers(table, column)
