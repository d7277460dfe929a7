"""Keeps the signs of processes, and which of them begin a life, in the transaction of the rows.

`auditsvc.store.process_lives` says what a sign is and what begins a life. Invariants:

* After each commit `process_sign` is what `auditsvc.store.write.sign_rebuild` makes of the
  stored events, whatever the order and the transactions in which they came: only the days that
  are being pruned may still have signs of events that are gone.
* Of a batch only calls that matter are looked at one by one; of all others the first of each
  context on a day (`Facts.firsts`).
* Of one pid only the lives around a change are read again: from the second last beginning
  before it on, as no sign changes what began earlier; of lives with many signs, from the last
  mark before it on (`auditsvc.store.write.sign_marks`). So what a sign costs does not grow with
  the number of those before it; one that comes late costs as much as there are signs behind it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.record.types import ANOM_ABEND
from auditsvc.store import sign_kinds, sign_sql
from auditsvc.store.process_lives import (
    ABEND,
    BIRTHS,
    EXIT,
    INFERRED,
    MOST_PID,
    SEEN,
    Sign,
    walk,
)
from auditsvc.store.schema import process_sign
from auditsvc.store.sign_sql import DAY_MS
from auditsvc.store.write import sign_firsts, sign_marks
from auditsvc.store.write.sign_append import LIVES, append
from auditsvc.store.write.sign_firsts import OWN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy import Connection

    from auditsvc.decode.batch import Call, Facts
    from auditsvc.decode.batch import First as OfDay
    from auditsvc.store.database import Database
    from auditsvc.store.process_lives import State
    from auditsvc.store.sign_sql import Key, Place, Process, Span
    from auditsvc.store.write.sign_append import First, Plain, Stored
    from auditsvc.store.write.sign_marks import Marks

_AT_ONCE: Final = 2000
_CACHED: Final = 1 << 14
"""Entries of each cache. One takes half a kilobyte; more than this many processes do not take
turns, and what is forgotten is read again."""
_NEVER: Final = (1 << 62, 0)

_Who = tuple[int, int, int | None, int, int | None, int | None]
"""Of a context: host, arch, ppid, pid, ses, exe."""


class _Stored(NamedTuple):
    """A sign, and the code of the life that it begins."""

    sign: Sign
    begins: int | None


class _Change:
    """What a transaction changes for one process id."""

    __slots__ = ("firsts", "least", "lost", "signs")

    def __init__(self) -> None:
        self.signs: list[Plain] = []
        self.firsts: dict[Span, First] = {}
        self.lost: dict[Span, Place] | None = None
        """Signs of the process itself that were deleted."""
        self.least: int = 1 << 62
        """When the first change is."""


class _Rows:
    """Rows to insert, to delete, and to change; and new marks."""

    def __init__(self) -> None:
        self.new: list[tuple[object, ...]] = []
        self.gone: list[Key] = []
        self.other: list[tuple[int | None, int, int, int, int]] = []
        self.states: list[tuple[Process, State]] = []

    def take(
        self,
        process: Process,
        before: Mapping[Place, _Stored],
        judged: Iterable[tuple[Sign, int | None]],
    ) -> None:
        """Note what is otherwise than before."""
        for sign, code in judged:
            was = before.get(sign[:2])
            if was is None or was.sign != sign:
                self.gone += [(*process, *sign[:2])] if was else []
                self.new.append((*process, *sign[:3], code, *sign[3:]))
            elif was.begins != code:
                self.other.append((code, *process, *sign[:2]))


class SignWriter:
    """Writes signs; each method but `forget` works within a transaction of the caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._contexts: dict[int, _Who | None] = {}
        self._noted: dict[tuple[Process, Span], Place] = {}
        """First calls that are known to be stored."""
        self._changes: dict[Process, _Change] = {}
        self._found: dict[tuple[Process, Span], Place] = {}

    def begin(self) -> None:
        """Begin a transaction."""
        self._changes = defaultdict(_Change)
        self._found = {}

    def committed(self) -> None:
        """Keep in mind what the transaction stored."""
        if len(self._noted) + len(self._found) > _CACHED:
            self._noted.clear()
        self._noted.update(self._found)
        self._found = {}

    def forget(self) -> None:
        """Forget what is stored: rows may have been removed, or were not committed."""
        self._contexts.clear()
        self._noted.clear()

    # --- what comes and goes --------------------------------------------------------------

    def added(self, connection: Connection, facts: Facts) -> None:
        """Note the signs among stored events."""
        if "event" in facts:
            for event, ms, host, pid in facts.events_of(ANOM_ABEND):
                if pid is not None and 0 < pid <= MOST_PID:
                    self._add((host, pid), (*_when(event, ms), ABEND, None, None, None))
        if "syscall" not in facts:
            return
        firsts = facts.firsts()
        self._know(connection, {context for context, *_ in firsts})
        self._note_firsts(firsts)
        contexts, kinds = self._contexts, sign_kinds.kinds
        wanted = {
            (context, nr)
            for context, nr in facts.pairs(sign_kinds.numbers())
            if (who := contexts[context]) is not None and nr in kinds(who[1])
        }
        for call in facts.calls(wanted) if wanted else ():
            self._note_call(call)

    def _note_firsts(self, firsts: Iterable[OfDay]) -> None:
        changes, contexts, noted = self._changes, self._contexts, self._noted
        for context, day, event, ms in firsts:
            if (who := contexts[context]) is None:
                continue
            host, _, ppid, pid, ses, exe = who
            at, low = (event >> SERIAL_BITS) * 1000 + ms, event & SERIAL_MASK
            process, span = (host, pid), (ppid, ses, day)
            known = noted.get((process, span))
            if known is None or (at, low) < known:
                change = changes[process]
                other = change.firsts.get(span)
                if other is None or (at, low) < other[:2]:
                    change.firsts[span] = (at, low, exe)
                    change.least = min(change.least, at)

    def _note_call(self, call: Call) -> None:
        event, ms, context, nr, a0, a1, success, result = call
        who = self._contexts[context]
        assert who is not None
        host, arch, ppid, pid, ses, exe = who
        kind = sign_kinds.kinds(arch)[nr]
        at, low = (event >> SERIAL_BITS) * 1000 + ms, event & SERIAL_MASK
        if kind in BIRTHS:
            if not success or result is None or result == pid or not 0 < result <= MOST_PID:
                return
            flags = sign_kinds.clone_flags(arch, nr, a0, a1)
            if not flags & sign_kinds.CLONE_THREAD:
                parent = ppid if flags & sign_kinds.CLONE_PARENT else pid
                self._add((host, result), (at, low, kind, parent, ses, exe))
        elif kind == EXIT or success:
            self._add((host, pid), (at, low, kind, ppid, ses, exe))

    def _add(self, process: Process, sign: Plain) -> None:
        change = self._changes[process]
        change.signs.append(sign)
        change.least = min(change.least, sign[0])

    def removed(self, connection: Connection, events: Collection[int]) -> None:
        """Delete the signs of events, which are still stored."""
        if not events:
            return
        self._noted.clear()
        keys: list[Key] = []
        for event, ms, result, host, pid in sign_sql.listed(connection, sign_sql.CALLS_OF, events):
            place = _when(event, ms)
            keys += [(host, each, *place) for each in (pid, result) if each is not None]
        for event, ms, host, pid in sign_sql.listed(connection, sign_sql.ABENDS_OF, events):
            keys += [(host, pid, *_when(event, ms))] if pid is not None else []
        for start in range(0, len(keys), _AT_ONCE):
            some = [key for key in keys[start : start + _AT_ONCE] if 0 < key[1] <= MOST_PID]
            for host, pid, *sign in sign_sql.keyed(connection, sign_sql.STORED_AT, some):
                found, change = Sign(*sign), self._changes[host, pid]
                change.least = min(change.least, found.at)
                if found.kind in OWN:
                    change.lost = change.lost or {}
                    change.lost.setdefault(_span(found), found[:2])
            self._delete(connection, some)

    # --- the end of a transaction ---------------------------------------------------------

    def flush(self, connection: Connection) -> None:
        """Write what came and went, and what it changes."""
        changes, self._changes = self._changes, {}
        if not changes:
            return
        if not sign_sql.is_sqlite(connection):
            hosts = sorted({host for host, _ in changes})
            connection.exec_driver_sql(sign_sql.LOCK_HOSTS, (hosts,))
        has_firsts = sign_firsts.has_any(connection)
        for process, change in changes.items():
            if change.lost is None:
                continue
            if has_firsts:
                sign_firsts.forget(connection, [(process, span) for span in change.lost])
            for span, place in change.lost.items():
                known = change.firsts.get(span)
                if known is None or known[:2] != place:
                    self._find_first(connection, process, span, change)
        processes = list(changes)
        for start in range(0, len(processes), _AT_ONCE):
            some = {process: changes[process] for process in processes[start : start + _AT_ONCE]}
            self._write(connection, some, has_firsts=has_firsts)

    def _write(
        self, connection: Connection, changes: Mapping[Process, _Change], *, has_firsts: bool
    ) -> None:
        marks = sign_marks.read(connection, {each: changes[each].least for each in changes})
        kept = sign_firsts.processes(connection, changes) if has_firsts else set()
        rows = _Rows()
        anew: dict[Process, dict[Place, _Stored]] = {}
        read = _read(connection, changes, marks)
        for process, change in changes.items():
            stored, done = read.get(process, ()), None
            if change.lost is None and process not in marks and process not in kept:
                done = append(change.signs, change.firsts, stored, sign_marks.EVERY)
            if done is None:
                anew[process] = {row[1:3]: _Stored(Sign(*row[1:]), row[0]) for row in stored}
                continue
            rows.new += [(*process, *sign[:3], code, *sign[3:]) for sign, code in done.new]
            rows.other += [(code, *process, *place) for place, code in done.other]
            for span, place in done.firsts:
                self._found[process, span] = place
        earlier = _earlier(connection, changes, anew, marks, has_firsts=has_firsts)
        for process, before in anew.items():
            change, state = changes[process], marks.get(process, sign_marks.NONE).state
            after = self._merge(process, change, before, earlier)
            rows.gone += [(*process, *place) for place in before.keys() - after.keys()]
            judged, reached = _judge(after, change.least, state)
            rows.states += [(process, each) for each in reached]
            rows.take(process, before, judged)
        self._delete(connection, rows.gone)
        if rows.other:
            connection.exec_driver_sql(sign_sql.form(connection, sign_sql.UPDATE), rows.other)
        if rows.new:
            rows.new.sort(key=_key)
            self._database.insert(connection, process_sign, rows.new)
        outdated = [each for each, (_, has_later) in marks.items() if has_later]
        sign_marks.delete(connection, [(each, changes[each].least) for each in outdated])
        sign_marks.write(self._database, connection, rows.states)

    def _merge(
        self,
        process: Process,
        change: _Change,
        before: Mapping[Place, _Stored],
        earlier: Mapping[tuple[Process, Span], Place],
    ) -> dict[Place, _Stored]:
        """Give the signs as they are after a change; `earlier`: first calls before those read."""
        after = dict(before)
        for sign in change.signs:
            after[sign[:2]] = _Stored(Sign(*sign), None)
        own = _own(after.values()) if change.firsts else {}
        for span, (at, low, exe) in change.firsts.items():
            first = at, low
            if (process, span) in earlier:
                self._found[process, span] = earlier[process, span]
                continue
            places = own.get(span, ())
            first = min([*places, first])
            for place in places:
                if place != first and after[place].sign.kind == SEEN:
                    del after[place]
            if first not in after:
                after[first] = _Stored(Sign(at, low, SEEN, span[0], span[1], exe), None)
            self._found[process, span] = first
        return after

    # --- SQL ------------------------------------------------------------------------------

    def _know(self, connection: Connection, contexts: Collection[int]) -> None:
        missing = [each for each in contexts if each not in self._contexts]
        if len(self._contexts) + len(missing) > _CACHED:
            self._contexts.clear()
            missing = list(contexts)
        for context, *row in sign_sql.listed(connection, sign_sql.CONTEXTS, missing):
            pid = row[3]
            is_known = pid is not None and 0 < pid <= MOST_PID
            self._contexts[context] = tuple(row) if is_known else None

    def _find_first(
        self, connection: Connection, process: Process, span: Span, change: _Change
    ) -> None:
        """Find the first stored call of a process id, parent and session on a day."""
        ppid, ses, day = span
        second = day * DAY_MS // 1000
        ends = second << SERIAL_BITS, (second + DAY_MS // 1000 << SERIAL_BITS) - 1
        statement = sign_sql.form(connection, sign_sql.FIRST)
        found = connection.exec_driver_sql(statement, (*ends, *process, ppid, ses)).first()
        if found is not None:
            at, low = _when(found[0], found[1])
            change.firsts[span] = at, low, found[2]
            change.least = min(change.least, at)

    def _delete(self, connection: Connection, keys: list[Key]) -> None:
        if keys:
            connection.exec_driver_sql(sign_sql.form(connection, sign_sql.DELETE), keys)


def _read(
    connection: Connection, changes: Mapping[Process, _Change], marks: Mapping[Process, Marks]
) -> dict[Process, list[Stored]]:
    """Read the signs that the changes may matter for."""
    asked = []
    for process, change in changes.items():
        state = marks.get(process, sign_marks.NONE).state
        asked.append((*process, change.least, 0 if state is None else state.read_from))
    found: dict[Process, list[Stored]] = {}
    for row in sign_sql.keyed(connection, sign_sql.WINDOW, asked):
        process = row[:2]
        if process in found:
            found[process].append(row[2:])
        else:
            found[process] = [row[2:]]
    return found


def _earlier(
    connection: Connection,
    changes: Mapping[Process, _Change],
    stored: Mapping[Process, Mapping[Place, _Stored]],
    marks: Mapping[Process, Marks],
    *,
    has_firsts: bool,
) -> dict[tuple[Process, Span], Place]:
    """Give which first calls are none, as one is stored before the signs that were read."""
    wanted: dict[tuple[Process, Span], Place] = {}
    covered = set()
    for process, signs in stored.items():
        change = changes[process]
        if not change.firsts or not signs:
            continue
        since = min(signs)[0]
        begun = [place for place, (_, begins) in signs.items() if begins is not None]
        is_all = process not in marks and sum(at < change.least for at, _ in begun) < LIVES
        own = _own(signs.values())
        for span, (at, low, _) in change.firsts.items():
            is_lost = has_firsts and span in (change.lost or ())
            if is_lost or min(own.get(span, ()), default=_NEVER) > (at, low):
                if is_all or since < span[2] * DAY_MS:
                    if not has_firsts:
                        continue
                    covered.add((*process, span[2]))
                wanted[process, span] = at, low
    if not wanted:
        return {}
    return sign_firsts.known_before(connection, wanted, covered, is_any=has_firsts)


def _own(signs: Iterable[_Stored]) -> dict[Span, list[Place]]:
    """Give the places of the signs of the process itself by parent, session and day."""
    found = defaultdict(list)
    for sign, _ in signs:
        if sign.kind in OWN:
            found[_span(sign)].append(sign[:2])
    return found


def _judge(
    after: Mapping[Place, _Stored], least: int, state: State | None
) -> tuple[list[tuple[Sign, int | None]], list[State]]:
    """Say anew which signs begin a life, as far as a change at `least` matters.

    `state`: that after the last mark before; gives the new marks too.
    """
    if len(after) == 1 and state is None:
        ((sign, _),) = after.values()
        return [(sign, INFERRED if sign.kind in OWN else None)], []
    ordered = sorted(after.values(), key=_order)
    earlier = [
        place
        for place, (sign, begins) in enumerate(ordered)
        if begins is not None and sign.at < least
    ]
    every = sign_marks.EVERY
    if len(earlier) >= LIVES:
        start = earlier[-LIVES]
        signs = [each.sign for each in ordered[start:]]
        walked = walk(signs, first=ordered[start].begins, every=every)
    elif state is None:
        signs = [each.sign for each in ordered]
        walked = walk(signs, every=every)
    else:
        signs = [each.sign for each in ordered if state.needs(each.sign)]
        walked = walk(signs, state=state, every=every)
    reached = [each for each in walked.states if state is None or each.order > state.order]
    return list(zip(signs, walked.found, strict=True)), reached


def _order(stored: _Stored) -> tuple[int, bool, int]:
    return stored.sign.order


def _when(event: int, ms: int) -> Place:
    return (event >> SERIAL_BITS) * 1000 + ms, event & SERIAL_MASK


def _span(sign: Sign) -> Span:
    return sign.ppid, sign.ses, sign.at // DAY_MS


def _key(row: tuple[object, ...]) -> tuple[object, ...]:
    return row[:4]
