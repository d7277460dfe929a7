"""Proves the rows of a store by the lines that they were made of.

    check = RowCheck(url, spool, report)
    check.run(start)

The spool is decoded again, from `start` up to the store's checkpoint, and each row is compared
with the store's. Then the rows are counted by table and day: a row that no segment had is one
more than the lines give. So the content of a row needs no hash of its own: it follows from the
lines, and these are proved by the heads.

Only rows that came from our spool are held to it; those of other logs are not proved.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from auditsvc.errors import AuditsvcError, StoreError
from auditsvc.evidence import origin_ranges, other_spools, pruned_days
from auditsvc.evidence.compare import DAY, day_of, make_comparer
from auditsvc.evidence.host_rows import events_of, hosts_but
from auditsvc.evidence.line_check import LineCheck
from auditsvc.evidence.peers import Judged, Peers
from auditsvc.evidence.row_counts import RowCounts
from auditsvc.evidence.row_digest import Sum, make_digests
from auditsvc.evidence.seal import MOST_ALTERED, NO_DAY, Seal
from auditsvc.evidence.sealed_rows import SealedRows
from auditsvc.evidence.store_facts import keep_days, pruned_in, read_facts
from auditsvc.evidence.store_findings import UNREADABLE, StoreFindings
from auditsvc.evidence.store_itself import (
    altered_objects,
    contradictions,
    unlike_head,
    unlike_noted,
    wrong_ledger,
)
from auditsvc.evidence.stored import stored_heads
from auditsvc.plural import counted
from auditsvc.spool.segments import Place, segments
from auditsvc.store.database import reading
from auditsvc.store.databases import open_database
from auditsvc.store.migrate import check_schema
from auditsvc.store.partitions import date_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import Connection

    from auditsvc.evidence.finding import Report
    from auditsvc.evidence.head import Head
    from auditsvc.evidence.row_digest import RowDigests
    from auditsvc.evidence.spool_batches import Spool, Start
    from auditsvc.evidence.store_facts import StoreFacts
    from auditsvc.store.database import Database

_FIRST_HEAD: Final = 5.0
"""Seconds in which a host that has begun to load has a head in the store."""
_TO_SIGN: Final = 900
"""Seconds in which a host that deletes a day has a head in the store that says so."""
_OF_NONE: Final = "IN (SELECT low FROM origin WHERE source IS NULL)"


class RowCheck:
    """One verification of a store."""

    def __init__(
        self, url: str, spool: Spool, report: Report, *, beside_loading: bool = False
    ) -> None:
        """`beside_loading`: with little memory, in the process that also loads."""
        self._database: Database = open_database(url, read=True)
        self._url = url
        self._spool = spool
        self._report = report
        self._findings = StoreFindings(report)
        self._comparer = make_comparer(self._database, beside_loading=beside_loading)
        self._moved: set[int] = set()
        """Days of which retention deleted events since the check began."""
        self.heads: list[Head] = []
        """Heads that the store has of the spool."""
        self.facts: StoreFacts | None = None
        """What the store said of itself when the check began."""
        self._peers = Judged()
        """What the other spools of the store sign."""
        self._wrong_ranges: list[str] = []
        self._is_noted = False
        """Whether it is known which events an older program stored without a source."""

    def seal(self, start: Start, last: int) -> Seal:
        """Compare the rows of the segments up to `last`, and digest them; AuditsvcError.

        What differs is in the report, and in the seal: it is told for ever, as those rows are not
        in the sums.
        """
        before, end = start.seal or Seal(), Place(last + 1)
        digests = make_digests(self._database)
        try:
            self._database.prepare(create=False)
            with reading(self._database) as connection:
                check_schema(self._database, connection)
                facts = self._read_facts(connection)
            if Place(*facts.checkpoint) < end:
                raise StoreError(f"the store does not have segment {last} of the spool yet")
            self.facts = facts
            lines = self._lines(facts, digests=digests)
            pending = lines.compare(start, end)
        finally:
            self._database.engine.dispose()
        sums = before.sums | {
            key: before.sums.get(key, Sum()) + one for key, one in lines.sums.items()
        }
        open_day = before.open_day
        if lines.fragments is not None:  # events of a day later may have been written before
            newest = lines.fragments.newest or int(time.time())
            open_day = max(open_day, newest // DAY + 1)
        altered = [*before.altered, *(each.what for each in self._report.findings)]
        is_told = before.hosts is not None or not before.through
        hosts = sorted({*(before.hosts or ()), *lines.hosts}) if is_told else None
        is_told = before.parts is not None or not (before.through and facts.unknown)
        parts = sorted({*(before.parts or ()), *lines.parts}) if is_told else None
        return Seal(last, pending, open_day, sums, altered[:MOST_ALTERED], hosts, parts)

    def run(self, start: Start) -> None:
        """Verify; what is wrong goes into the report."""
        try:
            self._database.prepare(create=False)
            with reading(self._database) as connection:
                check_schema(self._database, connection)
            with reading(self._database) as connection:
                self._database.unhurried(connection)  # it waits while the lines are compared
                keep_days(connection)
                self.heads = stored_heads(connection, self._spool.identity)
                self._findings.add_all(altered_objects(self._database, self._url, connection))
                self.facts = self._read_facts(connection)
                self._tell_of_others(connection, self.facts)
                self._findings.add_all(self._wrong_ranges)
                self._findings.add_all(contradictions(connection, self.facts))
                for what in self._comparer.damage():
                    self._findings.add(f"the store's file is damaged: {what}")
                # What is counted and summed below is of this moment: the loader may go on.
                self._run(connection, self.facts, start)
        except AuditsvcError as error:
            self._findings.add(f"the store cannot be verified: {error}")
        except UNREADABLE as error:  # who can write to the store must not end the check by that
            self._findings.add_unreadable(error)
        finally:
            self._database.engine.dispose()

    def _read_facts(self, connection: Connection) -> StoreFacts:
        """Read them; of spools, pruned days and origins, believe what may be so."""
        facts = read_facts(connection, self._spool.source, with_origins=True)
        spool = self._spool.directory
        judged = other_spools.judge(connection, spool, facts.identity, facts.others)
        facts.sharing = judged.sharing
        spools = other_spools.ids_of(judged.sharing)
        self._peers = Peers(spool).judge(connection, facts.identity, spools)
        found = origin_ranges.judge(connection, spool, facts.identity, facts.origins)
        self._wrong_ranges, self._is_noted = found.findings, found.is_noted
        facts.believe(found.ranges, found.old)
        believed = self._believed(facts, facts.pruned)
        for day in sorted(facts.pruned.keys() - believed.keys()):
            events = counted(facts.pruned.pop(day), "event")
            what = f"{events} of {date_of(day)} were deleted, but not by retention"
            if facts.sharing and day <= _today() + 1:
                what += ": no host signed that its own did it"
            self._findings.add(what)
        for host, claim in self._peers.claims:
            gone = sum(events for day, events in believed.items() if claim.has(day))
            if gone < claim.events:
                period = _dates([*range(claim.first, claim.last + 1)])
                self._findings.add(
                    f"the store says that retention deleted {counted(gone, 'event')} of {period},"
                    f" and {host} signed that {claim.events} went"
                )
        return facts

    def _believed(self, facts: StoreFacts, pruned: dict[int, int]) -> dict[int, int]:
        """Give the days, of those that the store says were pruned, that may have been."""
        # Read after what the store says: a day is announced before it goes.
        said = pruned_days.announced(self._spool.directory, facts.identity)
        if said is None:
            return pruned
        if not facts.sharing:
            return {day: events for day, events in pruned.items() if day in said}
        # Other hosts prune a shared store, but nobody a day that has not come.
        may = {day for day in pruned.keys() - said if day <= _today() + 1}
        facts.unsaid |= {day for day in may if self._may_go_unsaid(day)}
        return {day: events for day, events in pruned.items() if day in said | facts.unsaid}

    def _may_go_unsaid(self, day: int) -> bool:
        """Whether another host may have deleted a day: it signed that, or signs no such thing."""
        peers, now = self._peers, int(time.time())
        if peers.silent or peers.signers(day):
            return True
        return now - peers.first_seen.get(day, now) < _TO_SIGN

    @contextmanager
    def _now(self) -> Iterator[Connection]:
        """Open a transaction of this moment."""
        database = open_database(self._url, read=True)
        try:
            with reading(database) as connection:
                yield connection
        finally:
            database.engine.dispose()

    def _tell_of_others(self, connection: Connection, facts: StoreFacts) -> None:
        """Tell of spools that nobody noted; a host that has just begun signs in a moment."""
        spool, identity = self._spool.directory, facts.identity
        judged = other_spools.judge(connection, spool, identity, facts.others)
        until = time.monotonic() + _FIRST_HEAD
        while judged.strangers and time.monotonic() < until:
            time.sleep(_FIRST_HEAD / 10)
            with self._now() as later:
                judged = other_spools.judge(later, spool, identity, facts.others)
            facts.sharing = judged.sharing
        self._findings.add_all(self._peers.findings)
        self._report.notes += self._peers.notes
        for name in judged.fresh:
            self._report.notes.append(
                f"the spool {name} of {judged.sharing[name]} loads into the store, too; the service"
                " of this host has not noted it yet"
            )
        for name in judged.strangers:
            self._findings.add(
                f"a row of source says that the spool {name} loads into the store, too: it has"
                " signed nothing, and no service of this host noted it"
            )

    def _look_again(self, facts: StoreFacts) -> None:
        """See what retention deleted since: it goes on while the lines are compared."""
        with self._now() as connection:
            pruned = pruned_in(connection)
        for day, events in self._believed(facts, pruned).items():
            if facts.pruned.get(day, 0) != events:
                facts.pruned[day] = events
                self._moved.add(day)

    def _lines(
        self,
        facts: StoreFacts,
        *,
        digests: RowDigests | None = None,
        sealed_days: frozenset[int] = frozenset(),
        moment: Connection | None = None,
    ) -> LineCheck:
        return LineCheck(
            self._database,
            self._comparer,
            self._spool,
            self._findings,
            facts,
            look_again=partial(self._look_again, facts),
            is_noted=self._is_noted,
            digests=digests,
            sealed_days=sealed_days,
            moment=moment,
        )

    def _run(self, connection: Connection, facts: StoreFacts, start: Start) -> None:
        if start.head is not None:
            self._findings.add_all(unlike_head(facts, start.head))
            self._findings.add_all(unlike_noted(self._spool.directory, start.head))
        if not facts.source:
            if segments(self._spool.directory):
                self._findings.add("the store has nothing of this spool")
            return
        sealed_days = frozenset[int]()
        if start.seal is not None:
            sealed_days = start.seal.days()
            for what in start.seal.altered:
                self._findings.add(f"when its segment was deleted, {what}")
        lines = self._lines(facts, sealed_days=sealed_days, moment=connection)
        lines.compare(start, Place(*facts.checkpoint))
        self._look_again(facts)  # what is counted and summed is of the moment before
        elsewhere = self._find_hosts(connection, facts, start, lines.hosts)
        self._judge_parts(connection, facts, start, elsewhere, lines.parts)
        if self._has_counts(facts, start, elsewhere) and elsewhere is not None:
            counts = RowCounts(
                self._database, self._spool, self._findings, facts, lines=lines, start=start
            )
            counts.compare(connection, elsewhere, self._moved)
        if start.seal is not None and elsewhere is not None:
            sealed = SealedRows(self._database, self._report, start.seal, facts, elsewhere)
            sealed.compare(connection, lines.known, lines.apart_days)
        self._findings.add_all(wrong_ledger(facts, lines.counted, is_whole=start.is_beginning))
        self._note_what_is_missing(facts, lines)

    def _note_what_is_missing(self, facts: StoreFacts, lines: LineCheck) -> None:
        by_signers: dict[str, list[int]] = {}
        for day in facts.unsaid:
            by_signers.setdefault(", ".join(self._peers.signers(day)), []).append(day)
        for hosts, days in sorted(by_signers.items()):
            self._report.notes.append(
                f"events of {_dates(days)} were deleted by retention, as {hosts} signed"
                if hosts
                else f"events of {_dates(days)} were deleted, as the store says: no retention of"
                f" this host did, another one's may have{self._unsigned()}"
            )
        if lines.pruned:
            events = counted(lines.pruned, "event")
            self._report.notes.append(f"{events} were deleted by retention, as the store says")
        if lines.apart:
            events = counted(lines.apart, "event")
            self._report.notes.append(
                f"{events} came in parts: what was merged later is compared only in part"
            )

    def _unsigned(self) -> str:
        """Say why nobody signed that a day was deleted."""
        if silent := self._peers.silent:
            names = ", ".join(silent)
            return f" (not signed, or not to be followed from what was seen: {names})"
        return " (it has not signed that yet)"

    def _has_counts(
        self, facts: StoreFacts, start: Start, elsewhere: frozenset[int] | None
    ) -> bool:
        """Whether rows that no segment had can be told; notes what limits that."""
        notes = self._report.notes
        if not start.is_beginning and start.seal is None:
            notes.append(
                "segments were deleted: the rows that they had, and those of some events after "
                "them, are not compared, and rows that no segment had cannot be told"
            )
            return False
        if facts.old:
            notes.append("of some events the source is not known: not compared")
        if elsewhere is None:
            notes.append(
                "the store has events of other spools: rows that no segment had cannot be told"
            )
            return False
        if facts.sharing:
            names = ", ".join(sorted(self._own_hosts()))
            notes.append(
                "the store has events of other spools: that no segment had a row can be told of"
                f" {names} only"
            )
        return True

    def _own_hosts(self) -> set[str]:
        """Give the names of the hosts of this spool, as its settings and its heads say."""
        return {self._spool.host, *self._report.hosts}

    def _judge_parts(
        self,
        connection: Connection,
        facts: StoreFacts,
        start: Start,
        elsewhere: frozenset[int] | None,
        parts: set[int],
    ) -> None:
        """Tell of events of which a spool is said to have given a part, and did not.

        `elsewhere`: hosts whose rows may be another spool's; None: any row may be.
        `parts`: events of which our lines gave one.
        """
        sealed = None if start.seal is None else start.seal.parts
        if elsewhere is None or (sealed is None and not start.is_beginning):
            facts.believe(facts.origins, [*facts.unknown])  # our lines are not all known
            return
        open_day = NO_DAY if start.seal is None else start.seal.open_day
        given = {*parts, *(sealed or ()), *events_of(connection, elsewhere, _OF_NONE)}
        wrong = {
            event
            for event, _ in facts.shared
            if event not in given and day_of(event) > open_day and day_of(event) not in facts.pruned
        }
        for event in sorted(wrong):
            self._findings.add_event(
                event, "is said to be in part from another log, and no line gave it"
            )
        ranges = [each for each in facts.origins if each[2] is not None or each[0] not in wrong]
        facts.believe(ranges, [*facts.old])

    def _find_hosts(
        self, connection: Connection, facts: StoreFacts, start: Start, named: set[str]
    ) -> frozenset[int] | None:
        """Give the hosts whose rows may be another spool's; None if rows of this one may be.

        `named`: hosts that our lines name.
        """
        if not facts.sharing:
            return frozenset()
        own = self._own_hosts()
        given = named if start.seal is None else named | {*(start.seal.hosts or ())}
        is_told = start.seal is None or start.seal.hosts is not None
        if not is_told or not given <= own or {None, *own} & {*facts.sharing.values()}:
            return None
        return hosts_but(connection, own)


def _today() -> int:
    return int(time.time()) // DAY


def _dates(days: Collection[int]) -> str:
    """Give days as dates, those that follow each other as one period."""
    periods: list[list[int]] = []
    for day in sorted(days):
        if periods and periods[-1][1] == day - 1:
            periods[-1][1] = day
        else:
            periods.append([day, day])
    return ", ".join(
        date_of(first) if first == last else f"{date_of(first)} to {date_of(last)}"
        for first, last in periods
    )
