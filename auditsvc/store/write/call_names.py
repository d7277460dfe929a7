"""Names for every stored machine and call.

Every arch has a row in `arch_name`, and every pair of arch and number one in `syscall_name`,
with its number if it has no name: so the views can compare names directly and use the
index on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from auditsvc.store import schema
from auditsvc.tables import names

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from auditsvc.decode.batch import Batch
    from auditsvc.store.database import Database

_CACHE_PAIRS: Final = 50_000
_CACHE_ARCHES: Final = 1000
_ARCH: Final = schema.context.columns.keys().index("arch")


class CallNames:
    """Makes sure that the calls of a batch have names, at the cost of one set for each batch."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.forget()

    def forget(self) -> None:
        """Empty the caches after a transaction was rolled back."""
        self._arches: set[int] | None = None
        self._everywhere: set[int] | None = None  # numbers that have a name on every arch seen
        self._pairs: set[tuple[int, int]] = set()  # (context, number) that have one

    def write(self, connection: Connection, batch: Batch) -> None:
        """Insert the missing names; the batch's contexts must be stored before."""
        self._name_arches(connection, batch)
        odd = batch.facts.numbers() - (self._everywhere or set())
        if odd and (pairs := batch.facts.pairs(odd) - self._pairs):
            self._name_pairs(connection, pairs)

    def _name_arches(self, connection: Connection, batch: Batch) -> None:
        if batch.packed:
            arches = batch.packed.integers("context", _ARCH)
        else:
            contexts = batch.dimensions.get("context", ())
            arches = {arch for row in contexts if isinstance(arch := row[_ARCH], int)}
        if self._arches is None:
            arches.update(connection.scalars(select(func.distinct(schema.context.c.arch))))
            self._arches, self._everywhere = set(), None
        new = arches - self._arches
        if not new:
            return
        rows = [(arch, names.arch_name(arch)) for arch in sorted(new)]
        self._database.insert_absent(connection, schema.arch_name, rows)
        for arch in new:
            named = set(names.syscalls(arch))
            self._everywhere = named if self._everywhere is None else self._everywhere & named
        if len(self._arches) + len(new) > _CACHE_ARCHES:
            self._arches.clear()  # but what has a name everywhere stays what it was
        self._arches |= set(sorted(new)[:_CACHE_ARCHES])

    def _name_pairs(self, connection: Connection, pairs: set[tuple[int, int]]) -> None:
        used = {context for context, _ in pairs}
        found = self._database.fetch(connection, schema.context, "id", used)
        arches = {row[0]: row[_ARCH] for row in found}
        missing = [
            (arch, nr, names.syscall_name(arch, nr) or str(nr))
            for arch, nr in {(arches[context], nr) for context, nr in pairs}
            if isinstance(arch, int)
        ]
        self._database.insert_absent(connection, schema.syscall_name, missing)
        if len(self._pairs) + len(pairs) > _CACHE_PAIRS:
            self._pairs.clear()
        self._pairs |= pairs
