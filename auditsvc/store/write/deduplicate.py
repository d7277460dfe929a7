"""What to do with events whose ids are taken.

Comes in: a batch, and a reader of what is stored. Goes out: a `Plan` of rows to
insert and stored events to delete first (they come again, changed, among the
rows). An event's identity is (host, second, ms, serial). Where one meets a
stored event on its id:

* other identity (a clock set back, two hosts that meet): it goes to the next id;
* same identity, and the records of one are part of the other's or complete it
  (the same log read twice, a copy that was cut short, an orphan and its
  SYSCALL): one event with the records of both, each once; the records that were
  there already are duplicates;
* same identity, but contents that exclude each other: both are kept.

Two equal records of one event count as one record seen twice, if one of them is
stored and the other comes in later. This is the slow path; the loader takes it
only when a key turned out to be taken, and keeps all other writers out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from auditsvc.decode import ids
from auditsvc.decode.states import PARTIAL, TRUNCATED
from auditsvc.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Table

    from auditsvc.decode.batch import Row

CHILDREN = (schema.exec_, schema.path, schema.sockaddr, schema.record)

# Columns by place, as the rows of the decoder hold them.
_SYSCALL = {column.name: n for n, column in enumerate(schema.syscall.columns)}
_EVENT = {column.name: n for n, column in enumerate(schema.event.columns)}
_CONTEXT = {column.name: n for n, column in enumerate(schema.context.columns)}
# What the SYSCALL record itself says: equal in every copy of it.
_CALL = slice(_SYSCALL["ms"], _SYSCALL["exit"] + 1)


class Reader(Protocol):
    """Rows that are stored, as this transaction sees them."""

    def __call__(self, table: Table, key: str, values: Iterable[int]) -> Sequence[Row]:
        """Give the rows of `table` whose `key` is among `values`."""


class Piece(NamedTuple):
    """A record of an event that has a row of its own: its table and what the row says.

    For `record` the content is (type, fields), else the row without event and seq.
    """

    table: str
    content: Row


@dataclass
class Event:
    """One event with all its rows. `weight` is the number of its records, 0 if stored."""

    table: str
    row: Row
    weight: int = 0
    argv: object = None
    pieces: list[Piece] = field(default_factory=list)

    @property
    def id(self) -> int:
        """The event's id."""
        assert isinstance(self.row[0], int)
        return self.row[0]

    @property
    def is_call(self) -> bool:
        """Whether it has its SYSCALL record."""
        return self.table == schema.syscall.name

    @property
    def state(self) -> int:
        """How it ended, a code of `auditsvc.decode.batch`."""
        state = self.row[_SYSCALL["state"] if self.is_call else _EVENT["state"]]
        assert isinstance(state, int)
        return state

    def says(self, other: Event) -> bool:
        """Whether the two are the same, record for record; most duplicates are."""
        return (
            self.row[1:] == other.row[1:]
            and self.id >> ids.SERIAL_BITS == other.id >> ids.SERIAL_BITS
            and (self.table, self.argv) == (other.table, other.argv)
            and self.pieces == other.pieces
        )

    def moved(self, event_id: int) -> Event:
        """Give the same event under another id."""
        return Event(self.table, (event_id, *self.row[1:]), self.weight, self.argv, self.pieces)


@dataclass
class Plan:
    """What to write instead of the batch's facts."""

    insert: dict[str, list[Row]]
    delete: list[int] = field(default_factory=list)
    duplicates: int = 0  # records that were there already
    added: int = 0  # events


def reconcile(
    facts: Mapping[str, Sequence[Row]], weights: Mapping[str, Sequence[int]], read: Reader
) -> Plan:
    """Find a place for every event of a batch; see the module for the rules."""
    return _Reconciliation(facts, weights, read).plan()


