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
from auditsvc.decode.reference.events import MAX_RECORDS
from auditsvc.decode.reference.rows import LITTLE_ENDIAN
from auditsvc.decode.states import COMPLETE, DISPLACED, NO_EXIT, ORPHAN, PARTIAL, TRUNCATED
from auditsvc.record import types
from auditsvc.store import schema
from auditsvc.store.write.late import Late, is_arguments
from auditsvc.store.write.stored_event import (
    CHILDREN,
    EVENT,
    RECORD,
    SYSCALL,
    Event,
    Piece,
    by_event,
    child_order,
    hang,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Table

    from auditsvc.decode.batch import Row
    from auditsvc.decode.reference.dimensions import Dimensions

_CONTEXT: Final = {column.name: n for n, column in enumerate(schema.context.columns)}
# What the SYSCALL record itself says: equal in every copy of it.
_CALL: Final = slice(SYSCALL["ms"], SYSCALL["exit"] + 1)
# Columns of a context that records beside the SYSCALL fill.
_OPEN: Final = (_CONTEXT["cwd"], _CONTEXT["title"])
# Steps of an event's way: so many next places, then so many that its SYSCALL chooses.
_NEXT: Final = 4
_CHOSEN: Final = 12
_AT_ONCE: Final = 4000
"""Events that are looked at together, each with what is stored at its places."""


class Reader(Protocol):
    """Rows that are stored, as this transaction sees them."""

    def __call__(self, table: Table, key: str, values: Iterable[int]) -> Sequence[Row]:
        """Give the rows of `table` whose `key` is among `values`."""


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
        self._contexts: dict[int, Row] = {}
        # Events at their places: stored, or placed by us. None: the place is free.
        self._places: dict[int, Event | None] = {}
        self._changed: set[int] = set()
        self._unjoined: set[int] = set()
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
        self._load_contexts([*ours, *filter(None, self._places.values())])
        self._give_children(ours)
        self._late.load(
            piece
            for event in ours
            for piece in (event.pieces if event.is_call else [event.primary, *event.pieces])
        )
        self._walk(ours, free)
        for place in sorted(self._unjoined):
            self._join(place)
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
            self._load_contexts(there)
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
            content += (*row[_CALL], row[SYSCALL["items"]], *self._process(event))
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
            known = self._merge(there, event)
            if known is None:
                return False
            plan.duplicates += known
        else:
            return False
        return True

    def _identity(self, event: Event) -> Row:
        row = event.row
        if event.is_call:
            host = self._context(event)[_CONTEXT["host"]]
            return host, event.second, row[SYSCALL["ms"]], row[SYSCALL["serial"]]
        return row[EVENT["host"]], event.second, row[EVENT["ms"]], row[EVENT["serial"]]

    def _process(self, event: Event) -> Row:
        """What a call's context says, but for its id and what other records fill."""
        context = self._context(event)
        return tuple(value for n, value in enumerate(context) if n and n not in _OPEN)

    def _room(self, event: Event) -> int:
        """How many rows of child tables an event of the batch can have."""
        if not event.is_call:
            return event.weight - 1
        context = self._context(event)
        return event.weight - 1 - sum(context[place] is not None for place in _OPEN)

    # --- one event out of two ---------------------------------------------------------

    def _merge(self, there: Event, event: Event) -> int | None:
        """Bring the records of `event` into `there`; how many of them were there already.

        None if the two exclude each other.
        """
        if there.is_call and event.is_call:
            return self._merge_calls(there, event)
        if not _may_share(there, event) or not self._is_one_task(there, event):
            return None
        if event.is_call:
            return self._turn(there, event)
        before, leader = there.row, event.primary
        if not there.is_call and _leads(event, there):
            # The record that tells what the event is comes first.
            leader = there.primary
            there.row = (there.id, *event.row[1:])
        added, known, columns = self._sort(there, [leader, *event.pieces])
        if added and len(there.pieces) + len(added) > MAX_RECORDS:
            there.row = before
            return None
        there.add(added)
        self._fill(there, columns)
        self._end(there, event, added)
        return self._note(there, event, known, is_new=bool(added) or there.row != before)

    def _turn(self, there: Event, event: Event) -> int | None:
        """Merge a call into the orphans that came before it: `there` becomes the call."""
        if len(there.pieces) + len(event.pieces) >= MAX_RECORDS:
            return None
        orphans = [there.primary, *there.pieces]
        call = event.moved(there.id)
        call.keep(list(event.pieces))
        added, known, columns = self._sort(call, orphans)
        call.add(added)
        self._fill(call, columns)
        self._end(call, there, added)
        self._places[there.id] = call
        call.weight = 0
        self._note(call, event, known, is_new=True)
        return min(known, event.weight)

    def _sort(
        self, there: Event, incoming: list[Piece]
    ) -> tuple[list[Piece], int, dict[int, object]]:
        """Give what of the records `there` has not, how many it has, and its new columns.

        Each record is looked for as it came, and as what it becomes beside a call.
        """
        added: list[Piece] = []
        columns: dict[int, object] = {}
        seen: Counter[Piece] = Counter()
        known = 0
        context = self._context(there) if there.is_call else ()
        little = not there.is_call or self._is_little(there)
        for piece in incoming:
            if not there.is_call and piece == there.primary:
                known += 1
                continue
            if there.is_call and (column := self._late.column(piece)):
                place = _CONTEXT[column.name]
                holds = columns.get(place, context[place])
                if holds is None:
                    columns[place] = column.text
                    continue
                if holds == column.text:
                    known += 1
                    continue
            if self._is_known_argument(there, piece):
                known += 1
                continue
            rows = self._late.spread(piece, little=little)
            missing = []
            for each in rows:
                seen[each] += 1
                if not there.has(each, seen[each]):
                    missing.append(each)
            known += not missing
            added += missing
        return added, known, columns

    def _is_known_argument(self, there: Event, piece: Piece) -> bool:
        """Whether a late EXECVE says what is in an argument list that is whole."""
        if not is_arguments(piece) or there.argv is None:
            return False
        return there.state != TRUNCATED and self._late.says_arguments(piece, there.argv)

    def _fill(self, there: Event, columns: dict[int, object]) -> None:
        if columns:
            row = self._late.context(self._context(there), columns)
            assert isinstance(row[0], int)
            self._contexts[row[0]] = row
            there.put(SYSCALL["context"], row[0])

    def _end(self, there: Event, event: Event, added: list[Piece]) -> None:
        """Give the state that the event has with what came."""
        if not there.is_call:
            better = event.state < PARTIAL <= there.state and event.type == there.type
            if better or (event.state == ORPHAN and there.type not in types.CALLS):
                there.put(EVENT["state"], event.state)
            return
        open_ = there.argv is None or there.state == TRUNCATED
        if open_ and any(map(is_arguments, added)):
            self._unjoined.add(there.id)
        if there.state < PARTIAL or there.state in (DISPLACED, TRUNCATED):
            return
        ended = not event.is_call and types.PROCTITLE in (
            event.type,
            *(piece.content[0] for piece in event.pieces if piece.table == RECORD),
        )
        paths = sum(piece.table == schema.path.name for piece in there.pieces)
        items = there.row[SYSCALL["items"]]
        assert isinstance(items, int)
        if ended or paths >= items:
            there.put(SYSCALL["state"], _proper(there))

    def _join(self, place: int) -> None:
        """Make one argument list of late EXECVE records."""
        there = self._places[place]
        assert there is not None
        whole = self._late.join(there)
        if whole and there.state == TRUNCATED:
            there.put(SYSCALL["state"], _proper(there))
        elif whole is False and there.state < PARTIAL:
            there.put(SYSCALL["state"], TRUNCATED)

    def _note(self, there: Event, event: Event, known: int, *, is_new: bool) -> int:
        """Remember that `there` changed; without anything new all of `event` was there."""
        if not is_new:
            return event.weight
        self._changed.add(there.id)
        return min(known, event.weight)

    def _merge_calls(self, there: Event, event: Event) -> int | None:
        fields = ("items", "nr")
        if there.row[_CALL] != event.row[_CALL] or any(
            there.row[SYSCALL[name]] != event.row[SYSCALL[name]] for name in fields
        ):
            return None
        context = self._fuller_context(there, event)
        argv = self._fuller_argv(there, event)
        if context is None or argv is None:
            return None
        added, known = self._sort_plain(there, event.pieces)
        if added and len(there.pieces) + len(added) > MAX_RECORDS:
            return None
        # Records without a row of their own: SYSCALL, CWD, PROCTITLE, EXECVE.
        old, new = self._context(there), self._context(event)
        inside = 1 + sum(new[place] is not None for place in _OPEN)
        known += 1 + sum(old[p] is not None and new[p] is not None for p in _OPEN)
        if there.argv is not None and event.argv is not None:
            known += max(0, event.weight - inside - len(event.pieces))
        before = there.row, there.argv
        if there.state == TRUNCATED != event.state and event.argv is not None:
            there.keep([piece for piece in there.pieces if not is_arguments(piece)])
        there.put(SYSCALL["context"], context)
        if event.state < PARTIAL <= there.state:
            there.put(SYSCALL["state"], event.state)
        there.argv = argv[0]
        there.add(added)
        is_new = bool(added) or before != (there.row, there.argv)
        return self._note(there, event, known, is_new=is_new)

    def _sort_plain(self, there: Event, incoming: list[Piece]) -> tuple[list[Piece], int]:
        """Give what of the rows of a copy `there` has not, and how many it has."""
        seen: Counter[Piece] = Counter()
        added = []
        for piece in incoming:
            seen[piece] += 1
            if not there.has(piece, seen[piece]) and not self._is_known_argument(there, piece):
                added.append(piece)
        return added, len(incoming) - len(added)

    def _fuller_context(self, there: Event, event: Event) -> object:
        """Give the context that says what both say; None if there is none."""
        if self._process(there) != self._process(event):
            return None
        old, new = self._context(there), self._context(event)
        pairs = {place: (old[place], new[place]) for place in _OPEN}
        if any(None not in pair and pair[0] != pair[1] for pair in pairs.values()):
            return None
        columns = {place: b for place, (a, b) in pairs.items() if a is None and b is not None}
        if not columns:
            return there.row[SYSCALL["context"]]
        if all(a == b or a is None for a, b in pairs.values()):
            return event.row[SYSCALL["context"]]
        row = self._late.context(old, columns)
        assert isinstance(row[0], int)
        self._contexts[row[0]] = row
        return row[0]

    def _fuller_argv(self, there: Event, event: Event) -> tuple[object] | None:
        """Give the argument list that is whole; None if there are two that differ."""
        if there.argv == event.argv or event.argv is None:
            return (there.argv,)
        if there.argv is None:
            return (event.argv,)
        if (there.state == TRUNCATED) == (event.state == TRUNCATED):
            return None
        part, whole = (there, event) if there.state == TRUNCATED else (event, there)
        records = list(filter(is_arguments, part.pieces))
        if records and all(self._late.says_arguments(piece, whole.argv) for piece in records):
            return (whole.argv,)
        return None

    def _is_one_task(self, there: Event, event: Event) -> bool:
        """Whether no record of the two says that it is of another task than another."""
        if not (_tells_task(there) and _tells_task(event)):
            return True
        one, other = self._pid(there), self._pid(event)
        return one is None or other is None or one == other

    def _pid(self, event: Event) -> object:
        if event.is_call:
            return self._context(event)[_CONTEXT["pid"]]
        return event.row[EVENT["pid"]]

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

    def _load_contexts(self, events: list[Event]) -> None:
        wanted = {event.row[SYSCALL["context"]] for event in events if event.is_call}
        missing = [i for i in wanted if isinstance(i, int) and i not in self._contexts]
        for row in self._read(schema.context, "id", missing) if missing else ():
            assert isinstance(row[0], int)
            self._contexts[row[0]] = row

    def _context(self, event: Event) -> Row:
        context = event.row[SYSCALL["context"]]
        assert isinstance(context, int)
        if context not in self._contexts:
            self._load_contexts([event])
        return self._contexts[context]

    def _is_little(self, call: Event) -> bool:
        arch = self._context(call)[_CONTEXT["arch"]]
        assert isinstance(arch, int)
        return arch & LITTLE_ENDIAN != 0


def _proper(call: Event) -> int:
    """Give the state of a call that ended as it should."""
    ended = call.row[SYSCALL["success"]] is not None and call.row[SYSCALL["exit"]] is not None
    return COMPLETE if ended else NO_EXIT


def _may_share(there: Event, event: Event) -> bool:
    """Whether the two can be records of one event; one of them at most is a call."""
    alone = [
        not each.is_call and (types.is_user(each.type) or each.type == types.KERNEL)
        for each in (there, event)
    ]
    if not any(alone):
        return True
    if there.is_call or event.is_call:
        return False
    if there.primary == event.primary:
        return True
    return not all(alone) and (there if alone[1] else event).type in types.CONTEXTS


def _leads(event: Event, there: Event) -> bool:
    """Whether the first record of `event` tells what the event is, and that of `there` does not."""
    if there.type in types.CALLS or event.type == there.type:
        return False
    return event.type in types.CALLS or (
        there.type in types.CONTEXTS and event.type not in types.CONTEXTS
    )


def _tells_task(event: Event) -> bool:
    return event.is_call or event.type in types.OF_TASK
