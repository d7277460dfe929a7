"""Rows of facts by table, and what a store asks of all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from auditsvc.decode.interface import Row

_NR: Final = 3  # columns of the table `syscall`
_CONTEXT: Final = -1


class Facts(Mapping[str, "list[Row]"]):
    """Rows by the name of their table; tables without rows are left out."""

    def __init__(
        self,
        rows: Mapping[str, list[Row]] | None = None,
        weights: Mapping[str, list[int]] | None = None,
    ) -> None:
        self._rows = {table: made for table, made in (rows or {}).items() if made}
        self._weights = {table: counts for table, counts in (weights or {}).items() if counts}

    def __getitem__(self, table: str) -> list[Row]:
        return self._rows[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Facts):
            return NotImplemented
        return dict(self) == dict(other) and self.weights == other.weights

    __hash__ = None  # type: ignore[assignment]

    @property
    def weights(self) -> dict[str, list[int]]:
        """Of `syscall` and `event`, in step with the rows: records in each row's event."""
        return self._weights

    @property
    def count(self) -> int:
        """How many events there are."""
        return len(self._rows.get("syscall", ())) + len(self._rows.get("event", ()))

    def ids(self) -> list[int]:
        """Give the events' ids."""
        return [*self._ids("syscall"), *self._ids("event")]

    def lone_ids(self) -> list[int]:
        """Give the ids of the events that are no calls."""
        return self._ids("event")

    def _ids(self, table: str) -> list[int]:
        return [row[0] for row in self._rows.get(table, ()) if isinstance(row[0], int)]

    def span(self) -> tuple[int, int] | None:
        """Give the lowest and the highest id of a call, None if there is none."""
        # By the id alone: behind equal ones stand columns that may be None in one of them.
        calls = self._ids("syscall")
        return (min(calls), max(calls)) if calls else None

    def has_call(self, ids: Collection[int]) -> bool:
        """Tell whether a call has one of these ids."""
        return any(row[0] in ids for row in self._rows.get("syscall", ()))

    def numbers(self) -> set[int]:
        """Give the numbers of the calls, each once."""
        return {row[_NR] for row in self._rows.get("syscall", ()) if isinstance(row[_NR], int)}

    def pairs(self, numbers: Collection[int]) -> set[tuple[int, int]]:
        """Give (context, number) of the calls with these numbers, each once."""
        return {
            _pair(row[_CONTEXT], row[_NR])
            for row in self._rows.get("syscall", ())
            if row[_NR] in numbers
        }


def _pair(one: object, other: object) -> tuple[int, int]:
    assert isinstance(one, int)
    assert isinstance(other, int)
    return one, other
