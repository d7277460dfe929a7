"""Which of some things are alike in all of some columns, so that one of each kind is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.room import check_spread

if TYPE_CHECKING:
    from collections.abc import Iterable


class Groups:
    """Of `count` things: the place of the first of each kind, and of each its kind.

    Kinds are numbers from 0 on, in the order in which they are first seen.
    """

    def __init__(self, keys: Iterable[pa.Array], count: int) -> None:
        """`keys`: columns with a value, or NULL, a thing."""
        kinds, many = pa.nulls(count, pa.int64()).fill_null(0), 1
        for key in keys:
            found = key.dictionary_encode(null_encoding="encode")
            if (of := len(found.dictionary)) < 2:
                continue
            found = found.indices.cast(pa.int64())
            if many == 1:  # the first that differs: its own kinds are in the order of being seen
                kinds, many = found, of
                continue
            # Both are less than `count`, so that the numbers stay within 64 bits.
            made = pc.add(pc.multiply(kinds, of), found).dictionary_encode()
            kinds, many = made.indices.cast(pa.int64()), len(made.dictionary)
        self.kinds: pa.Array = kinds
        self.firsts: pa.Array = pc.index_in(pa.arange(0, min(many, count)), value_set=kinds).cast(
            pa.int64()
        )

    def __len__(self) -> int:
        """Give the number of kinds."""
        return len(self.firsts)

    def spread(self, rows: pa.Table) -> pa.Table:
        """Give of a row of each kind those of all things; TooMuchError if there is no room."""
        if len(self.kinds) == len(rows):
            return rows
        check_spread(rows, self.kinds)
        return rows.take(self.kinds)
