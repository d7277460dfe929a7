"""Proves the rows of a store by the lines that they were made of.

    check = RowCheck(settings, report)
    check.run(start)

The spool is decoded again, from `start` up to the store's checkpoint, and each row is compared
with the store's. Then the rows are counted by table and day: a row that no segment had is one
more than the lines give. So the content of a row needs no hash of its own: it follows from the
lines, and these are proved by the heads.

Only rows that came from our spool are held to it; those of other logs are not proved.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import dimension_id
from auditsvc.errors import AuditsvcError, StoreError
from auditsvc.evidence import origin_ranges, other_spools, pruned_days
from auditsvc.evidence.compare import DAY, MOST, day_of, ids_of, make_comparer
from auditsvc.evidence.event_ids import EventIds
from auditsvc.evidence.extra_rows import extra_events
from auditsvc.evidence.finding import STORE, Finding
from auditsvc.evidence.fragments import Fragments
from auditsvc.evidence.host_rows import events_of, hosts_but
from auditsvc.evidence.row_digest import Sum, add_times, copies_in, make_digests
from auditsvc.evidence.seal import MOST_ALTERED, NO_DAY, Seal
from auditsvc.evidence.sealed_rows import SealedRows
from auditsvc.evidence.spool_batches import batches, decoder_of
from auditsvc.evidence.store_facts import count_own, keep_days, pruned_in, read_facts
from auditsvc.evidence.store_itself import (
    altered_objects,
    contradictions,
    unlike_head,
    unlike_noted,
    wrong_ledger,
)
from auditsvc.evidence.stored import stored_heads
from auditsvc.evidence.swept import KINDS, still_used
from auditsvc.evidence.whole_event import StoredEvents, judge, rows_of, stored_rows
from auditsvc.plural import counted
from auditsvc.spool.segments import Place, segments
from auditsvc.store import repeated, schema
from auditsvc.store.database import reading
from auditsvc.store.databases import open_database
from auditsvc.store.migrate import check_schema
from auditsvc.store.partitions import date_of
from auditsvc.store.read.events import second_text

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from auditsvc.decode.batch import Batch, Row
    from auditsvc.evidence.compare import Counts
    from auditsvc.evidence.finding import Report
    from auditsvc.evidence.head import Head
    from auditsvc.evidence.row_digest import RowDigests, Sums
    from auditsvc.evidence.spool_batches import Spool, Start
    from auditsvc.evidence.store_facts import StoreFacts
    from auditsvc.evidence.whole_event import Judged, Rows
    from auditsvc.store.database import Database

_NAMED: Final = 20
"""Events and days that are named, at most."""
_FIRST_HEAD: Final = 5.0
"""Seconds in which a host that has begun to load has a head in the store."""
_OF_NONE: Final = "IN (SELECT low FROM origin WHERE source IS NULL)"
_TABLES: Final = {table.name: table for table in (*schema.DIMENSIONS, *schema.FACTS)}


class _ClashError(Exception):
    """An id stands for other content, as the store noticed when it was written."""


class RowCheck:
    """One verification of a store."""

    def __init__(self, url: str, spool: Spool, report: Report) -> None:
        self._database: Database = open_database(url, read=True)
        self._url = url
        self._spool = spool
        self._report = report
        self._comparer = make_comparer(self._database)
        self._pins: list[tuple[str, Row, int]] = []
        self._decoded: Counts = Counter()
        self._special: Counts = Counter()
        """Rows of the store that belong to events which were compared by themselves."""
        self._seen: Counter[int] = Counter()
        """Such events, by how often."""
        self._counted: Counter[str] = Counter()
        """What the decoder counts, as the ledger has it."""
        self._moment: Connection | None = None
        """The transaction in which the store's facts were read."""
        self._pruned = 0
        self._moved: set[int] = set()
        """Days of which retention deleted events since the check began."""
        self._absent: dict[str, dict[int, str]] = {}
        """Dimension rows that are gone, which nothing may use: by table and id, as shown."""
        self._apart = 0
        self._named = 0
        self.heads: list[Head] = []
        """Heads that the store has of the spool."""
        self.facts: StoreFacts | None = None
        """What the store said of itself when the check began."""
        self._fragments: Fragments | None = None
        self._digests: RowDigests | None = None
        """Set while segments are sealed."""
        self._sums: Sums = {}
        self._sealed_days: frozenset[int] = frozenset()
        self._known = EventIds()
        """Events of sealed days, each as often as its lines were compared with it."""
        self._apart_days: set[int] = set()
        self._elsewhere: frozenset[int] | None = frozenset()
        """Hosts whose rows may be another spool's; None: any row may be."""
        self._wrong_ranges: list[str] = []
        self._is_noted = False
        """Whether it is known which events an older program stored without a source."""
        self._parts: set[int] = set()
        """Events of which our lines gave a part, and another log."""
        self._hosts: set[str] = set()
        """Hosts that lines name, or that are theirs."""

    def seal(self, start: Start, last: int) -> Seal:
        """Compare the rows of the segments up to `last`, and digest them; AuditsvcError.

        What differs is in the report, and in the seal: it is told for ever, as those rows are not
        in the sums.
        """
        before, end = start.seal or Seal(), Place(last + 1)
        self._digests = make_digests(self._database)
        try:
            self._database.prepare(create=False)
            with reading(self._database) as connection:
                check_schema(self._database, connection)
                facts = self._read_facts(connection)
            if Place(*facts.checkpoint) < end:
                raise StoreError(f"the store does not have segment {last} of the spool yet")
            self.facts = facts
            pending = self._compare_repeatedly(facts, start, end)
        finally:
            self._database.engine.dispose()
        sums = before.sums | {
            key: before.sums.get(key, Sum()) + one for key, one in self._sums.items()
        }
        open_day = before.open_day
        if self._fragments is not None:  # events of a day later may have been written before
            newest = self._fragments.newest or int(time.time())
            open_day = max(open_day, newest // DAY + 1)
        altered = [*before.altered, *(each.what for each in self._report.findings)]
        is_told = before.hosts is not None or not before.through
        hosts = sorted({*(before.hosts or ()), *self._hosts}) if is_told else None
        is_told = before.parts is not None or not (before.through and facts.unknown)
        parts = sorted({*(before.parts or ()), *self._parts}) if is_told else None
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
                self._find_all(altered_objects(self._database, self._url, connection))
                self.facts = self._read_facts(connection)
                self._tell_of_others(connection, self.facts)
                self._find_all(self._wrong_ranges)
                self._find_all(contradictions(connection, self.facts))
                for what in self._comparer.damage():
                    self._find(f"the store's file is damaged: {what}")
                # What is counted and summed below is of this moment: the loader may go on.
                self._moment = connection
                self._run(connection, self.facts, start)
        except AuditsvcError as error:
            self._find(f"the store cannot be verified: {error}")
        finally:
            self._database.engine.dispose()

    def _read_facts(self, connection: Connection) -> StoreFacts:
        """Read them; of spools, pruned days and origins, believe what may be so."""
        facts = read_facts(connection, self._spool.source, whole=True)
        spool = self._spool.directory
        judged = other_spools.judge(connection, spool, facts.identity, facts.others)
        facts.sharing = judged.sharing
        found = origin_ranges.judge(connection, spool, facts.identity, facts.origins)
        self._wrong_ranges, self._is_noted = found.findings, found.is_noted
        facts.believe(found.ranges, found.old)
        for day in sorted(facts.pruned.keys() - self._believed(facts, facts.pruned).keys()):
            events = counted(facts.pruned.pop(day), "event")
            self._find(f"{events} of {date_of(day)} were deleted, but not by retention")
        return facts

    def _believed(self, facts: StoreFacts, pruned: dict[int, int]) -> dict[int, int]:
        """Give the days, of those that the store says were pruned, that were announced."""
        # Read after what the store says: a day is announced before it goes.
        said = pruned_days.announced(self._spool.directory, facts.identity)
        if said is None or facts.sharing:  # other hosts prune a shared store
            return pruned
        return {day: events for day, events in pruned.items() if day in said or not events}

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
        for name in judged.fresh:
            self._report.notes.append(
                f"the spool {name} of {judged.sharing[name]} loads into the store, too; the service"
                " of this host has not noted it yet"
            )
        for name in judged.strangers:
            self._find(
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

    def _run(self, connection: Connection, facts: StoreFacts, start: Start) -> None:
        if start.head is not None:
            self._find_all(unlike_head(facts, start.head))
            self._find_all(unlike_noted(self._spool.directory, start.head))
        if not facts.source:
            if segments(self._spool.directory):
                self._find("the store has nothing of this spool")
            return
        if start.seal is not None:
            self._sealed_days = start.seal.days()
            for what in start.seal.altered:
                self._find(f"when its segment was deleted, {what}")
        self._compare_repeatedly(facts, start, Place(*facts.checkpoint))
        self._look_again(facts)  # what is counted and summed is of the moment before
        self._elsewhere = self._find_hosts(connection, facts, start)
        self._judge_parts(connection, facts, start)
        self._compare_counts(connection, facts, start)
        if start.seal is not None and self._elsewhere is not None:
            sealed = SealedRows(self._database, self._report, start.seal, facts, self._elsewhere)
            sealed.compare(connection, self._known, self._apart_days)
        self._find_all(wrong_ledger(facts, self._counted, is_whole=start.is_beginning))
        if self._pruned:
            events = counted(self._pruned, "event")
            self._report.notes.append(f"{events} were deleted by retention, as the store says")
        if self._apart:
            events = counted(self._apart, "event")
            self._report.notes.append(
                f"{events} came in parts: what was merged later is compared only in part"
            )

    def _compare_repeatedly(self, facts: StoreFacts, start: Start, end: Place) -> bytes:
        """Compare up to a place; gives what is open there."""
        for _ in range(100):  # each time another id was taken
            with suppress(_ClashError):
                return self._compare_all(facts, start, end)
        return b""

    def _compare_all(self, facts: StoreFacts, start: Start, end: Place) -> bytes:
        self._decoded, self._special, self._seen = Counter(), Counter(), Counter()
        self._sums, self._known, self._parts = {}, EventIds(), set()
        self._absent = {name: {} for name in KINDS}
        self._counted.clear()
        self._report.events = 0
        decoder = decoder_of(self._spool, facts.secret, self._pins)
        decoder.restore(start.pending, 0.0)
        self._fragments = Fragments() if start.is_cut else None
        with (
            self._comparer.transaction() as connection,
            ThreadPoolExecutor(1, "compare") as pool,
        ):
            waiting: Future[None] | None = None
            lines = batches(self._spool, decoder, start, end, self._fragments)
            for batch in lines:
                if waiting is not None:
                    waiting.result()
                waiting = pool.submit(self._compare, connection, batch)
            if waiting is not None:
                waiting.result()
            pending = decoder.pending()
            if self._digests is None:
                decoder.finish()
                assert self._moment is not None
                # What was open at the checkpoint may have been stored whole since.
                self._compare_open(self._moment, decoder.take())
            self._judge_absent(connection, facts)
        return pending

    def _compare(self, connection: Connection, batch: Batch) -> None:
        found = self._comparer.compare(connection, batch)
        assert self.facts is not None
        if self.facts.shared:  # each by itself: they count neither here nor there
            found.events.update(each for each in batch.facts.ids() if each in self.facts.shared)
        for table, row_id in found.dimensions:
            self._judge_dimension(connection, batch, table, row_id)
        self._report.events += batch.facts.count
        self._judge_origins(batch, found.events)
        self._decoded += found.rows
        self._counted.update(batch.counts)
        self._hosts.update(str(row[1]) for row in batch.dimensions.get(schema.host.name, []))
        if self._digests is not None:
            self._digests.add_batch(connection, self._sums, batch, found.events)
        if self._sealed_days:
            copies = copies_in(batch).elements()
            self._note_known(each for each in copies if each not in found.events)
        if found.events:
            self._judge_events(connection, batch, found.events, may_be_absent=False)

    def _judge_origins(self, batch: Batch, differing: Container[int]) -> None:
        """See that events of our own log count as such: what others gave is believed less."""
        assert self.facts is not None
        foreign, shared, old = self.facts.foreign, self.facts.shared, self.facts.old
        if foreign:
            for event in batch.facts.ids():
                if event not in foreign or event in shared or event in differing:
                    continue
                if not (self._is_noted and event in old):
                    self._find_event(event, "is said to be from another log")

    def _take(self, connection: Connection, event: int, copies: int) -> None:
        """Note an event that is in the store by itself."""
        assert self.facts is not None
        if self._digests is not None and event not in self.facts.shared:
            add_times(self._digests, connection, self._sums, [event], copies)
        self._note_known([event] * copies)

    def _note_known(self, events: Iterable[int]) -> None:
        """Note events that the store has as their lines give them."""
        if self._sealed_days:
            self._known.add(each for each in events if day_of(each) in self._sealed_days)

    def _compare_open(self, connection: Connection, batch: Batch) -> None:
        """Compare events that are open at the checkpoint: the store may have them, or not yet."""
        self._decoded += Counter(
            (table, day_of(_number(row[0]))) for table, rows in batch.facts.items() for row in rows
        )
        self._judge_events(connection, batch, set(batch.facts.ids()), may_be_absent=True)

    def _judge_dimension(
        self, connection: Connection, batch: Batch, table: str, row_id: int
    ) -> None:
        """See whether a row's id was taken when it was stored; else it was altered or deleted."""
        row = next(row for row in batch.dimensions[table] if row[0] == row_id)
        content = tuple(row[1:])
        assert self.facts is not None
        for attempt in range(1, 4):
            other = dimension_id(self.facts.secret, table, content, attempt)
            found = self._database.fetch(connection, _TABLES[table], "id", [other])
            if any(tuple(each[1:]) == content for each in found):
                self._pins.append((table, content, other))
                raise _ClashError
        stored = self._database.fetch(connection, _TABLES[table], "id", [row_id])
        if not stored and table in self._absent:
            self._absent[table][row_id] = _shown(content)
            return
        state = "was altered" if stored else "was deleted"
        self._find(f"a row of {table} {state}: {row_id}, which is {_shown(content)}")

    def _judge_absent(self, connection: Connection, facts: StoreFacts) -> None:
        """Tell of dimension rows that are gone: where days were pruned, of those that are used."""
        if any(self._absent.values()):
            self._look_again(facts)
        for table, rows in self._absent.items():
            used = still_used(connection, table, rows) if facts.pruned else rows
            for row_id in sorted(used):
                self._find(f"a row of {table} was deleted: {row_id}, which is {rows[row_id]}")

    def _judge_events(
        self, connection: Connection, batch: Batch, events: set[int], *, may_be_absent: bool
    ) -> None:
        assert self.facts is not None
        made = batch.dimensions if may_be_absent else {}  # what is open is not stored by us yet
        rows_by_id = {name: {row[0]: row for row in rows} for name, rows in made.items()}
        one = StoredEvents(self._database, connection, self.facts.secret, rows_by_id)
        given, copies = rows_of(batch, events), copies_in(batch)
        results, stored = self._results(one, given)
        for event, judged in results.items():
            for table, rows in given[event].items():
                self._decoded[table, day_of(event)] -= len(rows)
            self._apart += judged.apart and event not in self._seen
            where = judged.stored or event
            if judged.apart:
                self._apart_days.add(day_of(event))
            if judged.stored and (not judged.what or self._digests is None):
                self._take(connection, where, copies[event])
            self._seen[where] += 1
            if where in self.facts.shared:
                self._parts.add(where)
            elif self._seen[where] == 1:
                self._count_special(connection, where, stored)
            if not judged.what:
                continue
            if not judged.stored and may_be_absent:
                continue
            if not judged.stored and day_of(event) in self.facts.pruned:
                self._pruned += 1
                continue
            self._find_event(event, judged.what)

    def _count_special(
        self, connection: Connection, event: int, stored: Mapping[int, Rows]
    ) -> None:
        own = stored if event in stored else stored_rows(self._database, connection, [event])
        for table, rows in own.get(event, {}).items():
            self._special[table, day_of(event)] += len(rows)

    def _results(
        self, one: StoredEvents, given: dict[int, Rows]
    ) -> tuple[dict[int, Judged], dict[int, Rows]]:
        """Compare events one by one; gives with the results what is stored of them."""
        assert self.facts is not None
        stored = stored_rows(self._database, one.connection, given)
        results = {event: judge(one, event, given[event], stored) for event in sorted(given)}
        if any(each.what for each in results.values()):
            self._look_again(self.facts)
            # Events that were just being deleted may have been seen in part.
            again = [
                event
                for event, each in results.items()
                if each.what and each.stored and day_of(event) in self.facts.pruned
            ]
            stored = {event: stored[event] for event in stored.keys() - {*again}}
            stored |= stored_rows(self._database, one.connection, again)
            results |= {event: judge(one, event, given[event], stored) for event in again}
        return results, stored

    def _find_event(self, event: int, what: str) -> None:
        self._named += 1
        if self._named <= _NAMED:
            self._find(f"event {event} of {second_text(event >> 30)} UTC {what}")
        elif self._named == _NAMED + 1:
            self._find("and more events")

    def _compare_counts(self, connection: Connection, facts: StoreFacts, start: Start) -> None:
        """Find rows that no segment had: they are more than the lines give."""
        if not start.is_beginning and start.seal is None:
            self._report.notes.append(
                "segments were deleted: the rows that they had, and those of some events after "
                "them, are not compared, and rows that no segment had cannot be told"
            )
            return
        if facts.old:
            self._report.notes.append("of some events the source is not known: not compared")
        if self._elsewhere is None:
            self._report.notes.append(
                "the store has events of other spools: rows that no segment had cannot be told"
            )
            return
        if facts.sharing:
            names = ", ".join(sorted(self._own_hosts()))
            self._report.notes.append(
                "the store has events of other spools: that no segment had a row can be told of"
                f" {names} only"
            )
        expected = Counter(self._decoded)
        expected.update(self._special)
        expected.subtract(self._rows_again(connection, self._elsewhere))
        open_day = NO_DAY
        if start.seal is not None:
            expected.update({key: one.rows for key, one in start.seal.sums.items()})
            open_day = start.seal.open_day
        named = 0
        for (table, day), count in sorted(count_own(connection, facts, self._elsewhere).items()):
            if facts.sharing and day in facts.pruned:
                continue  # it may be going, a table at a time
            if day <= open_day or day in self._moved or facts.old.touch(*ids_of(day)):
                continue
            more = count - expected[table, day]
            if named < _NAMED and (more > 0 or (more < 0 and facts.foreign)):
                named += self._name_extra(connection, table, day, more, start)

    def _own_hosts(self) -> set[str]:
        """Give the names of the hosts of this spool, as its settings and its heads say."""
        return {self._spool.host, *self._report.hosts}

    def _judge_parts(self, connection: Connection, facts: StoreFacts, start: Start) -> None:
        """Tell of events of which a spool is said to have given a part, and did not."""
        sealed = None if start.seal is None else start.seal.parts
        if self._elsewhere is None or (sealed is None and not start.is_beginning):
            facts.believe(facts.origins, [*facts.unknown])  # our lines are not all known
            return
        open_day = NO_DAY if start.seal is None else start.seal.open_day
        given = {*self._parts, *(sealed or ()), *events_of(connection, self._elsewhere, _OF_NONE)}
        wrong = {
            event
            for event, _ in facts.shared
            if event not in given and day_of(event) > open_day and day_of(event) not in facts.pruned
        }
        for event in sorted(wrong):
            self._find_event(event, "is said to be in part from another log, and no line gave it")
        ranges = [each for each in facts.origins if each[2] is not None or each[0] not in wrong]
        facts.believe(ranges, [*facts.old])

    def _find_hosts(
        self, connection: Connection, facts: StoreFacts, start: Start
    ) -> frozenset[int] | None:
        """Give the hosts whose rows may be another spool's; None if rows of this one may be."""
        if not facts.sharing:
            return frozenset()
        own = self._own_hosts()
        given = self._hosts if start.seal is None else self._hosts | {*(start.seal.hosts or ())}
        is_told = start.seal is None or start.seal.hosts is not None
        if not is_told or not given <= own or {None, *own} & {*facts.sharing.values()}:
            return None
        return hosts_but(connection, own)

    def _rows_again(self, connection: Connection, others: frozenset[int]) -> Counts:
        """Count what the lines, and what is sealed, have more of events that came several times."""
        found: Counts = Counter()
        theirs = {*events_of(connection, others, "IN (SELECT event FROM repeated)")}
        for part in repeated.parts(connection):
            events = {event: times for event, times in part.items() if event not in theirs}
            for event, rows in stored_rows(self._database, connection, events).items():
                # What was compared by itself is counted once for each time, and once more.
                judged = self._seen[event]
                more = max(0, events[event] - judged + (judged > 0))
                for table, those in rows.items():
                    found[table, day_of(event)] += len(those) * more
        return found

    def _name_extra(
        self,
        connection: Connection,
        table: str,
        day: int,
        more: int,
        start: Start,
    ) -> bool:
        """Tell of rows that no segment had; gives whether there are any."""
        found = self._extra(connection, table, day, start)
        if more < 0 and not found:
            return False  # the lines' events were there already, from elsewhere
        rows = counted(max(more, len(found)), "row")
        text = second_text(day * 86400)[:10]
        what = f"the store has {rows} in {table} on {text} that no segment had"
        if found:
            shown = ", ".join(map(str, found[:_NAMED]))
            what += f": {'event' if len(found) == 1 else 'events'} {shown}"
        self._find(what)
        return True

    def _extra(self, connection: Connection, table: str, day: int, start: Start) -> list[int]:
        """Give events of a day that have more rows than the lines give, if all lines are there."""
        if not start.is_beginning or self.facts is None:
            return []
        decoder = decoder_of(self._spool, self.facts.secret, self._pins)
        end = Place(*self.facts.checkpoint)
        rows: Counter[int] = Counter()
        for batch in batches(self._spool, decoder, start, end, None):
            of_it = (_number(row[0]) for row in batch.facts.get(table, []))
            rows.update(each for each in of_it if day_of(each) == day)
        decoder.finish()
        rows.update(_number(row[0]) for row in decoder.take().facts.get(table, []))
        return extra_events(
            connection,
            _TABLES[table],
            day,
            rows,
            self._seen,
            others=self._elsewhere or (),
            foreign=self.facts.foreign,
        )

    def _find_all(self, found: Iterable[str]) -> None:
        for what in found:
            self._find(what)

    def _find(self, what: str) -> None:
        if len(self._report.findings) < MOST:
            self._report.findings.append(Finding(STORE, what))


def _shown(content: Row) -> str:
    text = ", ".join("NULL" if each is None else str(each) for each in content)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value
