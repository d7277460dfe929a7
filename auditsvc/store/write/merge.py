"""Merges two events of the same identity, where the records of one complete the other's.

What a row says is never replaced: what is missing is added, and two events that say different
things exclude each other. The names that auditd's ENRICHED format adds to a record
(`auditsvc.store.write.enriched`) make it no other record: they are added too, as `Form` says.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.decode.reference.events import MAX_RECORDS
from auditsvc.decode.reference.rows import LITTLE_ENDIAN
from auditsvc.decode.states import COMPLETE, DISPLACED, NO_EXIT, ORPHAN, PARTIAL, TRUNCATED
from auditsvc.record import types
from auditsvc.store import schema
from auditsvc.store.write.stored_event import EVENT, RECORD, SYSCALL, Event, Piece, is_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.decode.batch import Row
    from auditsvc.store.write.enriched import Names
    from auditsvc.store.write.late import Late
    from auditsvc.store.write.stored_event import Reader

CONTEXT: Final = {column.name: n for n, column in enumerate(schema.context.columns)}
CALL: Final = slice(SYSCALL["ms"], SYSCALL["exit"] + 1)
"""What the SYSCALL record itself says: equal in every copy of it."""
OPEN: Final = (CONTEXT["cwd"], CONTEXT["title"])
"""Columns of a context that records beside the SYSCALL fill."""
EXTRA: Final = CONTEXT["extra"]
_BESIDE: Final = (*OPEN, EXTRA)


class Merged(NamedTuple):
    """The result of merging two events."""

    event: Event
    known: int
    """How many records of the second one were in the first."""
    is_new: bool
    """Whether it says more than the first one."""


class Form(Enum):
    """Which one is kept of two copies of a record that differ in names alone."""

    MORE = auto()
    """The one that has all names of the other, and more; the stored one if none has."""
    STORED = auto()
    COMING = auto()


class Contexts:
    """The contexts of calls, read once."""

    def __init__(self, read: Reader, names: Names) -> None:
        self._read = read
        self._names = names
        self._rows: dict[int, Row] = {}

    def load(self, events: list[Event]) -> None:
        """Read the contexts of these events that were not read yet."""
        wanted = {event.row[SYSCALL["context"]] for event in events if event.is_call}
        missing = [i for i in wanted if isinstance(i, int) and i not in self._rows]
        for row in self._read(schema.context, "id", missing) if missing else ():
            assert isinstance(row[0], int)
            self._rows[row[0]] = row

    def of(self, event: Event) -> Row:
        """Give the context of a call."""
        context = event.row[SYSCALL["context"]]
        assert isinstance(context, int)
        if context not in self._rows:
            self.load([event])
        return self._rows[context]

    def is_little(self, call: Event) -> bool:
        """Whether a call's machine writes the low byte first."""
        arch = self.of(call)[CONTEXT["arch"]]
        assert isinstance(arch, int)
        return arch & LITTLE_ENDIAN != 0

    def process(self, event: Event) -> Row:
        """What a call's context says, but for its id, names, and what other records fill."""
        context = self.of(event)
        extra = self._names.plain_extra(context[EXTRA])
        return (*(value for n, value in enumerate(context) if n and n not in _BESIDE), extra)

    def know(self, row: Row) -> None:
        """Remember a context that is to be written."""
        assert isinstance(row[0], int)
        self._rows[row[0]] = row