class _Reconciliation:
    """The events of one batch on their way to their places."""

    def __init__(
        self,
        facts: Mapping[str, Sequence[Row]],
        weights: Mapping[str, Sequence[int]],
        read: Reader,
    ) -> None:
        self._facts = facts
        self._read = read
        self._events = [
            Event(table.name, row, weight)
            for table in (schema.syscall, schema.event)
            for row, weight in zip(
                facts.get(table.name, ()), weights.get(table.name, ()), strict=True
            )
        ]
        self._contexts: dict[int, Row] = {}
        # Events at their places: stored, or placed by us. None: the place is free.
        self._places: dict[int, Event | None] = {}
        self._changed: set[int] = set()
        self._stored: set[int] = set()

    def plan(self) -> Plan:
        """Place what is contested and pass on what is not."""
        count = Counter(event.id for event in self._events)
        self._load(list(count))
        contested = {i for i, n in count.items() if n > 1 or self._places[i] is not None}
        free = count.keys() - contested
        ours = [event for event in self._events if event.id in contested]
        self._give_children(ours)
        self._load_contexts([*ours, *filter(None, self._places.values())])
        plan = Plan({table.name: [] for table in schema.FACTS})
        for event in ours:
            self._place(event, free, plan)
        plan.added += len(free)
        plan.delete = sorted(self._changed & self._stored)
        for table in schema.FACTS:
            rows = self._facts.get(table.name, ())
            plan.insert[table.name] += [row for row in rows if row[0] in free]
        for event_id in sorted(self._changed):
            placed = self._places[event_id]
            assert placed is not None
            _write_rows(placed, plan.insert)
        return plan

    def _place(self, event: Event, free: set[int], plan: Plan) -> None:
        place = event.id
        while True:
            if place in free:  # an event of this batch that nothing contests
                place = ids.next_event_id(place)
                continue
            if place not in self._places:
                self._load([place])
            there = self._places[place]
            if there is None:
                self._places[place] = event.moved(place)
                self._changed.add(place)
                plan.added += 1
                return
            if there.says(event):
                plan.duplicates += event.weight
                return
            if self._identity(there) == self._identity(event):
                merged = self._merge(there, event)
                if merged is not None:
                    both, known = merged
                    plan.duplicates += known
                    if both is not there:
                        self._places[place] = both
                        self._changed.add(place)
                    return
            place = ids.next_event_id(place)

    def _identity(self, event: Event) -> Row:
        row = event.row
        if event.is_call:
            host = self._context(event)[_CONTEXT["host"]]
            return host, event.id >> ids.SERIAL_BITS, row[_SYSCALL["ms"]], row[_SYSCALL["serial"]]
        host = row[_EVENT["host"]]
        return host, event.id >> ids.SERIAL_BITS, row[_EVENT["ms"]], row[_EVENT["serial"]]

    # --- one event out of two ---------------------------------------------------------

    def _merge(self, there: Event, event: Event) -> tuple[Event, int] | None:
        """Make one event of two; with it the number of `event`'s records that were there.

        None if the two exclude each other. The first is `there` itself if nothing is new.
        """
        if there.is_call and event.is_call:
            return self._merge_calls(there, event)
        if there.is_call:
            pieces, known = _union(there.pieces, [_primary(event), *event.pieces])
            merged = Event(there.table, there.row, 0, there.argv or event.argv, pieces)
            return _outcome(there, merged, known, event)
        if event.is_call:
            pieces, known = _union(event.pieces, [_primary(there), *there.pieces])
            argv = event.argv or there.argv
            return Event(event.table, (there.id, *event.row[1:]), 0, argv, pieces), known
        pieces, known = _union([_primary(there), *there.pieces], [_primary(event), *event.pieces])
        row = there.row
        if event.state < PARTIAL <= there.state:
            row = _with(row, _EVENT["state"], event.state)
        merged = Event(there.table, row, 0, there.argv or event.argv, pieces[1:])
        return _outcome(there, merged, known, event)

    def _merge_calls(self, there: Event, event: Event) -> tuple[Event, int] | None:
        fields = ("items", "nr")
        if there.row[_CALL] != event.row[_CALL] or any(
            there.row[_SYSCALL[name]] != event.row[_SYSCALL[name]] for name in fields
        ):
            return None
        context = self._fuller_context(there, event)
        argv = _fuller_argv(there, event)
        if context is None or argv is None:
            return None
        row = _with(there.row, _SYSCALL["context"], context)
        if event.state < PARTIAL <= there.state:
            row = _with(row, _SYSCALL["state"], event.state)
        pieces, known = _union(there.pieces, event.pieces)
        # Records without a row of their own: SYSCALL, CWD, PROCTITLE, EXECVE.
        old, new = self._context(there), self._context(event)
        inside = 1 + sum(new[_CONTEXT[name]] is not None for name in ("cwd", "title"))
        known += 1 + sum(
            old[_CONTEXT[name]] is not None and new[_CONTEXT[name]] is not None
            for name in ("cwd", "title")
        )
        if there.argv is not None and event.argv is not None:
            known += max(1, event.weight - inside - len(event.pieces))
        return _outcome(there, Event(there.table, row, 0, argv[0], pieces), known, event)

    def _fuller_context(self, there: Event, event: Event) -> object:
        """Give the context that says what both say; None if there is none."""
        old, new = self._context(there), self._context(event)
        holes = {_CONTEXT["id"], _CONTEXT["cwd"], _CONTEXT["title"]}
        pairs = list(enumerate(zip(old, new, strict=True)))
        if any(a != b for n, (a, b) in pairs if n not in holes):
            return None
        open_pairs = [(a, b) for n, (a, b) in pairs if n in holes and n != _CONTEXT["id"]]
        if all(a == b or b is None for a, b in open_pairs):
            return there.row[_SYSCALL["context"]]
        if all(a == b or a is None for a, b in open_pairs):
            return event.row[_SYSCALL["context"]]
        return None

    # --- reading ----------------------------------------------------------------------

    def _load(self, places: list[int]) -> None:
        """Read what is stored at `places` into `_places`."""
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
                table.name: sorted(self._read(table, "event", wanted), key=_child_order)
                for table in CHILDREN
            }
            _hang(children, {event.id: [event] for event in found})

    def _give_children(self, events: list[Event]) -> None:
        by_id: dict[int, list[Event]] = defaultdict(list)
        for event in events:
            by_id[event.id].append(event)
        _hang(self._facts, by_id)

    def _load_contexts(self, events: list[Event]) -> None:
        wanted = {event.row[_SYSCALL["context"]] for event in events if event.is_call}
        missing = [i for i in wanted if isinstance(i, int) and i not in self._contexts]
        for row in self._read(schema.context, "id", missing) if missing else ():
            assert isinstance(row[0], int)
            self._contexts[row[0]] = row

    def _context(self, event: Event) -> Row:
        context = event.row[_SYSCALL["context"]]
        assert isinstance(context, int)
        if context not in self._contexts:
            self._load_contexts([event])
        return self._contexts[context]


