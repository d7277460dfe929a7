"""The result of a decoder for one transaction: rows by table, raw lines, and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from auditsvc.decode.ids import SERIAL_BITS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from auditsvc._native import NativeBatch


Row = tuple[object, ...]
Activity = tuple[int, int, int, int, int, int]
"""Calls counted: hour (since 1970), context, number, success (-1: none), errno (0: none), count."""

Use = tuple[int, int, int, int]
"""Uses of a file on a day counted: day (from 1970), file, count, the least event."""
First = tuple[int, int, int, int]
"""The first call of a context on a day: context, day (from 1970), id, millisecond."""
Lone = tuple[int, int, int, int | None]
"""An event without a call: id, millisecond, host, pid."""


Call = tuple[int, int, int, int, int, int, int | None, int | None]
"""A call: id, millisecond, context, number, a0, a1, success, exit."""


# Bytes that are counted in `held` for a row, in addition to its texts: about its memory.
EVENT_SIZE: Final = 200
CHILD_SIZE: Final = 100  # a row of path, sockaddr, exec or record
ROW_SIZE: Final = 100  # a dimension row, or an unknown record type
RAW_SIZE: Final = 200

_NR: Final = 3  # columns of the table `syscall`
_SUCCESS: Final = 8
_EXIT: Final = 9
_CONTEXT: Final = -1
_FILE: Final = 3  # of the table `path`
_OF_CALL: Final = (0, 1, _CONTEXT, _NR, 4, 5, _SUCCESS, _EXIT)  # as `Call` has them
_HOUR: Final = 3600
_DAY: Final = 86_400
MAX_ERRNO: Final = 4095
"""A failed call's result is between its negative and -1 (include/linux/err.h)."""


class PackedRows(Protocol):
    """The rows of a batch, dimensions and facts, in the bulk formats of the databases."""

    native: NativeBatch
    """The same rows, for what the native core does with them."""

    def pack(self) -> None:
        """Make the image now, in this thread, for a later call of `image`."""

    def image(self) -> bytes:
        """Give an SQLite database with all tables; the order of rows is the decoder's."""

    def copy(self, table: str) -> bytes:
        """Give a table's rows in PostgreSQL's binary COPY format; b"" if there are none."""

    def integers(self, table: str, column: int) -> set[int]:
        """Give the distinct integers in a column (its index, not 0) of a dimension table."""


@runtime_checkable
class InPieces(Protocol):
    """Rows by table, of which few need be in memory as tuples at once."""

    def pieces(self, table: str) -> Iterator[Sequence[Row]]:
        """Give a table's rows in pieces; none if it has none."""


def pieces_of(rows: Mapping[str, Sequence[Row]], table: str) -> Iterator[Sequence[Row]]:
    """Give a table's rows: in pieces, if they are not tuples in memory anyway.

    A text of more than a mebibyte may come as its bytes in UTF-8.
    """
    if isinstance(rows, InPieces):
        yield from rows.pieces(table)
    elif table in rows:
        yield rows[table]