class Merger:
    """Merges events of one identity."""

    def __init__(
        self, late: Late, contexts: Contexts, names: Names, form: Callable[[int], Form]
    ) -> None:
        """`form` says it for the event that is stored under an id."""
        self._late = late
        self._contexts = contexts
        self._names = names
        self._form_of = form
        self._form = Form.MORE
        self._is_renamed = False

    def merge(self, stored: Event, event: Event) -> Merged | None:
        """Merge the records of two events; None if they exclude each other."""
        self._form = self._form_of(stored.id)
        self._is_renamed = False
        if stored.is_call and event.is_call:
            return self._merge_calls(stored, event)
        if not self._may_share(stored, event) or not _is_one_task(stored, event):
            return None
        if event.is_call:
            return self._turn(stored, event)
        before, leader = stored.row, [event.primary]
        if not stored.is_call and _leads(event, stored):
            # The record that shows the kind of event comes first.
            leader, moved = [], self._late.spread(stored.primary, little_endian=True)
            stored.row = (stored.id, *event.row[1:])
            stored.add(moved)
        added, known, columns = self._sort(stored, [*leader, *event.pieces])
        if (added or not leader) and len(stored.pieces) + len(added) > MAX_RECORDS:
            stored.row = before
            if not leader:
                stored.keep(stored.pieces[: -len(moved)])
            return None
        self._add(stored, added)
        self._fill(stored, columns)
        self._end(stored, event)
        is_new = bool(added) or stored.row != before or self._is_renamed
        return _merged(stored, event, known, is_new=is_new)

    def _may_share(self, stored: Event, event: Event) -> bool:
        """Whether the two can be records of one event; one of them at most is a call."""
        alone = [
            not each.is_call and (types.is_user(each.type) or each.type == types.KERNEL)
            for each in (stored, event)
        ]
        if not any(alone):
            return True
        if stored.is_call or event.is_call:
            return False
        if self._is_alike(stored.primary, event.primary):
            return True
        return not all(alone) and (stored if alone[1] else event).type in types.CONTEXTS

    def _turn(self, stored: Event, event: Event) -> Merged | None:
        """Merge a call into the orphans that came before it: `stored` becomes the call."""
        if len(stored.pieces) + len(event.pieces) >= MAX_RECORDS:
            return None
        orphans = [stored.primary, *stored.pieces]
        call = event.moved(stored.id)
        call.keep(list(event.pieces))
        if self._form is not Form.MORE:  # the orphans are the stored ones
            self._form = Form.COMING if self._form is Form.STORED else Form.STORED
        added, known, columns = self._sort(call, orphans)
        self._add(call, added)
        self._fill(call, columns)
        self._end(call, stored)
        call.weight = 0
        return Merged(call, min(known, event.weight), is_new=True)

    def _sort(
        self, stored: Event, incoming: list[Piece]
    ) -> tuple[list[Piece], int, dict[int, object]]:
        """Give the records that `stored` lacks, how many it has, and its new columns.

        Each record is compared as it came, and in the form that it has beside a call.
        """
        added: list[Piece] = []
        columns: dict[int, object] = {}
        groups: list[list[Piece]] = []
        known = 0
        context = self._contexts.of(stored) if stored.is_call else ()
        little_endian = not stored.is_call or self._contexts.is_little(stored)
        for piece in incoming:
            if not stored.is_call and self._is_primary(stored, piece):
                known += 1
                continue
            if stored.is_call and (column := self._late.column(piece)):
                index = CONTEXT[column.name]
                holds = columns.get(index, context[index])
                if holds is None:
                    columns[index] = column.text
                    continue
                if holds == column.text:
                    known += 1
                    continue
            if self._is_known_argument(stored, piece):
                known += 1
                continue
            groups.append(self._late.spread(piece, little_endian=little_endian))
        for missing in self._missing(stored, groups):
            known += not missing
            added += missing
        return added, known, columns

    def _missing(self, stored: Event, groups: list[list[Piece]]) -> list[list[Piece]]:
        """Give the rows that `stored` lacks of each group of rows."""
        seen: Counter[object] = Counter()
        missing: list[list[Piece]] = []
        for rows in groups:
            missing.append([])
            for each in rows:
                seen[each] += 1
                if not stored.has(each, seen[each]):
                    missing[-1].append(each)
        left = [each for rows in missing for each in rows]
        if not left or not stored.pieces:
            return missing
        self._names.load([*stored.unplaced(), *left])
        there = stored.places(self._names.key)
        if any(self._names.key(each) in there for each in left):
            self._names.load(each for rows in groups for each in rows)
            seen.clear()
            missing = [
                [each for each in rows if not self._has_but_for_names(stored, each, seen)]
                for rows in groups
            ]
        return missing

    def _has_but_for_names(self, stored: Event, piece: Piece, seen: Counter[object]) -> bool:
        """Whether it has a copy of this record; `seen` are those before. Adds names to it."""
        key = self._names.key(piece)
        places = stored.places(self._names.key).get(key, [])
        seen[key] += 1
        if seen[key] > len(places):
            return False
        place = places[seen[key] - 1]
        if self._takes_form(stored.pieces[place], piece):
            stored.replace(place, piece)
            self._is_renamed = True
        return True

    def _is_primary(self, stored: Event, piece: Piece) -> bool:
        """Whether this is the record that an event is known by. Adds names to it."""
        if piece == stored.primary:
            return True
        if not self._is_alike(piece, stored.primary):
            # Behind another orphan it came as the row that it has beside a call.
            rows = self._late.spread(stored.primary, little_endian=True)
            return len(rows) == 1 and self._is_alike(piece, rows[0])
        if self._takes_form(stored.primary, piece):
            stored.put(EVENT["fields"], piece.content[1])
            self._is_renamed = True
        return True

    def _is_alike(self, one: Piece, other: Piece) -> bool:
        """Whether two records are copies of one, but for names."""
        same_type = one.table == other.table and one.content[0] == other.content[0]
        return same_type and self._names.key(one) == self._names.key(other)

    def _takes_form(self, stored: Piece, coming: Piece) -> bool:
        if self._form is Form.MORE:
            return self._names.says_more(stored, coming)
        return self._form is Form.COMING and stored != coming

    def _is_known_argument(self, stored: Event, piece: Piece) -> bool:
        """Whether a complete argument list contains what a late EXECVE record says."""
        if not is_arguments(piece) or stored.argv is None:
            return False
        return not self._is_cut(stored) and self._late.says_arguments(piece, stored.argv)

    def _add(self, stored: Event, added: list[Piece]) -> None:
        # A complete list lacks no argument: a record that differs stays a record.
        lacks = stored.is_call and (stored.argv is None or self._is_cut(stored))
        if lacks and any(map(is_arguments, added)):
            stored.is_unjoined = True
        stored.add(added)

    def _fill(self, stored: Event, columns: dict[int, object]) -> None:
        if columns:
            row = self._late.context(self._contexts.of(stored), columns)
            self._contexts.know(row)
            stored.put(SYSCALL["context"], row[0])

    def _end(self, stored: Event, event: Event) -> None:
        """Set the state that the event has with the new records."""
        if not stored.is_call:
            better = event.state < PARTIAL <= stored.state and event.type == stored.type
            if better or (event.state == ORPHAN and stored.type not in types.CALLS):
                stored.put(EVENT["state"], event.state)
            if stored.state < PARTIAL and stored.type not in types.CALLS and _has_of_call(stored):
                stored.put(EVENT["state"], ORPHAN)
            return
        if stored.state < PARTIAL or stored.state in (DISPLACED, TRUNCATED):
            return
        ended = not event.is_call and types.PROCTITLE in (
            event.type,
            *(piece.content[0] for piece in event.pieces if piece.table == RECORD),
        )
        paths = sum(piece.table == schema.path.name for piece in stored.pieces)
        items = stored.row[SYSCALL["items"]]
        assert isinstance(items, int)
        if ended or paths >= items:
            stored.put(SYSCALL["state"], TRUNCATED if self._is_cut(stored) else _proper(stored))

    def join(self, stored: Event) -> None:
        """Make one argument list of late EXECVE records, if any came."""
        if not stored.is_unjoined:
            return
        complete = self._late.join(stored)
        if complete and stored.state == TRUNCATED:
            stored.put(SYSCALL["state"], _proper(stored))
        elif complete is False and stored.state < PARTIAL:
            stored.put(SYSCALL["state"], TRUNCATED)

    def _merge_calls(self, stored: Event, event: Event) -> Merged | None:
        fields = ("items", "nr")
        if stored.row[CALL] != event.row[CALL] or any(
            stored.row[SYSCALL[name]] != event.row[SYSCALL[name]] for name in fields
        ):
            return None
        context = self._fuller_context(stored, event)
        argv = self._fuller_argv(stored, event)
        if context is None or argv is None:
            return None
        before = stored.row, stored.argv
        added, known = self._sort_plain(stored, event.pieces)
        if added and len(stored.pieces) + len(added) > MAX_RECORDS:
            return None
        # Records without a row of their own: SYSCALL, CWD, PROCTITLE, EXECVE.
        old, new = self._contexts.of(stored), self._contexts.of(event)
        inside = 1 + sum(new[index] is not None for index in OPEN)
        known += 1 + sum(old[p] is not None and new[p] is not None for p in OPEN)
        if stored.argv is not None and event.argv is not None:
            known += max(0, event.weight - inside - len(event.pieces))
        if self._is_cut(stored) and not self._is_cut(event) and event.argv is not None:
            stored.keep([piece for piece in stored.pieces if not is_arguments(piece)])
        stored.put(SYSCALL["context"], context)
        if event.state < PARTIAL <= stored.state:
            stored.put(SYSCALL["state"], event.state)
        stored.argv, stored.is_cut = argv[0], False
        stored.add(added)
        is_new = bool(added) or before != (stored.row, stored.argv) or self._is_renamed
        return _merged(stored, event, known, is_new=is_new)

    def _sort_plain(self, stored: Event, incoming: list[Piece]) -> tuple[list[Piece], int]:
        """Give the rows of a copy that `stored` lacks, and how many it has."""
        missing = self._missing(stored, [[piece] for piece in incoming])
        added = [
            piece
            for rows in missing
            for piece in rows
            if not self._is_known_argument(stored, piece)
        ]
        return added, len(incoming) - len(added)

    def _fuller_context(self, stored: Event, event: Event) -> object:
        """Give a context with the columns of both; None if they differ."""
        if self._contexts.process(stored) != self._contexts.process(event):
            return None
        old, new = self._contexts.of(stored), self._contexts.of(event)
        pairs = {index: (old[index], new[index]) for index in OPEN}
        if any(None not in pair and pair[0] != pair[1] for pair in pairs.values()):
            return None
        columns = {index: b for index, (a, b) in pairs.items() if a is None and b is not None}
        if old[EXTRA] != new[EXTRA]:
            if self._takes_extra(old[EXTRA], new[EXTRA]):
                columns[EXTRA] = new[EXTRA]
            pairs[EXTRA] = columns.get(EXTRA, old[EXTRA]), new[EXTRA]
        if not columns:
            return stored.row[SYSCALL["context"]]
        if all(a == b or (a is None and n in OPEN) for n, (a, b) in pairs.items()):
            return event.row[SYSCALL["context"]]
        row = self._late.context(old, columns)
        self._contexts.know(row)
        return row[0]

    def _takes_extra(self, stored: object, coming: object) -> bool:
        if self._form is Form.MORE:
            return self._names.extra_says_more(stored, coming)
        return self._form is Form.COMING

    def _is_cut(self, call: Event) -> bool:
        """Whether arguments are missing: the records of those present are kept then."""
        if call.is_unjoined:
            return True
        if call.argv is None or call.state in (COMPLETE, NO_EXIT) or call.is_complete:
            return False
        if call.state == TRUNCATED or call.is_cut:
            return True
        # For other partial calls the records decide: if the list is not made of them, it was
        # complete, and they say something else.
        records = [piece for piece in call.pieces if is_arguments(piece)]
        call.is_cut = bool(records) and self._late.argv_of(records) == call.argv
        call.is_complete = not call.is_cut
        return call.is_cut

    def _fuller_argv(self, stored: Event, event: Event) -> tuple[object] | None:
        """Give the complete argument list; None if there are two that differ."""
        if stored.argv == event.argv or event.argv is None:
            return (stored.argv,)
        if stored.argv is None:
            return (event.argv,)
        if self._is_cut(stored) == self._is_cut(event):
            return None
        part, complete = (stored, event) if self._is_cut(stored) else (event, stored)
        records = list(filter(is_arguments, part.pieces))
        if records and all(self._late.says_arguments(piece, complete.argv) for piece in records):
            return (complete.argv,)
        return None


