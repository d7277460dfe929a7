"""One event out of two of the same identity, where the records of one complete the other's.

What a row says is never replaced: what is missing is added, and two events that say different
things exclude each other.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.decode.reference.events import MAX_RECORDS
from auditsvc.decode.reference.rows import LITTLE_ENDIAN
from auditsvc.decode.states import COMPLETE, DISPLACED, NO_EXIT, ORPHAN, PARTIAL, TRUNCATED
from auditsvc.record import types
from auditsvc.store import schema
from auditsvc.store.write.late import Late, is_arguments
from auditsvc.store.write.stored_event import EVENT, RECORD, SYSCALL, Event, Piece

if TYPE_CHECKING:
    from auditsvc.decode.batch import Row
    from auditsvc.store.write.stored_event import Reader

CONTEXT: Final = {column.name: n for n, column in enumerate(schema.context.columns)}
CALL: Final = slice(SYSCALL["ms"], SYSCALL["exit"] + 1)
"""What the SYSCALL record itself says: equal in every copy of it."""
OPEN: Final = (CONTEXT["cwd"], CONTEXT["title"])
"""Columns of a context that records beside the SYSCALL fill."""


class Merged(NamedTuple):
    """What two events came to."""

    event: Event
    known: int
    """How many records of the second one were in the first."""
    is_new: bool
    """Whether it says more than the first one."""


class Contexts:
    """The contexts of calls, read once."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._rows: dict[int, Row] = {}

    def load(self, events: list[Event]) -> None:
        """Read those of these events that are not at hand."""
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
        """What a call's context says, but for its id and what other records fill."""
        context = self.of(event)
        return tuple(value for n, value in enumerate(context) if n and n not in OPEN)

    def know(self, row: Row) -> None:
        """Remember one that is to be written."""
        assert isinstance(row[0], int)
        self._rows[row[0]] = row


