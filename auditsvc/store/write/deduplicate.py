"""What to do with events whose ids are taken.

Comes in: a batch, and a reader of what is stored. Goes out: a `Plan` of rows to
insert and stored events to delete first (they come again, changed, among the
rows). An event's identity is (host, second, ms, serial). Where one meets a
stored event on its id:

* other identity (a clock set back, two hosts with the same id): it takes the next free id;
* same identity, and the records of one are part of the other's or complete it
  (the same log read twice, a copy that was cut short, an orphan and its
  SYSCALL): one event with the records of both, each once and in the columns that it
  belongs to (`auditsvc.store.write.late`); the records that were stored already are duplicates;
* same identity, and the records of one are those of the other with the names of auditd's
  ENRICHED format: one event, with the names, unless a spool has given it (see `Form`);
* same identity, but the event was read from a kernel's log (`Facts.claimed`) and the stored
  one came from our own spool: both are kept;
* same identity, but contents that exclude each other: both are kept. So do two SYSCALLs
  that differ, records of user space that differ (each is an event of its own), and
  records of two tasks: a host without a clock begins each boot at the same time, and its
  serials at 1.

Two equal records of one event count as one record seen twice, if one of them is
stored and the other comes in later. This is the slow path; the loader takes it
only when a key turned out to be taken, and keeps all other writers out.

The ids that an event can get, in order, are given by `_candidate`: a few next ids in its
second, then ids that are hashes of its content. So few ids are tried, however many events
share one identity, and a copy of the event tries the same ids. All events try one id at a
time, with one read for all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from auditsvc.decode import ids
from auditsvc.store import schema
from auditsvc.store.write.enriched import Names
from auditsvc.store.write.late import Late
from auditsvc.store.write.merge import CALL, CONTEXT, EXTRA, OPEN, Contexts, Form, Merger
from auditsvc.store.write.stored_event import (
    EVENT,
    SYSCALL,
    Event,
    by_event,
    hang,
    load,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from auditsvc.decode.batch import Row
    from auditsvc.decode.reference.dimensions import Dimensions
    from auditsvc.store.write.stored_event import Reader

# Before step _NEXT: the next ids. Before _CHOSEN: hashes of the SYSCALL; then of all records.
_NEXT: Final = 4
_CHOSEN: Final = 12
_AT_ONCE: Final = 2000
"""Events that are handled together, with what is stored under their candidate ids."""


class Barred(Protocol):
    """Who may add to a stored event."""

    def __call__(self, event: int, stored: int) -> bool:
        """Whether an event of the batch must not add to a stored one; both by their ids."""


@dataclass
class Plan:
    """What to write instead of the batch's facts."""

    insert: dict[str, list[Row]]
    delete: list[int] = field(default_factory=list)
    duplicates: int = 0  # records that were stored already
    added: int = 0  # events
    confirmed: list[int] = field(default_factory=list)
    """Ids of stored events that are, now, as the batch has them."""
    parts: list[int] = field(default_factory=list)
    """Ids of stored events of which the batch had a part, or one that differs."""
    repeated: list[tuple[int, int]] = field(default_factory=list)
    """Ids of events that came again, whole or in part, and how many records of each copy."""
    extended: list[tuple[int, int]] = field(default_factory=list)
    """Ids of stored events to which records were added, and how many."""


