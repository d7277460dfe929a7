"""Holds the rows of deleted segments to the digests of their day.

A day's rows are those of its events that the lines still have, which are compared with them, and
those of deleted segments: together they give the sums that were sealed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from auditsvc.evidence.compare import DAY, ids_of, key_of
from auditsvc.evidence.event_ids import EventIds
from auditsvc.evidence.finding import STORE, Finding
from auditsvc.evidence.host_rows import WITH_HOST, events_of
from auditsvc.evidence.row_digest import Sum, add_times, make_digests
from auditsvc.evidence.seal import NO_DAY
from auditsvc.plural import counted
from auditsvc.store import repeated, schema
from auditsvc.store.read.events import second_text

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Mapping, Sequence

    from sqlalchemy import Connection

    from auditsvc.evidence.finding import Report
    from auditsvc.evidence.row_digest import Sums
    from auditsvc.evidence.seal import Seal
    from auditsvc.evidence.store_facts import StoreFacts
    from auditsvc.store.database import Database

_ROWS: Final = 10_000
"""Rows that are read at once."""


class SealedRows:
    """The rows of a store that a seal has."""

    def __init__(
        self,
        database: Database,
        report: Report,
        seal: Seal,
        facts: StoreFacts,
        others: Collection[int],
    ) -> None:
        """Nothing is read before `compare`; `others`: hosts whose events are left out."""
        self._database = database
        self._digests = make_digests(database)
        self._report = report
        self._seal = seal
        self._facts = facts
        self._others = others

    def compare(self, connection: Connection, known: EventIds, apart: Container[int]) -> None:
        """Compare all days, in the transaction in which the store's facts were read.

        `known` are events that were compared with their lines, as often as these stand; `apart`
        are days with events that came in parts: such a part may have been merged into a row that
        had been sealed.
        """
        notes, open_day = self._report.notes, self._seal.open_day
        if open_day != NO_DAY:
            notes.append(
                f"up to {_date(open_day)} the store may have rows of segments that were deleted"
                " before they were signed: not compared"
            )
        days = sorted(self._seal.days())
        pruned_here = self._facts.pruned.keys() - self._facts.unsaid
        if pruned := sum(day in pruned_here for day in days):
            notes.append(
                f"{counted(pruned, 'day')} of deleted segments went by retention, as the store says"
            )
        for day in days:
            if day not in pruned_here and not self._facts.old.touch(*ids_of(day)):
                self._compare_day(connection, day, known, is_apart=day in apart)

    def _compare_day(
        self, connection: Connection, day: int, known: EventIds, *, is_apart: bool
    ) -> None:
        found = self._sums(connection, day, known)
        sums = self._seal.sums
        names = [table.name for table in schema.FACTS]
        events = (schema.syscall.name, schema.event.name)
        self._report.sealed += sum(found.get((name, day), Sum()).rows for name in events)
        others = [
            name for name in names if sums.get((name, day), Sum()) != found.get((name, day), Sum())
        ]
        if day in self._facts.unsaid:
            others = self._told_in_spite(day, names, found, others)
        if not others:
            return
        text = f"{', '.join(others)} on {_date(day)}"
        if is_apart:
            what = f"rows of deleted segments in {text} may have been merged later: not compared"
            self._report.notes.append(what)
        else:
            what = f"rows of deleted segments in {text} are not those that were signed"
            self._report.findings.append(Finding(STORE, what))

    def _told_in_spite(
        self, day: int, names: Sequence[str], found: Sums, others: list[str]
    ) -> list[str]:
        """Give the tables that differ although the store says that retention deleted the day.

        It says so of itself. If rows are gone it may be so, which is a note; but retention alters
        no row and adds none.
        """
        had = {name: self._seal.sums.get((name, day), Sum()).rows for name in names}
        more = {name: found.get((name, day), Sum()).rows - had[name] for name in names}
        gone = [f"{-more[name]} of {had[name]} in {name}" for name in names if more[name] < 0]
        if gone:
            what = f"rows of deleted segments on {_date(day)} are gone ({', '.join(gone)})"
            self._report.notes.append(f"{what}; no retention of this host did that")
            return [name for name in others if more[name] > 0 and name in WITH_HOST]
        # Rows beside an event count as ours when another host's event is gone before them.
        return [name for name in others if more[name] == 0 or name in WITH_HOST]

    def _sums(self, connection: Connection, day: int, known: EventIds) -> Sums:
        """Sum a day's rows: without events that are known, or did not come from a spool.

        Events that came several times are summed as often as their lines were sealed.
        """
        (low, high), foreign = ids_of(day), self._facts.foreign
        sums: Sums = {}
        theirs = EventIds()
        theirs.add(events_of(connection, self._others, f"BETWEEN {low} AND {high}"))
        theirs.add(each for each in self._seal.parts or () if low <= each <= high)
        for table in schema.FACTS:
            key = table.c[key_of(table)]
            statement = select(*table.columns).where(key.between(low, high))
            rows = connection.execute(statement.execution_options(yield_per=_ROWS))
            for part in rows.partitions():
                own = [row for row in part if row[0] not in known] if known else part
                if theirs:
                    own = [row for row in own if row[0] not in theirs]
                if foreign:
                    own = [row for row in own if row[0] not in foreign]
                self._digests.add(connection, sums, table, self._database.shown(table, own))
        for events in repeated.parts(connection, low, high):
            ours = {event: n for event, n in events.items() if event not in theirs}
            self._add_again(connection, sums, known, ours)
        return sums

    def _add_again(
        self,
        connection: Connection,
        sums: Sums,
        known: EventIds,
        events: Mapping[int, int],
    ) -> None:
        """Add the further copies of events that came several times, as far as they were sealed."""
        by_times: dict[int, list[int]] = {}
        for event, again in events.items():
            here = known.count(event)
            # All copies but those whose lines are there; one is in the sums if none is.
            times = again + 1 - here if here else again
            if times > 0 and event not in self._facts.foreign:
                by_times.setdefault(times, []).append(event)
        for times, those in by_times.items():
            add_times(self._digests, connection, sums, those, times)


def _date(day: int) -> str:
    return second_text(day * DAY)[:10]