class Facts(Mapping[str, "list[Row]"]):
    """Rows by the name of their table; tables without rows are left out."""

    def __init__(
        self,
        rows: Mapping[str, list[Row]] | None = None,
        weights: Mapping[str, list[int]] | None = None,
        claimed: Collection[int] = (),
    ) -> None:
        self._rows = {table: found for table, found in (rows or {}).items() if found}
        self._weights = {table: counts for table, counts in (weights or {}).items() if counts}
        self._claimed = frozenset(claimed)

    def __getitem__(self, table: str) -> list[Row]:
        return self._rows[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Facts):
            return NotImplemented
        return (
            dict(self) == dict(other)
            and self.weights == other.weights
            and self.claimed == other.claimed
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def weights(self) -> dict[str, list[int]]:
        """For `syscall` and `event`: the number of records of each row's event."""
        return self._weights

    @property
    def claimed(self) -> frozenset[int]:
        """Ids of events of which a line came as the kernel prints it, unless that is trusted."""
        return self._claimed

    @property
    def count(self) -> int:
        """How many events there are."""
        return len(self._rows.get("syscall", ())) + len(self._rows.get("event", ()))

    def ids(self) -> list[int]:
        """Give the events' ids."""
        return [*self._ids("syscall"), *self._ids("event")]

    def lone_ids(self) -> list[int]:
        """Give the ids of the events in the table `event`."""
        return self._ids("event")

    def _ids(self, table: str) -> list[int]:
        return [row[0] for row in self._rows.get(table, ()) if isinstance(row[0], int)]

    def span(self) -> tuple[int, int] | None:
        """Give the lowest and the highest id of a call, None if there is none."""
        # Compare only ids: with equal ids, later columns would be compared, which may be None.
        calls = self._ids("syscall")
        return (min(calls), max(calls)) if calls else None

    def all_span(self) -> tuple[int, int] | None:
        """Give the lowest and the highest id of any event, None if there is none."""
        ends = [*(self.span() or ()), *self.lone_ids()]
        return (min(ends), max(ends)) if ends else None

    def has_call(self, ids: Collection[int]) -> bool:
        """Whether a call has one of these ids."""
        return any(row[0] in ids for row in self._rows.get("syscall", ()))

    def activity(self) -> list[Activity]:
        """Count the calls."""
        counts: Counter[tuple[int, int, int, int, int]] = Counter()
        for row in self._rows.get("syscall", ()):
            event, (context, number), success = (
                row[0],
                _pair(row[_CONTEXT], row[_NR]),
                row[_SUCCESS],
            )
            result, errno = row[_EXIT], 0
            if success == 0 and isinstance(result, int) and -MAX_ERRNO <= result < 0:
                errno = -result
            assert isinstance(event, int)
            hour = (event >> SERIAL_BITS) // _HOUR
            counts[hour, context, number, success if isinstance(success, int) else -1, errno] += 1
        return [(*key, count) for key, count in counts.items()]

    def uses(self) -> list[Use]:
        """Count the rows of `path` by day and file."""
        found: dict[tuple[int, int], list[int]] = {}
        for row in self._rows.get("path", ()):
            event, file = _pair(row[0], row[_FILE])
            known = found.setdefault(((event >> SERIAL_BITS) // _DAY, file), [0, event])
            known[0] += 1
            known[1] = min(known[1], event)
        return [(*key, count, first) for key, (count, first) in found.items()]

    def firsts(self) -> list[First]:
        """Give the first call of each context on each day, by second, millisecond, id."""
        found: dict[tuple[int, int], tuple[int, int, int]] = {}
        for event, ms, context, *_ in self._calls():
            second = event >> SERIAL_BITS
            key, value = (context, second // _DAY), (second, ms, event)
            found[key] = min(found.get(key, value), value)
        return [(*key, event, ms) for key, (_, ms, event) in found.items()]

    def calls(self, pairs: Collection[tuple[int, int]]) -> list[Call]:
        """Give the calls with these pairs (context, number)."""
        return [call for call in self._calls() if (call[2], call[3]) in pairs]

    def _calls(self) -> Iterator[Call]:
        for row in self._rows.get("syscall", ()):
            yield tuple(row[place] for place in _OF_CALL)  # type: ignore[misc]

    def events_of(self, number: int) -> list[Lone]:
        """Give the events of a type."""
        return [
            (row[0], row[2], row[1], row[5])  # type: ignore[misc]
            for row in self._rows.get("event", ())
            if row[4] == number
        ]

    def numbers(self) -> set[int]:
        """Give the distinct numbers of the calls."""
        return {row[_NR] for row in self._rows.get("syscall", ()) if isinstance(row[_NR], int)}

    def pairs(self, numbers: Collection[int]) -> set[tuple[int, int]]:
        """Give the distinct pairs (context, number) of the calls with these numbers."""
        return {
            _pair(row[_CONTEXT], row[_NR])
            for row in self._rows.get("syscall", ())
            if row[_NR] in numbers
        }


@dataclass(slots=True)
class Batch:
    """Rows for one transaction.

    `dimensions` and `facts` map a table's name to tuples in the order of that
    table's columns in `auditsvc.store.schema`. A dimension row is given at most
    once between two clears of the decoder's caches, and not later than in the
    batch that first uses its id.
    `facts.weights` has the number of records of each row's event, so that duplicates
    can be counted in records.
    `raw` has (offset, line, reason): where the line began, in bytes from the beginning
    of this decoder's input (negative for a line that came through `restore`).
    A run of NUL bytes is an empty line, with its length in the reason.
    `counts` has all of COUNTS, counted since the last batch.
    `packed` has the same rows in bulk formats, if the decoder can make them.
    An unknown record type is a row of `record_type` in `dimensions`.
    """

    dimensions: Mapping[str, list[Row]] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    raw: list[tuple[int, bytes, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    packed: PackedRows | None = field(default=None, compare=False)


def _pair(one: object, other: object) -> tuple[int, int]:
    assert isinstance(one, int)
    assert isinstance(other, int)
    return one, other
