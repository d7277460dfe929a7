"""Writes a batch and its checkpoint in one transaction.

The fast path inserts all rows. Only if a key is used already, the transaction is started
again, exclusively, and `auditsvc.store.write.deduplicate` decides where each event belongs.
Either everything is stored or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import select

from auditsvc.decode.batch import Facts
from auditsvc.decode.reference.dimensions import Dimensions
from auditsvc.record.types import DAEMON_CONFIG
from auditsvc.store import activity, arrivals, origins, repeated, schema
from auditsvc.store.database import Contested
from auditsvc.store.write import own_records, raw_lines, sources, unused
from auditsvc.store.write.call_names import CallNames
from auditsvc.store.write.deduplicate import Plan, reconcile
from auditsvc.store.write.dimensions import DimensionWriter
from auditsvc.store.write.merge import Form
from auditsvc.store.write.revision import Difference, Revision, difference, stored_as_they_were
from auditsvc.store.write.settle import Settler
from auditsvc.store.write.signs import SignWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Table

    from auditsvc.decode.batch import Batch, Row
    from auditsvc.store.database import Database
    from auditsvc.store.write.revision import Change, RawLine
    from auditsvc.store.write.sources import Checkpoint, Source

# Up to this many events in a batch's range of ids are read to check whether one of them
# has an id of the batch; with more, each id is looked up.
_RANGE_SHARE: Final = 8


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of writing a batch."""

    events: int
    """Events that are new in the store."""

    duplicates: int
    """Records that were already in the store."""


class _Tried(Exception):  # noqa: N818 - no error: it rolls back what was only tried
    pass


class _Order(NamedTuple):
    """The arguments of one `Store.write`."""

    before: Source
    after: Source
    batch: Batch
    ledger: Mapping[str, int]
    origin: int
    is_trial: bool
    changes: Sequence[Change]
    seams: Sequence[Difference]

    @property
    def is_own(self) -> bool:
        """Whether the source speaks for its host."""
        return self.before.kind == origins.OWN


