"""Digests of rows of the store, with all that they refer to, as sums by table and day.

The digest of a row is 2048 bits of SHAKE128 over its columns, where the id of a dimension row is
replaced by the digest of its content. A sum is modulo 2^2048, so rows can be added in any order;
with so many bits nobody finds other rows with the same sum (with 256 bits who may choose some
ten thousand rows does, by Wagner's algorithm).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from sqlalchemy import LargeBinary

from auditsvc.evidence.compare import day_of, key_of
from auditsvc.native import Choice, native_core
from auditsvc.store import schema

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from types import ModuleType

    from sqlalchemy import Connection, Table

    from auditsvc._native import RowSums
    from auditsvc.decode.batch import Batch
    from auditsvc.store.database import Database

BITS: Final = 2048
_of_row: Final = hashlib.shake_128
_ABSENT: Final = b"absent"
_MASK: Final = (1 << BITS) - 1
_CACHED: Final = 20_000
"""Dimension rows of a table whose digests are remembered, of some 150 bytes each."""
_TEXTS: Final = ("tty", "comm", "exe", "subj", "key", "cwd", "title", "extra")
_REFERS: Final[dict[str, dict[str, Table]]] = {
    "syscall": {"context": schema.context},
    "event": {"host": schema.host, "fields": schema.text},
    "exec": {"argv": schema.text},
    "path": {"file": schema.file},
    "sockaddr": {"address": schema.address},
    "record": {"fields": schema.text},
    "context": {"host": schema.host, **dict.fromkeys(_TEXTS, schema.text)},
    "file": dict.fromkeys(("name", "obj", "extra"), schema.text),
}
"""By table: which columns are ids of which table."""
_DIMENSIONS: Final = {table.name: table for table in schema.DIMENSIONS}


class Sum(NamedTuple):
    """Rows, and the sum of their digests."""

    rows: int = 0
    digest: int = 0

    def __add__(self, other: Sum) -> Sum:  # type: ignore[override]
        return Sum(self.rows + other.rows, (self.digest + other.digest) & _MASK)


Sums = dict[tuple[str, int], Sum]
"""By table and day (since 1970-01-01, UTC)."""


class RowDigests(Protocol):
    """Digests rows of one store."""

    def add(
        self, connection: Connection, sums: Sums, table: Table, rows: Iterable[Sequence[Any]]
    ) -> None:
        """Add rows of a table of facts to the sums of their days."""

    def add_events(self, connection: Connection, sums: Sums, events: Sequence[int]) -> None:
        """Add all rows that the store has of some events."""

    def add_batch(
        self, connection: Connection, sums: Sums, batch: Batch, without: Container[int]
    ) -> None:
        """Add the rows of a batch, but for those of some events: the store has them so.

        An event that the batch has several times is added as often.
        """


class ReferenceDigests:
    """The digests in Python."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, dict[object, bytes]] = defaultdict(dict)

    def add(
        self, connection: Connection, sums: Sums, table: Table, rows: Iterable[Sequence[Any]]
    ) -> None:
        """See `RowDigests`."""
        found: dict[int, int] = {}
        counts: Counter[int] = Counter()
        for row in self._resolved(connection, table, rows):
            digest = _of_row(repr(row).encode()).digest(BITS // 8)
            day = day_of(row[0])
            found[day] = found.get(day, 0) + int.from_bytes(digest, "big")
            counts[day] += 1
        for day, total in found.items():
            _add(sums, table.name, day, Sum(counts[day], total & _MASK))

    def add_events(self, connection: Connection, sums: Sums, events: Sequence[int]) -> None:
        """See `RowDigests`."""
        for table in schema.FACTS:
            rows = list(self._database.fetch(connection, table, key_of(table), events))
            self.add(connection, sums, table, rows)

    def add_batch(
        self, connection: Connection, sums: Sums, batch: Batch, without: Container[int]
    ) -> None:
        """See `RowDigests`."""
        copies = copies_in(batch)
        whole = {each: n for each, n in copies.items() if each not in without}
        _add_copies(self, connection, sums, whole)

    def contents(
        self, connection: Connection, table: Table, ids: set[object]
    ) -> dict[object, bytes]:
        """Give the digests of dimension rows by id; those that are not stored are left out."""
        known = self._known[table.name]
        absent = [each for each in ids if each not in known]
        if len(known) > _CACHED:
            known.clear()
            absent = list(ids)
        if absent:
            stored = list(self._database.fetch(connection, table, "id", absent))  # type: ignore[arg-type]
            for row in self._resolved(connection, table, stored):
                text = repr(row[1:]).encode()
                known[row[0]] = hashlib.sha256(text).digest()
        return known

    def _resolved(
        self, connection: Connection, table: Table, rows: Iterable[Sequence[Any]]
    ) -> list[list[Any]]:
        """Give rows with the digests of what they refer to in the place of ids."""
        plain = list(map(list, rows))
        refers = _REFERS.get(table.name, {})
        for index, column in enumerate(table.columns):
            if isinstance(column.type, LargeBinary):
                for row in plain:
                    if isinstance(row[index], memoryview):
                        row[index] = bytes(row[index])
            other = refers.get(column.name)
            if other is None:
                continue
            known = self.contents(connection, other, {row[index] for row in plain} - {None})
            for row in plain:
                if row[index] is not None:
                    row[index] = known.get(row[index], _ABSENT)
        return plain


class _NativeDigests:
    """The digests in the native core, which keeps those of dimension rows, too."""

    def __init__(self, database: Database, core: ModuleType) -> None:
        self._database = database
        self._reference = ReferenceDigests(database)
        self._core: RowSums = core.RowSums()

    def add(
        self, connection: Connection, sums: Sums, table: Table, rows: Iterable[Sequence[Any]]
    ) -> None:
        """See `RowDigests`."""
        plain = list(map(tuple, rows))
        try:
            absent = self._core.absent_rows(table.name, plain)
        except TypeError:  # who alters a row of SQLite's may put any value into any column
            self._reference.add(connection, sums, table, plain)
            return
        self._learn(connection, absent)
        self._core.add_rows(table.name, plain)
        self._take(sums)

    def add_events(self, connection: Connection, sums: Sums, events: Sequence[int]) -> None:
        """See `RowDigests`."""
        for table in schema.FACTS:
            self.add(
                connection,
                sums,
                table,
                self._database.fetch(connection, table, key_of(table), events),
            )

    def add_batch(
        self, connection: Connection, sums: Sums, batch: Batch, without: Container[int]
    ) -> None:
        """See `RowDigests`."""
        if batch.packed is None:
            copies = copies_in(batch)
            whole = {each: n for each, n in copies.items() if each not in without}
            _add_copies(self, connection, sums, whole)
            return
        native = batch.packed.native
        ids = batch.facts.ids()
        apart = {each for each in ids if each in without}
        again: dict[int, int] = {}
        if len(set(ids)) < len(ids):  # what stands several times is read: the store has it once
            copies = copies_in(batch)
            again = {each: copies[each] for each, n in Counter(ids).items() if n > 1}
            again = {each: n for each, n in again.items() if each not in apart}
        # What a row of the batch refers to first, then the row: a context, and its texts.
        while absent := self._core.absent(native):
            self._learn(connection, absent)
        self._core.add(native, apart | again.keys())
        self._take(sums)
        _add_copies(self, connection, sums, again)

    def _learn(self, connection: Connection, absent: Iterable[tuple[str, list[int]]]) -> None:
        for name, ids in absent:
            known = self._reference.contents(connection, _DIMENSIONS[name], set(ids))
            self._core.learn(name, [(each, known.get(each)) for each in ids])

    def _take(self, sums: Sums) -> None:
        for table, day, rows, digest in self._core.take():
            _add(sums, table, day, Sum(rows, int.from_bytes(digest, "big")))


def make_digests(database: Database, choice: Choice = "auto") -> RowDigests:
    """Make what digests rows of a store, native if that core was built."""
    core = native_core(choice)
    return ReferenceDigests(database) if core is None else _NativeDigests(database, core)


def copies_in(batch: Batch) -> Counter[int]:
    """Give how often a batch has each event; a call and what came apart from it are one."""
    calls = Counter(batch.facts.ids())
    calls.subtract(lone := Counter(batch.facts.lone_ids()))
    return calls | lone


def add_times(
    digests: RowDigests, connection: Connection, sums: Sums, events: Sequence[int], times: int
) -> None:
    """Add all rows that the store has of some events, each so many times."""
    once: Sums = {}
    digests.add_events(connection, once, events)
    for (table, day), one in once.items():
        _add(sums, table, day, Sum(one.rows * times, one.digest * times & _MASK))


def _add_copies(
    digests: RowDigests, connection: Connection, sums: Sums, copies: Mapping[int, int]
) -> None:
    """Add the rows of events as often as they are there."""
    for times in sorted(set(copies.values())):
        events = [each for each, count in copies.items() if count == times]
        add_times(digests, connection, sums, events, times)


def _add(sums: Sums, table: str, day: int, one: Sum) -> None:
    sums[table, day] = sums.get((table, day), Sum()) + one
