"""Finds rows of a store that no line gave: they are more than the lines give, by table and day.

    counts = RowCounts(database, spool, findings, facts, lines=lines, start=start)
    counts.compare(connection, others, moved)

`lines` are compared already (`auditsvc.evidence.line_check`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from auditsvc.evidence.compare import DAY, day_of, ids_of, number
from auditsvc.evidence.extra_rows import extra_events
from auditsvc.evidence.host_rows import WITH_HOST, events_of
from auditsvc.evidence.seal import NO_DAY
from auditsvc.evidence.spool_batches import batches, decoder_of
from auditsvc.evidence.store_facts import count_own
from auditsvc.evidence.store_findings import NAMED
from auditsvc.evidence.whole_event import stored_rows
from auditsvc.plural import counted
from auditsvc.spool.segments import Place
from auditsvc.store import repeated, schema
from auditsvc.store.read.events import second_text

if TYPE_CHECKING:
    from collections.abc import Container

    from sqlalchemy import Connection

    from auditsvc.evidence.compare import Counts
    from auditsvc.evidence.line_check import LineCheck
    from auditsvc.evidence.spool_batches import Spool, Start
    from auditsvc.evidence.store_facts import StoreFacts
    from auditsvc.evidence.store_findings import StoreFindings
    from auditsvc.store.database import Database

_FACTS: Final = {table.name: table for table in schema.FACTS}


class RowCounts:
    """One comparison of what the store has with what the lines give."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        findings: StoreFindings,
        facts: StoreFacts,
        *,
        lines: LineCheck,
        start: Start,
    ) -> None:
        self._database = database
        self._spool = spool
        self._findings = findings
        self._facts = facts
        self._lines = lines
        self._start = start

    def compare(
        self, connection: Connection, others: frozenset[int], moved: Container[int]
    ) -> None:
        """Compare the numbers of rows of each table and day, and name the events that are more.

        `others`: hosts whose rows may be another spool's; `moved`: days of which retention
        deleted events since the facts were read.
        """
        facts, seal = self._facts, self._start.seal
        expected = Counter(self._lines.decoded)
        expected.update(self._lines.special)
        expected.subtract(self._rows_again(connection, others))
        open_day = NO_DAY
        if seal is not None:
            expected.update({key: one.rows for key, one in seal.sums.items()})
            open_day = seal.open_day
        named = 0
        for (table, day), count in sorted(count_own(connection, facts, others).items()):
            more = count - expected[table, day]
            # It may be going, a table at a time, and rows beside an event do not say whose they
            # are. But retention adds no event.
            if facts.sharing and day in facts.pruned and (more < 0 or table not in WITH_HOST):
                continue
            if day <= open_day or day in moved or facts.old.touch(*ids_of(day)):
                continue
            if named < NAMED and (more > 0 or (more < 0 and facts.foreign)):
                named += self._name_extra(connection, table, day, more, others)

    def _rows_again(self, connection: Connection, others: frozenset[int]) -> Counts:
        """Count what the lines, and what is sealed, have more of events that came several times."""
        found: Counts = Counter()
        theirs = {*events_of(connection, others, "IN (SELECT event FROM repeated)")}
        for part in repeated.parts(connection):
            events = {event: times for event, times in part.items() if event not in theirs}
            for event, rows in stored_rows(self._database, connection, events).items():
                # What was compared by itself is counted once for each time, and once more.
                judged = self._lines.seen[event]
                more = max(0, events[event] - judged + (judged > 0))
                for table, those in rows.items():
                    found[table, day_of(event)] += len(those) * more
        return found

    def _name_extra(
        self, connection: Connection, table: str, day: int, more: int, others: frozenset[int]
    ) -> bool:
        """Tell of rows that no segment had; gives whether there are any."""
        found = self._extra(connection, table, day, others)
        if more < 0 and not found:
            return False  # the lines' events were there already, from elsewhere
        rows = counted(max(more, len(found)), "row")
        text = second_text(day * DAY)[:10]
        what = f"the store has {rows} in {table} on {text} that no segment had"
        if found:
            shown = ", ".join(map(str, found[:NAMED]))
            what += f": {'event' if len(found) == 1 else 'events'} {shown}"
        self._findings.add(what)
        return True

    def _extra(
        self, connection: Connection, table: str, day: int, others: frozenset[int]
    ) -> list[int]:
        """Give events of a day that have more rows than the lines give, if all lines are there."""
        if not self._start.is_beginning:
            return []
        facts, lines = self._facts, self._lines
        decoder = decoder_of(self._spool, facts.secret, lines.pins)
        end = Place(*facts.checkpoint)
        rows: Counter[int] = Counter()
        for batch in batches(self._spool, decoder, self._start, end, None):
            of_it = (number(row[0]) for row in batch.facts.get(table, []))
            rows.update(each for each in of_it if day_of(each) == day)
        decoder.finish()
        rows.update(number(row[0]) for row in decoder.take().facts.get(table, []))
        return extra_events(
            connection, _FACTS[table], day, rows, lines.seen, others=others, foreign=facts.foreign
        )