class Writer:
    """Writes batches of any number of sources into one database, one at a time."""

    def __init__(self, database: Database, secret: bytes) -> None:
        self._database = database
        self._secret = secret
        self._dimensions = DimensionWriter(database, secret)
        self._sources: dict[int, Source] = {}
        self._generations: dict[int, str] = {}
        """That of the store when a source was asked for; a decoder is made after that."""
        self._names = CallNames(database)
        self._settler = Settler(database)
        self._signs = SignWriter(database)
        self._generation = ""
        """That in which the cache of dimension rows began."""

    def source(self, kind: str, name: str, *, is_counted: bool = True) -> Source:
        """Find or make the source with this name; gives it with its checkpoint.

        A source that is not counted gives no lines: the ledger does not show it.
        """
        database = self._database
        with database.begin(alone=False) as connection:
            self._settler.count(connection)
            begun = unused.generation(connection)
            source = sources.get(
                database, connection, self._secret, kind, name, is_counted=is_counted
            )
        self._remember(source)
        self._generations[source.id] = begun
        return source

    def _remember(self, source: Source) -> None:
        """Keep where a source is; not what it has pending, which may be megabytes of lines."""
        self._sources[source.id] = replace(source, pending=b"")

    def write(
        self,
        source_id: int,
        batch: Batch,
        checkpoint: Checkpoint,
        *,
        open_records: int,
        ledger: Mapping[str, int],
        origin: int,
        is_trial: bool = False,
        revision: Revision | None = None,
    ) -> WriteResult:
        """Store a batch; see `Store.write`. A trial does all of it and takes it back."""
        source = self._sources[source_id]
        after = replace(
            source,
            segment=checkpoint.segment,
            position=checkpoint.position,
            pending=checkpoint.pending,
            open_records=open_records,
        )
        if not self._database.takes_packed:
            batch = replace(batch, packed=None)
        revision = revision or Revision()
        seams = [difference(seam) for seam in revision.seams]
        order = _Order(source, after, batch, ledger, origin, is_trial, revision.changes, seams)
        try:
            try:
                result = self._add(order)
            except Contested:
                result = self._look_and_add(order)
        except _Tried:
            self._names.forget()
            self._signs.forget()
            return WriteResult(0, 0)
        except BaseException:
            self._names.forget()  # the cached rows may have been rolled back
            self._signs.forget()
            raise
        self._dimensions.committed()
        self._signs.committed()
        self._settler.committed(result.events)
        for each in (after, *(change.after for change in revision.changes)):
            self._remember(each)
        return result

    def settle(self, *, all_of_it: bool = False, is_busy: bool = False) -> bool:
        """See `Store.settle`."""
        settler = self._settler
        if not (settler.is_due(is_busy=is_busy) or (all_of_it and settler.has_any)):
            return False
        with self._database.begin(alone=True) as connection:
            is_more = settler.settle(connection, all_of_it=all_of_it)
        activity.tidy(self._database)
        return is_more and (all_of_it or settler.is_due(is_busy=is_busy))

    def _add(self, order: _Order) -> WriteResult:
        """Insert the batch unchanged; Contested if parts of it may be stored already."""
        batches = [order.batch, *(seam.coming for seam in order.seams)]
        with self._database.begin(alone=False) as connection:
            self._before(connection, order)
            gone = self._take_out(connection, order.seams)
            arrivals.note_amended(connection, gone)
            span = None if order.is_own else _span_of(batches)
            # Nearly always none, and then no list of ids is needed to note whose they are.
            late = origins.last_stored(connection, span) if span else None
            for batch in batches:
                self._check_apart(connection, batch.facts)
                self._database.insert_facts(connection, batch)
                self._settler.added(connection, batch.facts)
                self._signs.added(connection, batch.facts)
                if order.is_own and "event" in batch.facts:
                    own = [event for event, *_ in batch.facts.events_of(DAEMON_CONFIG)]
                    own_records.added(self._database, connection, own)
            self._signs.flush(connection)
            result = WriteResult(sum(batch.facts.count for batch in batches) - len(gone), 0)
            self._after(connection, order, result)
            if order.is_own and origins.touches(connection, order.batch.facts.all_span()):
                raise Contested
            if late is not None:
                _note_foreign(connection, order.before.id, batches, late)
            elif span is not None:
                origins.note_foreign(connection, order.before.id, (), span)
            arrivals.note(
                connection,
                lambda: [each for b in batches for each in b.facts.ids() if each not in gone],
            )
            if order.is_trial:
                raise _Tried
        return result

    def _look_and_add(self, order: _Order) -> WriteResult:
        """Insert the events that are not stored yet, with all other writers excluded."""
        self._names.forget()
        self._signs.forget()
        with self._database.begin(alone=True) as connection:
            self._before(connection, order)
            gone = self._take_out(connection, order.seams)
            arrivals.note_amended(connection, gone)
            result, new, confirmed, parts = self._reconcile(connection, order, order.batch)
            for seam in order.seams:
                more, added, equal, others = self._reconcile(connection, order, seam.coming)
                new += added
                confirmed += equal
                parts += others
                known = 0 if seam.seam.is_shown_only else more.duplicates
                result = WriteResult(result.events + more.events, result.duplicates + known)
            self._signs.flush(connection)
            result = replace(result, events=result.events - len(gone))
            self._after(connection, order, result)
            if order.is_own:
                origins.note_parts(connection, parts)
                origins.note_own(connection, [*new, *confirmed])
                own_records.added(self._database, connection, [*new, *confirmed])
            else:
                origins.note_foreign(connection, order.before.id, new)
            arrivals.note(connection, lambda: [each for each in new if each not in gone])
            if order.is_trial:
                raise _Tried
        return result

    def _before(self, connection: Connection, order: _Order) -> None:
        """Write what events refer to, and what refers to no event."""
        begun = self._generations[order.before.id]
        self._signs.begin()
        if begun != self._generation:  # the cache is of another one
            self._dimensions.forget()
            self._signs.forget()
            self._generation = begun
        unused.check(connection, begun)
        if order.batch.packed:
            self._database.stage(connection, order.batch.packed)
        for batch in (order.batch, *(seam.coming for seam in order.seams)):
            self._dimensions.write(connection, batch)
            self._names.write(connection, batch)
        lines = [
            (min(order.origin + offset, sources.MOST), line, reason)
            for offset, line, reason in order.batch.raw
        ]
        self._keep_raw(connection, order.before.id, lines)
        for seam in order.seams:
            self._keep_raw(connection, seam.seam.source, seam.raw_coming)

    def _keep_raw(self, connection: Connection, source: int, lines: Iterable[RawLine]) -> None:
        raw_lines.keep(self._database, connection, source, lines)

    def _take_out(self, connection: Connection, seams: Sequence[Difference]) -> set[int]:
        """Delete the earlier rows that are unchanged; gives the ids of their events.

        Not if a spool has given the same event meanwhile: then it is the spool's.
        """

        def read(table: Table, key: str, values: Iterable[int]) -> Sequence[Row]:
            return self._database.fetch(connection, table, key, values)

        found = stored_as_they_were([event for seam in seams for event in seam.gone], read)
        gone = [event for event in found if not origins.is_own(connection, event)]
        if gone:
            self._delete(connection, gone)
        for seam in seams:
            raw_lines.take_out(self._database, connection, seam.seam.source, seam.raw_gone)
        return set(gone)

    def _delete(self, connection: Connection, events: Sequence[int]) -> None:
        self._settler.removed(connection, events)
        self._signs.removed(connection, events)
        for table in schema.FACTS:
            key = "id" if "id" in table.columns else "event"
            self._database.delete(connection, table, key, events)

    def _check_apart(self, connection: Connection, facts: Facts) -> None:
        """Contested if an id would be in both `syscall` and `event`: no key prevents that."""
        events = set(facts.lone_ids())
        if events and (
            facts.has_call(events) or self._fetch_ids(connection, schema.syscall, events)
        ):
            raise Contested
        if span := facts.span():
            limit = facts.count // _RANGE_SHARE + 1000
            table = schema.event
            between = select(table.c.id).where(table.c.id.between(*span)).limit(limit)
            found = {row.id for row in connection.execute(between)}
            if len(found) == limit:
                found = self._fetch_ids(connection, table, facts.ids())
            if found and facts.has_call(found):
                raise Contested

    def _fetch_ids(self, connection: Connection, table: Table, wanted: Iterable[int]) -> set[int]:
        found = self._database.fetch(connection, table, "id", wanted)
        return {row[0] for row in found if isinstance(row[0], int)}

    def _reconcile(
        self, connection: Connection, order: _Order, batch: Batch
    ) -> tuple[WriteResult, list[int], list[int], list[int]]:
        """Write what is not stored yet; gives the ids that are new, confirmed, and had parts."""

        def read(table: Table, key: str, values: Iterable[int]) -> Sequence[Row]:
            return self._database.fetch(connection, table, key, values)

        pins: list[tuple[str, Row, int]] = []

        def make() -> Dimensions:
            dimensions = Dimensions(self._secret, "")
            for pin in pins:
                dimensions.pin(*pin)
            return dimensions

        def write(dimensions: Dimensions) -> bool:
            clashing = self._dimensions.write_rows(connection, dimensions.rows)
            pins.extend(clashing)
            return not clashing

        claimed = batch.facts.claimed
        owners = origins.Owners(connection)

        def barred(event: int, stored: int) -> bool:
            return event in claimed and owners.is_own(stored)

        def form(stored: int) -> Form:
            # The rows of a spool's events are what its lines say: they are proved by them.
            if order.is_own:
                return Form.COMING
            return Form.STORED if owners.has_part(stored) else Form.MORE

        added = duplicates = 0
        new: list[int] = []
        confirmed: list[int] = []
        parts: list[int] = []
        copies = repeated.Copies(owners.is_own)
        plans = reconcile(
            batch.facts,
            batch.facts.weights,
            read,
            make,
            write,
            secret=self._secret,
            barred=barred,
            form=form,
        )
        for plan in plans:
            self._carry_out(connection, plan)
            changed = set(plan.delete)
            made = [event for event in Facts(plan.insert).ids() if event not in changed]
            new += made
            confirmed += plan.confirmed
            parts += plan.parts
            added += plan.added
            duplicates += plan.duplicates
            if order.is_own:
                copies.note(connection, made, plan.repeated)
            else:
                copies.lend(connection, plan.extended)
        return WriteResult(added, duplicates), new, confirmed, parts

    def _carry_out(self, connection: Connection, plan: Plan) -> None:
        unused.spare_copied(connection, plan.insert)
        if plan.delete:
            self._delete(connection, plan.delete)
            arrivals.note_amended(connection, plan.delete)
        for table in schema.FACTS:
            if rows := plan.insert[table.name]:
                self._database.insert(connection, table, rows)
        self._settler.added(connection, Facts(plan.insert))
        self._signs.added(connection, Facts(plan.insert))

    def _after(self, connection: Connection, order: _Order, result: WriteResult) -> None:
        """Update the checkpoints and the ledger."""
        counts = dict(order.batch.counts)
        for cause, count in order.ledger.items():
            counts[cause] = counts.get(cause, 0) + count
        if result.duplicates:
            counts["stored"] = counts.get("stored", 0) - result.duplicates
            counts["duplicate"] = counts.get("duplicate", 0) + result.duplicates
        sources.move(self._database, connection, order.before, order.after, counts)
        for change in order.changes:
            sources.move(self._database, connection, change.before, change.after, change.counts)


def _span_of(batches: Sequence[Batch]) -> tuple[int, int] | None:
    """Give the lowest and the highest id of their events, None if there is none."""
    ends = [end for batch in batches for end in batch.facts.all_span() or ()]
    return (min(ends), max(ends)) if ends else None


def _note_foreign(connection: Connection, source: int, batches: Sequence[Batch], late: int) -> None:
    """Note the source of stored events, of which those up to `late` may have others between."""
    ids = [event for batch in batches for event in batch.facts.ids()]
    behind = [each for each in ids if each > late]
    alone = (min(behind), max(behind)) if behind else None
    origins.note_foreign(connection, source, [each for each in ids if each <= late], alone)
