"""A connection that asks a store more than once: for who follows what arrives.

    with closing(open_session(url)) as session:     # auditsvc.store.read.sql
        before = session.loaded()
        ...
        if session.loaded() != before:
            with session.run(sql, limits, period) as result: ...

A connection of its own for each statement costs more than most statements do: SQLite reads the
schema, PostgreSQL begins a process that has to learn the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from auditsvc.store.read.limits import Limits
    from auditsvc.store.read.result import Result
    from auditsvc.store.read.time_span import Span

LOADED: Final = "SELECT id, segment, position, length(pending) FROM source ORDER BY id"
"""The checkpoints, which are committed with the rows: a few rows, however large the store is."""


class Session(Protocol):
    """One statement at a time, from any thread; no transaction is open between two of them.

    Errors as `auditsvc.store.read.sql.run_query` has them.
    """

    def loaded(self) -> object:
        """Give what is another value after each transaction that loaded something."""

    def run(self, sql: str, limits: Limits, period: Span) -> AbstractContextManager[Result]:
        """Run one statement, in a transaction of its own."""

    def close(self) -> None:
        """Close it."""