class Merger:
    """Merges events of one identity."""

    def __init__(self, late: Late, contexts: Contexts) -> None:
        self._late = late
        self._contexts = contexts

    def merge(self, there: Event, event: Event) -> Merged | None:
        """Bring the records of two events together; None if the two exclude each other."""
        if there.is_call and event.is_call:
            return self._merge_calls(there, event)
        if not _may_share(there, event) or not _is_one_task(there, event):
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
        self._add(there, added)
        self._fill(there, columns)
        self._end(there, event)
        return _merged(there, event, known, is_new=bool(added) or there.row != before)

    def _turn(self, there: Event, event: Event) -> Merged | None:
        """Merge a call into the orphans that came before it: `there` becomes the call."""
        if len(there.pieces) + len(event.pieces) >= MAX_RECORDS:
            return None
        orphans = [there.primary, *there.pieces]
        call = event.moved(there.id)
        call.keep(list(event.pieces))
        added, known, columns = self._sort(call, orphans)
        self._add(call, added)
        self._fill(call, columns)
        self._end(call, there)
        call.weight = 0
        return Merged(call, min(known, event.weight), is_new=True)

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
        context = self._contexts.of(there) if there.is_call else ()
        little = not there.is_call or self._contexts.is_little(there)
        for piece in incoming:
            if not there.is_call and piece == there.primary:
                known += 1
                continue
            if there.is_call and (column := self._late.column(piece)):
                place = CONTEXT[column.name]
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
        return not self._is_cut(there) and self._late.says_arguments(piece, there.argv)

    def _add(self, there: Event, added: list[Piece]) -> None:
        # Of a list that is whole no argument is missing: what differs stays a record.
        lacks = there.is_call and (there.argv is None or self._is_cut(there))
        if lacks and any(map(is_arguments, added)):
            there.is_unjoined = True
        there.add(added)

    def _fill(self, there: Event, columns: dict[int, object]) -> None:
        if columns:
            row = self._late.context(self._contexts.of(there), columns)
            self._contexts.know(row)
            there.put(SYSCALL["context"], row[0])

    def _end(self, there: Event, event: Event) -> None:
        """Give the state that the event has with what came."""
        if not there.is_call:
            better = event.state < PARTIAL <= there.state and event.type == there.type
            if better or (event.state == ORPHAN and there.type not in types.CALLS):
                there.put(EVENT["state"], event.state)
            return
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
            there.put(SYSCALL["state"], TRUNCATED if self._is_cut(there) else _proper(there))

    def join(self, there: Event) -> None:
        """Make one argument list of late EXECVE records, if any came."""
        if not there.is_unjoined:
            return
        whole = self._late.join(there)
        if whole and there.state == TRUNCATED:
            there.put(SYSCALL["state"], _proper(there))
        elif whole is False and there.state < PARTIAL:
            there.put(SYSCALL["state"], TRUNCATED)

    def _merge_calls(self, there: Event, event: Event) -> Merged | None:
        fields = ("items", "nr")
        if there.row[CALL] != event.row[CALL] or any(
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
        old, new = self._contexts.of(there), self._contexts.of(event)
        inside = 1 + sum(new[place] is not None for place in OPEN)
        known += 1 + sum(old[p] is not None and new[p] is not None for p in OPEN)
        if there.argv is not None and event.argv is not None:
            known += max(0, event.weight - inside - len(event.pieces))
        before = there.row, there.argv
        if self._is_cut(there) and not self._is_cut(event) and event.argv is not None:
            there.keep([piece for piece in there.pieces if not is_arguments(piece)])
        there.put(SYSCALL["context"], context)
        if event.state < PARTIAL <= there.state:
            there.put(SYSCALL["state"], event.state)
        there.argv = argv[0]
        there.add(added)
        is_new = bool(added) or before != (there.row, there.argv)
        return _merged(there, event, known, is_new=is_new)

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
        if self._contexts.process(there) != self._contexts.process(event):
            return None
        old, new = self._contexts.of(there), self._contexts.of(event)
        pairs = {place: (old[place], new[place]) for place in OPEN}
        if any(None not in pair and pair[0] != pair[1] for pair in pairs.values()):
            return None
        columns = {place: b for place, (a, b) in pairs.items() if a is None and b is not None}
        if not columns:
            return there.row[SYSCALL["context"]]
        if all(a == b or a is None for a, b in pairs.values()):
            return event.row[SYSCALL["context"]]
        row = self._late.context(old, columns)
        self._contexts.know(row)
        return row[0]

    def _is_cut(self, call: Event) -> bool:
        """Whether arguments are missing: the records of those that came are kept then."""
        if call.is_unjoined:
            return True
        if call.argv is None or call.state in (COMPLETE, NO_EXIT) or call.is_whole:
            return False
        if call.state == TRUNCATED:
            return True
        # Of another partial one the records tell: if the list is not made of them, it was
        # whole, and they say something else.
        records = [piece for piece in call.pieces if is_arguments(piece)]
        is_cut = bool(records) and self._late.argv_of(records) == call.argv
        if not is_cut:
            call.is_whole = True
        return is_cut

    def _fuller_argv(self, there: Event, event: Event) -> tuple[object] | None:
        """Give the argument list that is whole; None if there are two that differ."""
        if there.argv == event.argv or event.argv is None:
            return (there.argv,)
        if there.argv is None:
            return (event.argv,)
        if self._is_cut(there) == self._is_cut(event):
            return None
        part, whole = (there, event) if self._is_cut(there) else (event, there)
        records = list(filter(is_arguments, part.pieces))
        if records and all(self._late.says_arguments(piece, whole.argv) for piece in records):
            return (whole.argv,)
        return None


def _merged(there: Event, event: Event, known: int, *, is_new: bool) -> Merged:
    """Give what `there` became; without anything new all of `event` was in it."""
    return Merged(there, min(known, event.weight) if is_new else event.weight, is_new)


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


def _is_one_task(there: Event, event: Event) -> bool:
    """Whether the first records of two events without a SYSCALL may be of one task."""
    if any(each.is_call or each.type not in types.OF_TASK for each in (there, event)):
        return True
    one, other = there.row[EVENT["pid"]], event.row[EVENT["pid"]]
    return one is None or other is None or one == other