def reconcile(
    facts: Mapping[str, Sequence[Row]],
    weights: Mapping[str, Sequence[int]],
    read: Reader,
    make: Callable[[], Dimensions],
    write: Callable[[Dimensions], bool],
    *,
    secret: bytes,
    barred: Barred,
    form: Callable[[int], Form],
) -> Iterator[Plan]:
    """Find an id for every event of a batch; see the module for the rules.

    Gives one plan after the other, each for some thousand events, so that memory is
    bounded: the caller carries one out before it asks for the next. `make` gives a maker of
    the dimension rows that a plan needs beside the batch's own, `write` writes what it made,
    or gives False: then the plan is made again with another maker. `secret` is the store's.
    `barred` says which events add nothing to which, `form` whose form of a record is kept where
    it is stored under an id already and has other names.
    """
    events = [
        Event(table.name, row, weight)
        for table in (schema.syscall, schema.event)
        for row, weight in zip(facts.get(table.name, ()), weights.get(table.name, ()), strict=True)
    ]
    count = Counter(event.id for event in events)
    shared = {event_id for event_id, n in count.items() if n > 1}
    if shared:  # what is stored under an id is read by each part that has an event of it
        first = {event_id: place for place, event_id in enumerate(count)}
        events.sort(key=lambda event: first[event.id])
    together = by_event(event for event in events if event.id in shared)
    for start in range(0, len(events), _AT_ONCE):
        part = events[start : start + _AT_ONCE]
        while True:
            dimensions = make()
            names = Names(read, secret, dimensions.rows)
            made = _Reconciliation(facts, read, dimensions, names, together)
            plan = made.plan(part, barred=barred, form=form)
            if write(dimensions):
                break
        together = {event_id: [] for event_id in together}  # they have their children
        del names, made  # what they have read is not kept while the plan is carried out
        yield plan


