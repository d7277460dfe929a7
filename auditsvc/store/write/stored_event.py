"""An event with all its rows; assigns the rows of a batch or of the store to their events."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from auditsvc.decode import ids
from auditsvc.record import types
from auditsvc.store import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Table

    from auditsvc.decode.batch import Row

CHILDREN: Final = (schema.exec_, schema.path, schema.sockaddr, schema.record)
RECORD: Final = schema.record.name

# Index of each column in the decoder's rows.
SYSCALL: Final = {column.name: n for n, column in enumerate(schema.syscall.columns)}
EVENT: Final = {column.name: n for n, column in enumerate(schema.event.columns)}


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


def is_arguments(piece: Piece) -> bool:
    """Whether a row is an EXECVE record."""
    return piece.table == RECORD and piece.content[0] == types.EXECVE


@dataclass
class Event:
    """One event with all its rows. `weight` is the number of its records, 0 if stored."""

    table: str
    row: Row
    weight: int = 0
    argv: object = None
    pieces: list[Piece] = field(default_factory=list)
    room: int = 1 << 30
    """How many rows of the child tables it can have, where that is known."""
    is_unjoined: bool = False
    """Whether EXECVE records came that are not in its argument list yet."""
    is_complete: bool = False
    """Whether no argument is known to be missing."""
    is_cut: bool = False
    """Whether its argument list was found to be made of its EXECVE records, as they are now."""
    _counts: Counter[Piece] | None = field(default=None, compare=False)
    _places: dict[object, list[int]] = field(default_factory=dict, compare=False)
    _placed: int = field(default=0, compare=False)
    """How many of the pieces `_places` has."""

    @property
    def id(self) -> int:
        """The event's id."""
        assert isinstance(self.row[0], int)
        return self.row[0]

    @property
    def second(self) -> int:
        """When it was, in seconds since 1970."""
        return self.id >> ids.SERIAL_BITS

    @property
    def is_call(self) -> bool:
        """Whether it has its SYSCALL record."""
        return self.table == schema.syscall.name

    @property
    def type(self) -> int:
        """Type of the record that an event without a SYSCALL is known by."""
        number = self.row[EVENT["type"]]
        assert isinstance(number, int)
        return number

    @property
    def state(self) -> int:
        """How it ended, a code of `auditsvc.decode.batch`."""
        state = self.row[SYSCALL["state"] if self.is_call else EVENT["state"]]
        assert isinstance(state, int)
        return state

    @property
    def primary(self) -> Piece:
        """The record that an event without a SYSCALL keeps in its own row."""
        return Piece(RECORD, (self.row[EVENT["type"]], self.row[EVENT["fields"]]))

    def says(self, other: Event) -> bool:
        """Whether the two are the same, record for record; most duplicates are."""
        return (
            self.row[1:] == other.row[1:]
            and self.second == other.second
            and (self.table, self.argv) == (other.table, other.argv)
            and self.pieces == other.pieces
        )

    def moved(self, event_id: int) -> Event:
        """Give the same event under another id."""
        row = (event_id, *self.row[1:])
        return Event(self.table, row, self.weight, self.argv, list(self.pieces))

    def put(self, column: int, value: object) -> None:
        """Write a column of its row."""
        self.row = (*self.row[:column], value, *self.row[column + 1 :])

    def has(self, piece: Piece, times: int = 1) -> bool:
        """Whether it has this piece, so many times."""
        if self._counts is None:
            self._counts = Counter(self.pieces)
        return self._counts[piece] >= times

    def add(self, pieces: Iterable[Piece]) -> None:
        """Put pieces behind those that it has."""
        for piece in pieces:
            self.pieces.append(piece)
            self.is_cut &= not is_arguments(piece)
            if self._counts is not None:
                self._counts[piece] += 1

    def places(self, key: Callable[[Piece], object]) -> dict[object, list[int]]:
        """Give where the pieces of each key are; an event is always asked for the same keys."""
        for place in range(self._placed, len(self.pieces)):
            self._places.setdefault(key(self.pieces[place]), []).append(place)
        self._placed = len(self.pieces)
        return self._places

    def unplaced(self) -> list[Piece]:
        """Give the pieces of which `places` does not know the keys yet."""
        return self.pieces[self._placed :]

    def replace(self, place: int, piece: Piece) -> None:
        """Have another piece of the same key in a place."""
        if self._counts is not None:
            self._counts[self.pieces[place]] -= 1
            self._counts[piece] += 1
        self.pieces[place] = piece

    def keep(self, pieces: list[Piece]) -> None:
        """Have these pieces and no others."""
        self.pieces, self._counts, self.is_cut = pieces, None, False
        self._places, self._placed = {}, 0


def load(read: Reader, ids_wanted: Sequence[int]) -> list[Event]:
    """Read the events that are stored under these ids, with all their rows."""
    found = [
        Event(table.name, row)
        for table in (schema.syscall, schema.event)
        for row in read(table, "id", ids_wanted)
    ]
    if found:
        wanted = [event.id for event in found]
        children = {
            table.name: sorted(read(table, "event", wanted), key=child_order) for table in CHILDREN
        }
        hang(children, by_event(found))
    return found


def hang(children: Mapping[str, Sequence[Row]], by_id: Mapping[int, list[Event]]) -> None:
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
                if event_id not in turns:
                    turns[event_id] = _Turn(table, [o for o in owners if o.room] or owners)
                owner = turns[event_id].owner(row)
            if table is schema.exec_:
                owner.argv = row[1]
            elif table is schema.record:
                owner.pieces.append(Piece(RECORD, (row[1], row[3])))
            else:
                owner.pieces.append(Piece(table.name, row[2:]))


def by_event(events: Iterable[Event]) -> dict[int, list[Event]]:
    """Give the events that share each id."""
    found: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        found[event.id].append(event)
    return found


class _Turn:
    """Finds the owner of each child row, where several events share an id."""

    def __init__(self, table: Table, owners: list[Event]) -> None:
        self._table = table
        if table is schema.path:  # a call without items has no PATH
            owners = [o for o in owners if not o.is_call or o.row[SYSCALL["items"]]] or owners
        self._owners = owners
        self._index = 0
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
                self._index = min(self._index + 1, len(self._owners) - 1)
            self._begun.add(kind)
        return self._owners[self._index]


def child_order(row: Row) -> tuple[int, ...]:
    """Order stored children by event and seq (`record`: by type between the two)."""
    return tuple(value for value in row[:3] if isinstance(value, int))


def write_rows(event: Event, rows: dict[str, list[Row]]) -> None:
    """Write an event's rows, with seq counted anew."""
    rows[event.table].append(event.row)
    if event.argv is not None:
        rows[schema.exec_.name].append((event.id, event.argv))
    counts: Counter[tuple[object, ...]] = Counter()
    for table, content in event.pieces:
        key = (table, content[0]) if table == RECORD else (table,)
        seq = counts[key]
        counts[key] += 1
        if table == RECORD:
            rows[table].append((event.id, content[0], seq, content[1]))
        else:
            rows[table].append((event.id, seq, *content))
