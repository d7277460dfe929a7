"""Writes dimension rows once, and never uses one id for two contents.

An id is a hash of the content, so a row whose id is stored is, nearly always, the same row.
That is checked: an id that is used for other content ends the transaction with ClashError,
and the caller pins the row to the free id in the error. So somebody who finds two contents
with one hash (and the secret to compute it) cannot replace one by the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.decode import ids
from auditsvc.decode.batch import pieces_of
from auditsvc.errors import ClashError
from auditsvc.store.schema import DIMENSIONS, record_type
from auditsvc.store.write import unused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Table

    from auditsvc.decode.batch import Batch, Row
    from auditsvc.store.database import Database

_CACHE_ROWS: Final = 200_000


class DimensionWriter:
    """Writes dimension rows, and caches which ones are known to be stored."""

    def __init__(self, database: Database, secret: bytes) -> None:
        self._database = database
        self._secret = secret
        # Hashes of (table, row): a row that is here is stored with this very content,
        # but for a chance of 2^-64 that comes on top of the 2^-47 of the ids.
        self._stored: set[int] = set()
        self._new: list[int] = []

    def write(self, connection: Connection, batch: Batch) -> None:
        """Insert rows that are not stored yet; ClashError if an id is used for other content."""
        self._new = []
        dimensions = batch.dimensions
        unused.spare(connection, dimensions)
        for table in DIMENSIONS:
            if table.name not in dimensions:
                continue
            if batch.packed and self._database.insert_new(connection, table, batch.packed):
                continue
            if pins := self._write_table(connection, table, dimensions):
                # At once: ids of this table are the content of those that follow.
                raise ClashError(pins)
        if rows := dimensions.get(record_type.name):
            self._database.insert_absent(connection, record_type, rows)

    def write_rows(
        self, connection: Connection, rows: Mapping[str, Sequence[Row]]
    ) -> list[tuple[str, Row, int]]:
        """Insert rows that are needed beside a batch's; gives pins where an id is taken."""
        unused.spare(connection, rows)
        for table in DIMENSIONS:
            if pins := self._write_table(connection, table, rows):
                return pins
        return []

    def forget(self) -> None:
        """Empty the cache, as rows may have been removed (`auditsvc.store.write.unused`)."""
        self._stored.clear()

    def committed(self) -> None:
        """Cache the rows that the transaction wrote, after its commit."""
        if len(self._stored) + len(self._new) > _CACHE_ROWS:
            self._stored.clear()
        self._stored.update(self._new[:_CACHE_ROWS])
        self._new = []

    def _write_table(
        self, connection: Connection, table: Table, rows: Mapping[str, Sequence[Row]]
    ) -> list[tuple[str, Row, int]]:
        clashing: list[Row] = []
        for piece in pieces_of(rows, table.name):
            clashing += self._write_piece(connection, table, piece)
        taken: dict[int, Row] = {}
        return [
            (table.name, row[1:], self._free_id(connection, table, row[1:], taken))
            for row in clashing
        ]

    def _write_piece(self, connection: Connection, table: Table, rows: Sequence[Row]) -> list[Row]:
        """Insert rows that are not stored yet; gives those whose id has other content."""
        marked = [(hash((table.name, row)), row) for row in rows]
        fresh = [(mark, row) for mark, row in marked if mark not in self._stored]
        if not fresh:
            return []
        by_id: dict[int, Row] = {}
        clashing = [row for _, row in fresh if by_id.setdefault(_id(row), row) != row]
        wanted = list(by_id.values())
        if self._database.insert_absent(connection, table, wanted) != len(wanted):
            stored = self._database.fetch(connection, table, "id", by_id)
            clashing += [by_id[_id(row)] for row in stored if not _is_same(by_id[_id(row)], row)]
        self._new += [mark for mark, _ in fresh]
        return clashing

    def _free_id(
        self, connection: Connection, table: Table, content: Row, taken: dict[int, Row]
    ) -> int:
        """Give the first id of `content` that is used for it already, or not used."""
        attempt = 1
        while True:
            candidate = ids.dimension_id(self._secret, table.name, content, attempt)
            stored = self._database.fetch(connection, table, "id", [candidate])
            holders = [row[1:] for row in stored]
            holders += [taken[candidate]] if candidate in taken else []
            if all(_is_same(holder, content) for holder in holders):
                taken[candidate] = content
                return candidate
            attempt += 1


def _is_same(one: Row, other: Row) -> bool:
    """Whether two rows are equal; a text may be its bytes in UTF-8 in one of them."""
    return one == other or ids.content_digest(one) == ids.content_digest(other)


def _id(row: Row) -> int:
    assert isinstance(row[0], int)
    return row[0]