class _Reconciliation:
    """Finds the ids of some events of a batch.

    `together` has the events of the whole batch that share an id, until they have their
    children.
    """

    def __init__(
        self,
        facts: Mapping[str, Sequence[Row]],
        read: Reader,
        dimensions: Dimensions,
        names: Names,
        together: Mapping[int, list[Event]],
    ) -> None:
        self._facts = facts
        self._read = read
        self._late = Late(dimensions, read)
        self._together = together
        self._names = names
        self._contexts = Contexts(read, names)
        # Events by id: stored, or put there by this plan. None: the id is free.
        self._events: dict[int, Event | None] = {}
        self._changed: set[int] = set()
        self._stored: set[int] = set()
        self._plan = Plan({table.name: [] for table in schema.FACTS})

    def plan(self, events: list[Event], *, barred: Barred, form: Callable[[int], Form]) -> Plan:
        """Find ids for events whose id is taken, and insert the others unchanged."""
        self._barred = barred
        self._merger = Merger(self._late, self._contexts, self._names, self._form(form))
        plan = self._plan
        all_ids = {event.id for event in events}
        self._load(list(all_ids))
        contested = {i for i in all_ids if i in self._together or self._events[i] is not None}
        free = all_ids - contested
        contested_events = [event for event in events if event.id in contested]
        self._contexts.load([*contested_events, *filter(None, self._events.values())])
        self._give_children(contested_events)
        self._late.load(
            piece
            for event in contested_events
            for piece in (event.pieces if event.is_call else [event.primary, *event.pieces])
        )
        self._load_names(contested_events)
        self._settle_all(contested_events, free)
        for candidate in self._changed:
            if placed := self._events[candidate]:
                self._merger.join(placed)
        plan.added += len(free)
        plan.delete = sorted(self._changed & self._stored)
        for table in schema.FACTS:
            rows = self._facts.get(table.name, ())
            plan.insert[table.name] += [row for row in rows if row[0] in free]
        for event_id in sorted(self._changed):
            placed = self._events[event_id]
            assert placed is not None
            write_rows(placed, plan.insert)
        return plan

    def _give_children(self, contested_events: list[Event]) -> None:
        single = [event for event in contested_events if event.id not in self._together]
        shared = [event for events in self._together.values() for event in events]
        for event in shared:
            event.keep([])  # of an earlier attempt
            event.room = self._room(event)
        for event in single:
            event.keep([])
        hang(self._facts, by_event([*single, *shared]))

    def _form(self, form: Callable[[int], Form]) -> Callable[[int], Form]:
        # Without `self`, which has the merger: the cycle would keep all events of a plan.
        ids = self._stored
        return lambda stored: form(stored) if stored in ids else Form.MORE

    def _load_names(self, contested_events: Iterable[Event]) -> None:
        """Read what events refer to that are not as they are stored, all at once."""
        differ = []
        met: set[int] = set()
        for event in contested_events:
            stored = self._events.get(event.id)
            if stored is not None and not stored.says(event):
                differ += [event] if event.id in met else [stored, event]
                met.add(event.id)
            elif event.id in self._together:
                differ.append(event)
        self._names.load(
            (
                piece
                for event in differ
                for piece in (event.pieces if event.is_call else [event.primary, *event.pieces])
            ),
            (self._contexts.of(event)[EXTRA] for event in differ if event.is_call),
        )

    # --- the ids of an event ----------------------------------------------------------

    def _settle_all(self, waiting: list[Event], free: set[int]) -> None:
        """Try the next id for all events until each is settled, in their order."""
        step = 0
        while waiting:
            candidates = [self._candidate(event, step) for event in waiting]
            # An event of this batch whose id is not taken has another identity.
            self._load([each for each in dict.fromkeys(candidates) if each not in self._events])
            stored = [event for each in set(candidates) if (event := self._events[each])]
            self._contexts.load(stored)
            waiting = [
                event
                for event, candidate in zip(waiting, candidates, strict=True)
                if candidate in free or not self._settle(event, candidate)
            ]
            step += 1

    def _candidate(self, event: Event, step: int) -> int:
        if step < _NEXT:
            candidate = event.id
            for _ in range(step):
                candidate = ids.next_event_id(candidate)
            return candidate
        row = event.row
        content: tuple[object, ...] = self._identity(event)
        if event.is_call:
            content += (*row[CALL], row[SYSCALL["items"]], *self._contexts.process(event))
        else:
            content += self._names.plain(event.primary).content
        if step >= _CHOSEN:
            last = content[-1]
            if event.is_call:
                last = self._names.plain_context(self._contexts.of(event))[0]
            content += (last, event.argv)
            plain = map(self._names.plain, event.pieces)
            content += tuple(value for piece in plain for value in piece.content)
        return ids.hashed_event_id(event.second, content, step)

    def _settle(self, event: Event, candidate: int) -> bool:
        """Give an event this id, or merge it into the one there; False: try the next id."""
        plan, stored = self._plan, self._events[candidate]
        if stored is None:
            self._events[candidate] = event.moved(candidate)
            self._changed.add(candidate)
            plan.added += 1
        elif stored.says(event):
            plan.duplicates += event.weight
            plan.confirmed.append(candidate)
            plan.repeated.append((candidate, event.weight))
        elif candidate in self._stored and self._barred(event.id, candidate):
            return False
        elif self._identity(stored) == self._identity(event):
            merged = self._merger.merge(stored, event)
            if merged is None:
                return False
            plan.duplicates += merged.known
            if merged.known:
                plan.repeated.append((candidate, merged.known))
            if candidate in self._stored and (more := event.weight - merged.known) > 0:
                plan.extended.append((candidate, more))
            if merged.is_new:
                self._events[candidate] = merged.event
                self._changed.add(candidate)
            (plan.confirmed if merged.event.says(event) else plan.parts).append(candidate)
        else:
            return False
        return True

    def _identity(self, event: Event) -> Row:
        row = event.row
        if event.is_call:
            host = self._contexts.of(event)[CONTEXT["host"]]
            return host, event.second, row[SYSCALL["ms"]], row[SYSCALL["serial"]]
        return row[EVENT["host"]], event.second, row[EVENT["ms"]], row[EVENT["serial"]]

    def _room(self, event: Event) -> int:
        """How many rows of child tables an event of the batch can have."""
        if not event.is_call:
            return event.weight - 1
        context = self._contexts.of(event)
        return event.weight - 1 - sum(context[column] is not None for column in OPEN)

    # --- reading ----------------------------------------------------------------------

    def _load(self, candidates: list[int]) -> None:
        """Read what is stored under `candidates` into `_events`."""
        if not candidates:
            return
        found = load(self._read, candidates)
        self._events.update(dict.fromkeys(candidates))
        self._events.update({event.id: event for event in found})
        self._stored.update(event.id for event in found)
