"""How many bytes of a column are in memory at once.

Texts may be long, and what many calls share is there once for each: 32,768 calls of children of a
process with 128 KiB of arguments would have 4 GiB of these. Arrow's own limit is 2 GiB.

    for table in in_parts(read, ids): ...      # `read` may raise TooMuchError
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.errors import TooMuchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOST: Final = 1 << 30
"""As in native/src/columns/column.rs."""
TOO_MUCH: Final = "the texts of a column are too long to be read at once"
"""What is told of it."""

_Read = TypeVar("_Read")


def check_room(size: int) -> None:
    """TooMuchError if a column of so many bytes has no room."""
    if size > MOST:
        raise TooMuchError(TOO_MUCH)


def check_spread(rows: pa.Table, kinds: pa.Array) -> None:
    """TooMuchError if a column of the rows at these places has no room."""
    for column in rows.columns:
        if pa.types.is_string(column.type):
            lengths = pc.binary_length(column)
            if (pc.max(lengths).as_py() or 0) * len(kinds) > MOST:
                check_room(pc.sum(pc.take(lengths, kinds).cast(pa.int64())).as_py() or 0)


def in_parts(read: Callable[[Sequence[int]], _Read], wanted: Sequence[int]) -> Iterator[_Read]:
    """Give what `read` gives of some ids, in their order; of fewer at once where there is no room.

    TooMuchError if there is none for a single one.
    """
    waiting = [wanted]
    while waiting:
        ids = waiting.pop()
        try:
            found = read(ids)
        except TooMuchError:
            if len(ids) < 2:
                raise
            middle = len(ids) // 2
            waiting += [ids[middle:], ids[:middle]]
            continue
        yield found