def _hang(children: Mapping[str, Sequence[Row]], by_id: Mapping[int, list[Event]]) -> None:
    """Give the rows of the child tables to the events that they belong to.

    Events that share an id have their children one after the other, each from
    seq 0: where seq starts again, the next event begins.
    """
    for table in CHILDREN:
        turns: dict[int, _Turn] = {}
        for row in children.get(table.name, ()):
            event_id = row[0]
            assert isinstance(event_id, int)
            owners = by_id.get(event_id)
            if owners is None:
                continue
            if len(owners) == 1:
                owner = owners[0]
            else:
                owner = turns.setdefault(event_id, _Turn(table, owners)).owner(row)
            if table is schema.exec_:
                owner.argv = row[1]
            elif table is schema.record:
                owner.pieces.append(Piece(table.name, (row[1], row[3])))
            else:
                owner.pieces.append(Piece(table.name, row[2:]))


class _Turn:
    """Whose children of one table are passing, of several events that share an id."""

    def __init__(self, table: Table, owners: list[Event]) -> None:
        self._table = table
        if table is schema.path:  # a call without items has no PATH
            owners = [o for o in owners if not o.is_call or o.row[_SYSCALL["items"]]] or owners
        self._owners = owners
        self._place = 0
        self._begun: set[object] = set()

    def owner(self, row: Row) -> Event:
        """Give the event that `row` belongs to; rows come in their order."""
        if self._table is schema.exec_:
            kind, begins = None, True
        elif self._table is schema.record:
            kind, begins = row[1], row[2] == 0
        else:
            kind, begins = None, row[1] == 0
        if begins:
            if kind in self._begun:
                self._begun.clear()
                self._place = min(self._place + 1, len(self._owners) - 1)
            self._begun.add(kind)
        return self._owners[self._place]


def _child_order(row: Row) -> tuple[int, ...]:
    """Order stored children by event and seq (`record`: by type between the two)."""
    return tuple(value for value in row[:3] if isinstance(value, int))


def _primary(event: Event) -> Piece:
    """Give the record that an event without a SYSCALL keeps in its own row."""
    return Piece(schema.record.name, (event.row[_EVENT["type"]], event.row[_EVENT["fields"]]))


def _union(base: list[Piece], more: list[Piece]) -> tuple[list[Piece], int]:
    """Add to `base` what `more` has and it has not; with it how many it had."""
    left = Counter(base)
    added = []
    for piece in more:
        if left[piece] > 0:
            left[piece] -= 1
        else:
            added.append(piece)
    return base + added, len(more) - len(added)


def _fuller_argv(there: Event, event: Event) -> tuple[object] | None:
    """Give the argument list that is whole; None if there are two."""
    if there.argv == event.argv or event.argv is None:
        return (there.argv,)
    if there.argv is None or there.state == TRUNCATED != event.state:
        return (event.argv,)
    return (there.argv,) if event.state == TRUNCATED != there.state else None


def _outcome(there: Event, merged: Event, known: int, event: Event) -> tuple[Event, int]:
    """Give `there` itself if `merged` adds nothing to it: then `event` was there whole."""
    if (merged.row, merged.argv, merged.pieces) == (there.row, there.argv, there.pieces):
        return there, event.weight
    return merged, min(known, event.weight)


def _with(row: Row, place: int, value: object) -> Row:
    return (*row[:place], value, *row[place + 1 :])


def _write_rows(event: Event, rows: dict[str, list[Row]]) -> None:
    """Write an event's rows, with seq counted anew."""
    rows[event.table].append(event.row)
    if event.argv is not None:
        rows[schema.exec_.name].append((event.id, event.argv))
    counts: Counter[tuple[object, ...]] = Counter()
    for table, content in event.pieces:
        key = (table, content[0]) if table == schema.record.name else (table,)
        seq = counts[key]
        counts[key] += 1
        if table == schema.record.name:
            rows[table].append((event.id, content[0], seq, content[1]))
        else:
            rows[table].append((event.id, seq, *content))
