"""What a query gives, before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auditsvc.decode.batch import Row

ONLY_READS: Final = "`query` only reads: SELECT, VALUES, WITH or EXPLAIN"


@dataclass(frozen=True)
class Result:
    """Column names, and rows to go through once."""

    columns: tuple[str, ...]
    rows: Iterable[Row]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


def distinct(columns: Iterable[str]) -> list[str]:
    """Number columns with equal names, so that none hides another."""
    names: list[str] = []
    for column in columns:
        name, n = column, 1
        while name in names:
            n += 1
            name = f"{column}_{n}"
        names.append(name)
    return names
