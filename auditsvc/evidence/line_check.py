"""Holds the rows of a store to the lines that they were made of.

    lines = LineCheck(database, comparer, spool, findings, facts, look_again=...)
    pending = lines.compare(start, end)

The spool is decoded again from `start` up to `end`, and each row is compared with the store's:
many at once, and those that differ event by event. What the lines give, and what the store was
seen to have, is counted meanwhile; rows that no line gave are found by these counts
(`auditsvc.evidence.row_counts`).
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import dimension_id
from auditsvc.evidence.compare import day_of, number
from auditsvc.evidence.event_ids import EventIds
from auditsvc.evidence.fragments import Fragments
from auditsvc.evidence.row_digest import add_times, copies_in
from auditsvc.evidence.spool_batches import batches, decoder_of
from auditsvc.evidence.swept import KINDS, still_used
from auditsvc.evidence.whole_event import StoredEvents, judge, rows_of, stored_rows
from auditsvc.store import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from auditsvc.decode.batch import Batch, Row
    from auditsvc.evidence.compare import Comparer, Counts
    from auditsvc.evidence.row_digest import RowDigests, Sums
    from auditsvc.evidence.spool_batches import Spool, Start
    from auditsvc.evidence.store_facts import StoreFacts
    from auditsvc.evidence.store_findings import StoreFindings
    from auditsvc.evidence.whole_event import Judged, Rows
    from auditsvc.spool.segments import Place
    from auditsvc.store.database import Database

_DIMENSIONS: Final = {table.name: table for table in schema.DIMENSIONS}


class _ClashError(Exception):
    """An id stands for other content, as the store noticed when it was written."""


class LineCheck:
    """One comparison of rows with their lines."""

    def __init__(
        self,
        database: Database,
        comparer: Comparer,
        spool: Spool,
        findings: StoreFindings,
        facts: StoreFacts,
        *,
        look_again: Callable[[], None],
        is_noted: bool = False,
        digests: RowDigests | None = None,
        sealed_days: frozenset[int] = frozenset(),
        moment: Connection | None = None,
    ) -> None:
        """`look_again` sees, in `facts`, what retention deleted since they were read.

        `is_noted`: whether it is known which events an older program stored without a source.
        `digests`: set while segments are sealed; else `moment` is the transaction in which the
        facts were read. `sealed_days`: those that have rows of segments that were sealed.
        """
        self.pins: list[tuple[str, Row, int]] = []
        self.decoded: Counts = Counter()
        self.special: Counts = Counter()
        """Rows of the store that belong to events which were compared by themselves."""
        self.seen: Counter[int] = Counter()
        """Such events, by how often."""
        self.counted: Counter[str] = Counter()
        """What the decoder counts, as the ledger has it."""
        self.pruned = 0
        """Events that retention deleted."""
        self.apart = 0
        """Events that came in parts."""
        self.apart_days: set[int] = set()
        self.fragments: Fragments | None = None
        self.sums: Sums = {}
        self.known = EventIds()
        """Events of sealed days, each as often as its lines were compared with it."""
        self.parts: set[int] = set()
        """Events of which our lines gave a part, and another log."""
        self.hosts: set[str] = set()
        """Hosts that lines name, or that are theirs."""
        self._absent: dict[str, dict[int, str]] = {}
        """Dimension rows that are gone, which nothing may use: by table and id, as shown."""
        self._database = database
        self._comparer = comparer
        self._spool = spool
        self._findings = findings
        self._facts = facts
        self._look_again = look_again
        self._is_noted = is_noted
        self._digests = digests
        self._sealed_days = sealed_days
        self._moment = moment

    def compare(self, start: Start, end: Place) -> bytes:
        """Compare up to a place; gives what is open there."""
        for _ in range(100):  # each time another id was taken
            with suppress(_ClashError):
                return self._compare_all(start, end)
        return b""

    def _compare_all(self, start: Start, end: Place) -> bytes:
        self.decoded, self.special, self.seen = Counter(), Counter(), Counter()
        self.sums, self.known, self.parts = {}, EventIds(), set()
        self._absent = {name: {} for name in KINDS}
        self.counted.clear()
        self._findings.report.events = 0
        decoder = decoder_of(self._spool, self._facts.secret, self.pins)
        decoder.restore(start.pending, 0.0)
        self.fragments = Fragments() if start.is_cut else None
        with (
            self._comparer.transaction() as connection,
            ThreadPoolExecutor(1, "compare") as pool,
        ):
            waiting: Future[None] | None = None
            lines = batches(self._spool, decoder, start, end, self.fragments)
            for batch in lines:
                if waiting is not None:
                    waiting.result()
                waiting = pool.submit(self._compare_batch, connection, batch)
            if waiting is not None:
                waiting.result()
            pending = decoder.pending()
            if self._digests is None:
                decoder.finish()
                assert self._moment is not None
                # What was open at the checkpoint may have been stored whole since.
                self._compare_open(self._moment, decoder.take())
            self._judge_absent(connection)
        return pending

    def _compare_batch(self, connection: Connection, batch: Batch) -> None:
        found = self._comparer.compare(connection, batch)
        if self._facts.shared:  # each by itself: they count neither here nor there
            found.events.update(each for each in batch.facts.ids() if each in self._facts.shared)
        for table, row_id in found.dimensions:
            self._judge_dimension(connection, batch, table, row_id)
        self._findings.report.events += batch.facts.count
        self._judge_origins(batch, found.events)
        self.decoded += found.rows
        self.counted.update(batch.counts)
        self.hosts.update(str(row[1]) for row in batch.dimensions.get(schema.host.name, []))
        if self._digests is not None:
            self._digests.add_batch(connection, self.sums, batch, found.events)
        if self._sealed_days:
            copies = copies_in(batch).elements()
            self._note_known(each for each in copies if each not in found.events)
        if found.events:
            self._judge_events(connection, batch, found.events, may_be_absent=False)

    def _judge_origins(self, batch: Batch, differing: Container[int]) -> None:
        """See that events of our own log count as such: what others gave is believed less."""
        foreign, shared, old = self._facts.foreign, self._facts.shared, self._facts.old
        if foreign:
            for event in batch.facts.ids():
                if event not in foreign or event in shared or event in differing:
                    continue
                if not (self._is_noted and event in old):
                    self._findings.add_event(event, "is said to be from another log")

    def _take(self, connection: Connection, event: int, copies: int) -> None:
        """Note an event that is in the store by itself."""
        if self._digests is not None and event not in self._facts.shared:
            add_times(self._digests, connection, self.sums, [event], copies)
        self._note_known([event] * copies)

    def _note_known(self, events: Iterable[int]) -> None:
        """Note events that the store has as their lines give them."""
        if self._sealed_days:
            self.known.add(each for each in events if day_of(each) in self._sealed_days)

    def _compare_open(self, connection: Connection, batch: Batch) -> None:
        """Compare events that are open at the checkpoint: the store may have them, or not yet."""
        self.decoded += Counter(
            (table, day_of(number(row[0]))) for table, rows in batch.facts.items() for row in rows
        )
        self._judge_events(connection, batch, set(batch.facts.ids()), may_be_absent=True)

    def _judge_dimension(
        self, connection: Connection, batch: Batch, table: str, row_id: int
    ) -> None:
        """See whether a row's id was taken when it was stored; else it was altered or deleted."""
        row = next(row for row in batch.dimensions[table] if row[0] == row_id)
        content = tuple(row[1:])
        for attempt in range(1, 4):
            other = dimension_id(self._facts.secret, table, content, attempt)
            found = self._database.fetch(connection, _DIMENSIONS[table], "id", [other])
            if any(tuple(each[1:]) == content for each in found):
                self.pins.append((table, content, other))
                raise _ClashError
        stored = self._database.fetch(connection, _DIMENSIONS[table], "id", [row_id])
        if not stored and table in self._absent:
            self._absent[table][row_id] = _shown(content)
            return
        state = "was altered" if stored else "was deleted"
        self._findings.add(f"a row of {table} {state}: {row_id}, which is {_shown(content)}")

    def _judge_absent(self, connection: Connection) -> None:
        """Tell of dimension rows that are gone: where days were pruned, of those that are used."""
        if any(self._absent.values()):
            self._look_again()
        for table, rows in self._absent.items():
            used = still_used(connection, table, rows) if self._facts.pruned else rows
            for row_id in sorted(used):
                self._findings.add(
                    f"a row of {table} was deleted: {row_id}, which is {rows[row_id]}"
                )

    def _judge_events(
        self, connection: Connection, batch: Batch, events: set[int], *, may_be_absent: bool
    ) -> None:
        made = batch.dimensions if may_be_absent else {}  # what is open is not stored by us yet
        rows_by_id = {name: {row[0]: row for row in rows} for name, rows in made.items()}
        one = StoredEvents(self._database, connection, self._facts.secret, rows_by_id)
        given, copies = rows_of(batch, events), copies_in(batch)
        results, stored = self._results(one, given)
        for event, judged in results.items():
            for table, rows in given[event].items():
                self.decoded[table, day_of(event)] -= len(rows)
            self.apart += judged.apart and event not in self.seen
            where = judged.stored or event
            if judged.apart:
                self.apart_days.add(day_of(event))
            if judged.stored and (not judged.what or self._digests is None):
                self._take(connection, where, copies[event])
            self.seen[where] += 1
            if where in self._facts.shared:
                self.parts.add(where)
            elif self.seen[where] == 1:
                self._count_special(connection, where, stored)
            if not judged.what:
                continue
            if not judged.stored and may_be_absent:
                continue
            if not judged.stored and day_of(event) in self._facts.pruned:
                self.pruned += 1
                continue
            self._findings.add_event(event, judged.what)

    def _count_special(
        self, connection: Connection, event: int, stored: Mapping[int, Rows]
    ) -> None:
        own = stored if event in stored else stored_rows(self._database, connection, [event])
        for table, rows in own.get(event, {}).items():
            self.special[table, day_of(event)] += len(rows)

    def _results(
        self, one: StoredEvents, given: dict[int, Rows]
    ) -> tuple[dict[int, Judged], dict[int, Rows]]:
        """Compare events one by one; gives with the results what is stored of them."""
        stored = stored_rows(self._database, one.connection, given)
        results = {event: judge(one, event, given[event], stored) for event in sorted(given)}
        if any(each.what for each in results.values()):
            self._look_again()
            # Events that were just being deleted may have been seen in part.
            again = [
                event
                for event, each in results.items()
                if each.what and each.stored and day_of(event) in self._facts.pruned
            ]
            stored = {event: stored[event] for event in stored.keys() - {*again}}
            stored |= stored_rows(self._database, one.connection, again)
            results |= {event: judge(one, event, given[event], stored) for event in again}
        return results, stored


def _shown(content: Row) -> str:
    text = ", ".join("NULL" if each is None else str(each) for each in content)
    return text if len(text) <= 100 else f"{text[:100]}..."
