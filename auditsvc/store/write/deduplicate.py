"""What to do with events whose ids are taken.

Comes in: a batch, and a reader of what is stored. Goes out: a `Plan` of rows to
insert and stored events to delete first (they come again, changed, among the
rows). An event's identity is (host, second, ms, serial). Where one meets a
stored event on its id:

* other identity (a clock set back, two hosts that meet): it goes to the next place;
* same identity, and the records of one are part of the other's or complete it
  (the same log read twice, a copy that was cut short, an orphan and its
  SYSCALL): one event with the records of both, each once and in the columns that it
  belongs to (`auditsvc.store.write.late`); the records that were there already are duplicates;
* same identity, but the event was read from a kernel's log (`Facts.claimed`) and the stored
  one came from our own spool: both are kept;
* same identity, but contents that exclude each other: both are kept. So do two SYSCALLs
  that differ, records of user space that differ (each is an event of its own), and
  records of two tasks: a host without a clock begins each boot at the same time, and its
  serials at 1.

Two equal records of one event count as one record seen twice, if one of them is
stored and the other comes in later. This is the slow path; the loader takes it
only when a key turned out to be taken, and keeps all other writers out.

The way of an event is `_place_of`: a few next places in its second, then places that its
own content chooses. So it is short, however many events share one identity, and a copy of
the event takes the same way. All events take a step at a time, with one reading for all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from auditsvc.decode import ids
from auditsvc.store import schema
from auditsvc.store.write.late import Late
from auditsvc.store.write.merge import CALL, CONTEXT, OPEN, Contexts, Merger
from auditsvc.store.write.stored_event import (
    CHILDREN,
    EVENT,
    SYSCALL,
    Event,
    by_event,
    child_order,
    hang,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from auditsvc.decode.batch import Row
    from auditsvc.decode.reference.dimensions import Dimensions
    from auditsvc.store.write.stored_event import Reader

# Steps of an event's way: so many next places, then so many that its SYSCALL chooses.
_NEXT: Final = 4
_CHOSEN: Final = 12
_AT_ONCE: Final = 4000
"""Events that are looked at together, each with what is stored at its places."""


class Barred(Protocol):
    """Who may add to a stored event."""

    def __call__(self, event: int, stored: int) -> bool:
        """Whether an event of the batch must not add to a stored one; both by their ids."""


@dataclass
class Plan:
    """What to write instead of the batch's facts."""

    insert: dict[str, list[Row]]
    delete: list[int] = field(default_factory=list)
    duplicates: int = 0  # records that were there already
    added: int = 0  # events
    confirmed: list[int] = field(default_factory=list)
    """Ids of stored events of which the batch had an equal copy."""


def reconcile(
    facts: Mapping[str, Sequence[Row]],
    weights: Mapping[str, Sequence[int]],
    read: Reader,
    make: Callable[[], Dimensions],
    write: Callable[[Dimensions], bool],
    *,
    barred: Barred,
) -> Iterator[Plan]:
    """Find a place for every event of a batch; see the module for the rules.

    Gives one plan after the other, each for some thousand events, so that memory is
    bounded: the caller carries one out before it asks for the next. `make` gives a maker of
    the dimension rows that a plan needs beside the batch's own, `write` writes what it made,
    or says False: then the plan is made again with another maker. `barred` tells which
    events add nothing to which.
    """
    events = [
        Event(table.name, row, weight)
        for table in (schema.syscall, schema.event)
        for row, weight in zip(facts.get(table.name, ()), weights.get(table.name, ()), strict=True)
    ]
    count = Counter(event.id for event in events)
    shared = {event_id for event_id, n in count.items() if n > 1}
    together = by_event(event for event in events if event.id in shared)
    for start in range(0, len(events), _AT_ONCE):
        part = events[start : start + _AT_ONCE]
        while True:
            made = make()
            plan = _Reconciliation(facts, read, made, together, barred=barred).plan(part)
            if write(made):
                break
        together = {event_id: [] for event_id in together}  # they have their children
        yield plan


