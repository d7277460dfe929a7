"""Keeps the signs of processes, and which of them begin a life, in the transaction of the rows.

`auditsvc.store.process_lives` says what a sign is and what begins a life. Invariants:

* After each commit `process_sign` is what `auditsvc.store.write.sign_rebuild` makes of the
  stored events, whatever the order and the transactions in which they came: only the days that
  are being pruned may still have signs of events that are gone.
* Of a batch only calls that matter are looked at one by one; of all others the first of each
  context on a day (`Facts.firsts`).
* Of one pid only the lives around a change are read again: from the second last beginning
  before it on, as no sign changes what began earlier. How many signs those lives have is not
  bounded: a process that runs exec in a loop has one for each.
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
    EXEC,
    EXIT,
    INFERRED,
    MOST_PID,
    SEEN,
    Sign,
    beginnings,
)
from auditsvc.store.schema import process_sign

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

    from auditsvc.decode.batch import Call, Facts
    from auditsvc.store.database import Database
    from auditsvc.store.sign_sql import Key

DAY_MS: Final = 86_400_000
_AT_ONCE: Final = 500
_CACHED: Final = 100_000
_OWN: Final = (SEEN, EXEC, EXIT)

# Plain tuples in bulk: the garbage collector goes through objects of a class again and again,
# but not through tuples of numbers.
_Who = tuple[int, int, int | None, int, int | None, int | None]
"""Of a context: host, arch, ppid, pid, ses, exe."""
_Plain = tuple[int, int, int, int | None, int | None, int | None]
"""A `Sign`."""
_Process = tuple[int, int]
"""A host's id and a pid."""
_Place = tuple[int, int]
"""`at` and `low` of a sign."""
_Span = tuple[int | None, int | None, int]
"""What one SEEN sign is for: parent, session and day."""


class _Stored(NamedTuple):
    """A sign, and the code of the life that it begins."""

    sign: Sign
    begins: int | None


class _Change:
    """What a transaction changes for one process id."""

    __slots__ = ("firsts", "least", "lost", "signs")

    def __init__(self) -> None:
        self.signs: list[_Plain] = []
        self.firsts: dict[_Span, tuple[int, int, int | None]] = {}
        """First calls: `at`, `low`, program."""
        self.lost: dict[_Span, _Place] | None = None
        """Signs of the process itself that were deleted."""
        self.least: int = 1 << 62
        """When the first change is."""


class SignWriter:
    """Writes signs; each method but `forget` works within a transaction of the caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._contexts: dict[int, _Who | None] = {}
        self._noted: dict[tuple[_Process, _Span], _Place] = {}
        """First calls that are known to be stored."""
        self._changes: dict[_Process, _Change] = {}
        self._found: dict[tuple[_Process, _Span], _Place] = {}

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
        kinds = sign_kinds.kinds
        wanted = {
            (context, nr)
            for context, nr in facts.pairs(sign_kinds.numbers())
            if (who := contexts[context]) is not None and nr in kinds(who[1])
        }
        for call in facts.calls(wanted) if wanted else ():
            self._note_call(call)

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

    def _add(self, process: _Process, sign: _Plain) -> None:
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
                if found.kind in _OWN:
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
        for process, change in changes.items():
            for span, place in (change.lost or {}).items():
                known = change.firsts.get(span)
                if known is None or known[:2] != place:
                    self._find_first(connection, process, span, change)
        processes = list(changes)
        for start in range(0, len(processes), _AT_ONCE):
            some = {process: changes[process] for process in processes[start : start + _AT_ONCE]}
            self._write(connection, some)

    def _write(self, connection: Connection, changes: Mapping[_Process, _Change]) -> None:
        asked = [
            (*process, change.least, change.least - change.least % DAY_MS)
            for process, change in changes.items()
        ]
        stored: dict[_Process, dict[_Place, _Stored]] = {}
        for host, pid, begins, *sign in sign_sql.keyed(connection, sign_sql.WINDOW, asked):
            found = Sign(*sign)
            stored.setdefault((host, pid), {})[found[:2]] = _Stored(found, begins)
        new: list[tuple[object, ...]] = []
        gone: list[Key] = []
        other: list[tuple[int | None, int, int, int, int]] = []
        for process, change in changes.items():
            before = stored.get(process, {})
            if not before and (alone := _alone(change)) is not None:
                new.append((*process, *alone[:3], INFERRED, *alone[3:]))
                self._found.update(((process, span), alone[:2]) for span in change.firsts)
                continue
            after = self._merge(process, change, before)
            gone += [(*process, *place) for place in before.keys() - after.keys()]
            for judged, code in _judge(after, change.least):
                was = before.get(judged[:2])
                if was is None or was.sign != judged:
                    gone += [(*process, *judged[:2])] if was else []
                    new.append((*process, *judged[:3], code, *judged[3:]))
                elif was.begins != code:
                    other.append((code, *process, *judged[:2]))
        self._delete(connection, gone)
        if other:
            connection.exec_driver_sql(sign_sql.form(connection, sign_sql.UPDATE), other)
        if new:
            new.sort(key=_key)
            self._database.insert(connection, process_sign, new)

    def _merge(
        self, process: _Process, change: _Change, before: Mapping[_Place, _Stored]
    ) -> dict[_Place, _Stored]:
        """Give the signs as they are after a change."""
        after = dict(before)
        for sign in change.signs:
            after[sign[:2]] = _Stored(Sign(*sign), None)
        for span, (at, low, exe) in change.firsts.items():
            first = at, low
            if len(after) > 1 or first not in after:
                own = [
                    place
                    for place, (found, _) in after.items()
                    if found.kind in _OWN and _span(found) == span
                ]
                first = min([*own, first])
                for place in own:
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
        self, connection: Connection, process: _Process, span: _Span, change: _Change
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


def _alone(change: _Change) -> _Plain | None:
    """Give a process's only sign: a call that is its first; None if there are more.

    Most processes of a log of execs are so, and most of all processes have no other life stored.
    """
    if len(change.signs) + len(change.firsts) > 2 or len(change.firsts) != 1:
        return None
    ((span, (at, low, exe)),) = change.firsts.items()
    if not change.signs:
        return at, low, SEEN, span[0], span[1], exe
    sign = change.signs[0]
    return sign if sign[:2] == (at, low) and sign[2] in _OWN else None


def _judge(after: Mapping[_Place, _Stored], least: int) -> list[tuple[Sign, int | None]]:
    """Say anew which signs begin a life, as far as a change at `least` matters."""
    if len(after) == 1:
        ((sign, _),) = after.values()
        return [(sign, INFERRED if sign.kind in _OWN else None)]
    ordered = sorted(after.values(), key=_order)
    earlier = [
        place
        for place, (sign, begins) in enumerate(ordered)
        if begins is not None and sign.at < least
    ]
    start, first = 0, None
    if len(earlier) > 1:
        start = earlier[-2]
        first = ordered[start].begins
    signs = [each.sign for each in ordered[start:]]
    return list(zip(signs, beginnings(signs, first), strict=True))


def _order(stored: _Stored) -> tuple[int, bool, int]:
    return stored.sign.order


def _when(event: int, ms: int) -> _Place:
    return (event >> SERIAL_BITS) * 1000 + ms, event & SERIAL_MASK


def _span(sign: Sign) -> _Span:
    return sign.ppid, sign.ses, sign.at // DAY_MS


def _key(row: tuple[object, ...]) -> tuple[object, ...]:
    return row[:4]