def _has_of_call(event: Event) -> bool:
    """Whether it has files or addresses, which a call's event has: reports look for them there."""
    return any(piece.table in schema.SETTLED for piece in event.pieces)


def _merged(stored: Event, event: Event, known: int, *, is_new: bool) -> Merged:
    """Give what `stored` became; if nothing is new, it had all of `event` before."""
    return Merged(stored, min(known, event.weight) if is_new else event.weight, is_new)


def _proper(call: Event) -> int:
    """Give the state of a call that ended as it should."""
    ended = call.row[SYSCALL["success"]] is not None and call.row[SYSCALL["exit"]] is not None
    return COMPLETE if ended else NO_EXIT


def _leads(event: Event, stored: Event) -> bool:
    """Whether the first record of `event` shows the kind of event, unlike that of `stored`."""
    if stored.type in types.CALLS or event.type == stored.type:
        return False
    return event.type in types.CALLS or (
        stored.type in types.CONTEXTS and event.type not in types.CONTEXTS
    )


def _is_one_task(stored: Event, event: Event) -> bool:
    """Whether the first records of two events without a SYSCALL may be of one task."""
    if any(each.is_call or each.type not in types.OF_TASK for each in (stored, event)):
        return True
    one, other = stored.row[EVENT["pid"]], event.row[EVENT["pid"]]
    return one is None or other is None or one == other