class _Reconciliation:
    """Some events of a batch on their way to their places.

    `together` has the events of the whole batch that share an id, until they have their
    children.
    """

    def __init__(
        self,
        facts: Mapping[str, Sequence[Row]],
        read: Reader,
        made: Dimensions,
        together: Mapping[int, list[Event]],
        *,
        barred: Barred,
    ) -> None:
        self._facts = facts
        self._read = read
        self._late = Late(made, read)
        self._together = together
        self._barred = barred
        self._contexts = Contexts(read)
        self._merger = Merger(self._late, self._contexts)
        # Events at their places: stored, or placed by us. None: the place is free.
        self._places: dict[int, Event | None] = {}
        self._changed: set[int] = set()
        self._stored: set[int] = set()
        self._plan = Plan({table.name: [] for table in schema.FACTS})

    def plan(self, events: list[Event]) -> Plan:
        """Place what is contested and pass on what is not."""
        plan = self._plan
        all_ids = {event.id for event in events}
        self._load(list(all_ids))
        contested = {i for i in all_ids if i in self._together or self._places[i] is not None}
        free = all_ids - contested
        ours = [event for event in events if event.id in contested]
        self._contexts.load([*ours, *filter(None, self._places.values())])
        self._give_children(ours)
        self._late.load(
            piece
            for event in ours
            for piece in (event.pieces if event.is_call else [event.primary, *event.pieces])
        )
        self._walk(ours, free)
        for place in self._changed:
            if placed := self._places[place]:
                self._merger.join(placed)
        plan.added += len(free)
        plan.delete = sorted(self._changed & self._stored)
        for table in schema.FACTS:
            rows = self._facts.get(table.name, ())
            plan.insert[table.name] += [row for row in rows if row[0] in free]
        for event_id in sorted(self._changed):
            placed = self._places[event_id]
            assert placed is not None
            write_rows(placed, plan.insert)
        return plan

    def _give_children(self, ours: list[Event]) -> None:
        sole = [event for event in ours if event.id not in self._together]
        shared = [event for events in self._together.values() for event in events]
        for event in shared:
            event.keep([])  # of an earlier attempt
            event.room = self._room(event)
        for event in sole:
            event.keep([])
        hang(self._facts, by_event([*sole, *shared]))

    # --- the way of an event ----------------------------------------------------------

    def _walk(self, waiting: list[Event], free: set[int]) -> None:
        """Take all events a step further until each is settled; the first ones first."""
        step = 0
        while waiting:
            places = [self._place_of(event, step) for event in waiting]
            # An event of this batch that nothing contests has another identity.
            self._load([each for each in dict.fromkeys(places) if each not in self._places])
            there = [event for each in set(places) if (event := self._places[each])]
            self._contexts.load(there)
            waiting = [
                event
                for event, place in zip(waiting, places, strict=True)
                if place in free or not self._settle(event, place)
            ]
            step += 1

    def _place_of(self, event: Event, step: int) -> int:
        if step < _NEXT:
            place = event.id
            for _ in range(step):
                place = ids.next_event_id(place)
            return place
        row = event.row
        content: tuple[object, ...] = self._identity(event)
        if event.is_call:
            content += (*row[CALL], row[SYSCALL["items"]], *self._contexts.process(event))
        else:
            content += (row[EVENT["type"]], row[EVENT["fields"]])
        if step >= _CHOSEN:
            content += (row[-1], event.argv)
            content += tuple(value for piece in event.pieces for value in piece.content)
        return ids.hashed_event_id(event.second, content, step)

    def _settle(self, event: Event, place: int) -> bool:
        """Put an event at a place or into what is there; False if it has to go on."""
        plan, there = self._plan, self._places[place]
        if there is None:
            self._places[place] = event.moved(place)
            self._changed.add(place)
            plan.added += 1
        elif there.says(event):
            plan.duplicates += event.weight
            plan.confirmed.append(place)
        elif place in self._stored and self._barred(event.id, place):
            return False
        elif self._identity(there) == self._identity(event):
            merged = self._merger.merge(there, event)
            if merged is None:
                return False
            plan.duplicates += merged.known
            if merged.is_new:
                self._places[place] = merged.event
                self._changed.add(place)
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
        return event.weight - 1 - sum(context[place] is not None for place in OPEN)

    # --- reading ----------------------------------------------------------------------

    def _load(self, places: list[int]) -> None:
        """Read what is stored at `places` into `_places`."""
        if not places:
            return
        found = [
            Event(table.name, row)
            for table in (schema.syscall, schema.event)
            for row in self._read(table, "id", places)
        ]
        self._places.update(dict.fromkeys(places))
        self._places.update({event.id: event for event in found})
        self._stored.update(event.id for event in found)
        if found:
            wanted = [event.id for event in found]
            children = {
                table.name: sorted(self._read(table, "event", wanted), key=child_order)
                for table in CHILDREN
            }
            hang(children, by_event(found))
