"""Keeps the signs of processes, and which of them begin a life, in the transaction of the rows.

`auditsvc.store.process_lives` says what a sign is and what begins a life. Invariants:

* After each commit `process_sign` is what `auditsvc.store.write.sign_rebuild` makes of the
  stored events, whatever the order and the transactions in which they came: only the days that
  are being pruned may still have signs of events that are gone.
* Of a batch only calls that matter are looked at one by one; of all others the first of each
  context on a day (`Facts.firsts`).
* Of one pid only the lives around a change are read again: from the second last beginning
  before it on, as no sign changes what began earlier.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.record.types import ANOM_ABEND
from auditsvc.store.process_lives import (
    ABEND,
    BIRTH,
    BIRTHS,
    EXEC,
    EXIT,
    MAYBE,
    MOST_PID,
    SEEN,
    Sign,
    beginnings,
)
from auditsvc.store.schema import process_sign
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy import Connection

    from auditsvc.decode.batch import Call, Facts
    from auditsvc.store.database import Database

DAY_MS: Final = 86_400_000
_KIND_OF: Final = {
    "fork": BIRTH,
    "vfork": BIRTH,
    "clone": BIRTH,
    "clone3": MAYBE,
    "execve": EXEC,
    "execveat": EXEC,
    "exit_group": EXIT,
}
_FLAGS_SECOND: Final = (0x80000016, 0x00000016)
"""Where the flags of clone are its second argument: s390x, s390 (CONFIG_CLONE_BACKWARDS2)."""
_CLONE_PARENT, _CLONE_THREAD = 0x8000, 0x10000
_AT_ONCE: Final = 500
_CACHED: Final = 100_000

Process = tuple[int, int]
"""A host's id and a pid."""


class _Who(NamedTuple):
    """The part of a context that matters."""

    host: int
    arch: int
    ppid: int | None
    pid: int
    ses: int | None
    exe: int | None


class _Span(NamedTuple):
    """What one SEEN sign is for: parent, session and day."""

    ppid: int | None
    ses: int | None
    day: int


class _Stored(NamedTuple):
    """A sign, and the code of the life that it begins."""

    sign: Sign
    begins: int | None


_Place = tuple[int, int]
"""`at` and `low` of a sign."""


class _Change:
    """What a transaction changes for one process id."""

    def __init__(self) -> None:
        self.signs: list[Sign] = []
        self.firsts: dict[_Span, Sign] = {}
        self.lost: dict[_Span, _Place] = {}
        """Signs of the process itself that were deleted."""
        self.least: int | None = None

    def touch(self, at: int) -> None:
        """Note the time of a change."""
        self.least = at if self.least is None else min(self.least, at)

    def add(self, sign: Sign) -> None:
        """Add a sign."""
        self.signs.append(sign)
        self.touch(sign.at)

    def first(self, sign: Sign) -> None:
        """Note a first call."""
        span = _span(sign)
        known = self.firsts.get(span)
        if known is None or _place(sign) < _place(known):
            self.firsts[span] = sign
        self.touch(sign.at)


class SignWriter:
    """Writes signs; each method but `forget` works within a transaction of the caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = database.engine.dialect.name
        self._contexts: dict[int, _Who | None] = {}
        self._noted: dict[tuple[Process, _Span], _Place] = {}
        """First calls that are known to be stored."""
        self._changes: dict[Process, _Change] = {}
        self._found: dict[tuple[Process, _Span], _Place] = {}

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
                if _is_pid(pid):
                    at, low = _when(event, ms)
                    self._changes[host, pid].add(Sign(at, low, ABEND, None, None, None))
        if "syscall" not in facts:
            return
        firsts = facts.firsts()
        self._know(connection, {context for context, *_ in firsts})
        for context, _, event, ms in firsts:
            if who := self._contexts[context]:
                self._note_first(who, *_when(event, ms))
        odd = facts.pairs(_numbers())
        wanted = {
            (context, nr)
            for context, nr in odd
            if (who := self._contexts[context]) and nr in _kinds(who.arch)
        }
        for call in facts.calls(wanted) if wanted else ():
            self._note_call(call)

    def _note_first(self, who: _Who, at: int, low: int) -> None:
        sign = Sign(at, low, SEEN, who.ppid, who.ses, who.exe)
        known = self._noted.get(((who.host, who.pid), _span(sign)))
        if known is None or _place(sign) < known:
            self._changes[who.host, who.pid].first(sign)

    def _note_call(self, call: Call) -> None:
        who = self._contexts[call.context]
        assert who is not None
        at, low = _when(call.id, call.ms)
        kind = _kinds(who.arch)[call.nr]
        if kind in BIRTHS:
            flags = 0
            if names.syscall_name(who.arch, call.nr) == "clone":
                flags = call.a1 if who.arch in _FLAGS_SECOND else call.a0
            child = call.exit
            if call.success and _is_pid(child) and child != who.pid and not flags & _CLONE_THREAD:
                parent = who.ppid if flags & _CLONE_PARENT else who.pid
                birth = Sign(at, low, kind, parent, who.ses, who.exe)
                self._changes[who.host, child].add(birth)
        elif kind == EXIT or call.success:
            sign = Sign(at, low, kind, who.ppid, who.ses, who.exe)
            self._changes[who.host, who.pid].add(sign)

    def removed(self, connection: Connection, events: Collection[int]) -> None:
        """Delete the signs of events, which are still stored."""
        if not events:
            return
        self._noted.clear()
        keys = []
        for event, ms, result, host, pid in self._listed(connection, _CALLS_OF, events):
            at, low = _when(event, ms)
            keys += [(host, each, at, low) for each in (pid, result) if _is_pid(each)]
        for event, ms, host, pid in self._listed(connection, _ABENDS_OF, events):
            keys += [(host, pid, *_when(event, ms))] if _is_pid(pid) else []
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            for host, pid, *sign in self._keyed(connection, _STORED_AT, some):
                found = Sign(*sign)
                change = self._changes[host, pid]
                change.touch(found.at)
                if found.kind in (SEEN, EXEC, EXIT):
                    change.lost.setdefault(_span(found), _place(found))
            self._delete(connection, some)

    # --- the end of a transaction ---------------------------------------------------------

    def flush(self, connection: Connection) -> None:
        """Write what came and went, and what it changes."""
        changes, self._changes = self._changes, {}
        if not changes:
            return
        if self._dialect == "postgresql":  # of one host one writer at a time
            hosts = sorted({host for host, _ in changes})
            connection.exec_driver_sql(
                "SELECT id FROM host WHERE id = ANY(%s) ORDER BY id FOR UPDATE", (hosts,)
            )
        for process, change in changes.items():
            for span, place in change.lost.items():
                known = change.firsts.get(span)
                if (known is None or _place(known) != place) and (
                    sign := self._find_first(connection, process, span)
                ):
                    change.first(sign)
        processes = list(changes)
        for start in range(0, len(processes), _AT_ONCE):
            some = {process: changes[process] for process in processes[start : start + _AT_ONCE]}
            self._write(connection, some)

    def _write(self, connection: Connection, changes: Mapping[Process, _Change]) -> None:
        asked = []
        for (host, pid), change in changes.items():
            least = change.least or 0
            asked.append((host, pid, least, least - least % DAY_MS))
        stored: dict[Process, dict[_Place, _Stored]] = defaultdict(dict)
        for host, pid, begins, *sign in self._keyed(connection, _WINDOW, asked):
            found = Sign(*sign)
            stored[host, pid][_place(found)] = _Stored(found, begins)
        new: list[tuple[object, ...]] = []
        gone: list[tuple[int, int, int, int]] = []
        other: list[tuple[int | None, int, int, int, int]] = []
        for process, change in changes.items():
            before = stored[process]
            after = self._merge(process, change, before)
            gone += [(*process, *place) for place in before.keys() - after.keys()]
            for place, (sign, begins) in _judge(after, change.least or 0).items():
                was = before.get(place)
                if was is None or was.sign != sign:
                    gone += [(*process, *place)] if was else []
                    new.append((*process, *sign[:3], begins, *sign[3:]))
                elif was.begins != begins:
                    other.append((begins, *process, *place))
        self._delete(connection, gone)
        if other:
            connection.exec_driver_sql(self._form(_UPDATE), other)
        if new:
            self._database.insert(connection, process_sign, sorted(new, key=_key))

    def _merge(
        self, process: Process, change: _Change, before: Mapping[_Place, _Stored]
    ) -> dict[_Place, _Stored]:
        """Give the signs as they are after a change."""
        after = dict(before)
        for sign in change.signs:
            after[_place(sign)] = _Stored(sign, None)
        for span, sign in change.firsts.items():
            own = [
                each
                for each, (found, _) in after.items()
                if found.kind in (SEEN, EXEC, EXIT) and _span(found) == span
            ]
            first = min([*own, _place(sign)])
            for each in own:
                if each != first and after[each].sign.kind == SEEN:
                    del after[each]
            after.setdefault(first, _Stored(sign, None))
            self._found[process, span] = first
        return after

    # --- SQL ------------------------------------------------------------------------------

    def _know(self, connection: Connection, contexts: Collection[int]) -> None:
        missing = [each for each in contexts if each not in self._contexts]
        if len(self._contexts) + len(missing) > _CACHED:
            self._contexts.clear()
            missing = list(contexts)
        for context, host, arch, ppid, pid, ses, exe in self._listed(
            connection, _CONTEXTS, missing
        ):
            who = _Who(host, arch, ppid if _is_pid(ppid) or ppid == 0 else None, pid, ses, exe)
            self._contexts[context] = who if _is_pid(pid) else None

    def _find_first(self, connection: Connection, process: Process, span: _Span) -> Sign | None:
        """Find the first stored call of a process id, parent and session on a day."""
        second = span.day * DAY_MS // 1000
        ends = second << SERIAL_BITS, (second + DAY_MS // 1000 << SERIAL_BITS) - 1
        values = (*ends, *process, span.ppid, span.ses)
        found = connection.exec_driver_sql(self._form(_FIRST), values).first()
        if found is None:
            return None
        event, ms, exe = found
        return Sign(*_when(event, ms), SEEN, span.ppid, span.ses, exe)

    def _form(self, statement: str) -> str:
        return statement if self._dialect == "sqlite" else statement.replace("?", "%s")

    def _listed(
        self, connection: Connection, statement: str, ids: Collection[int]
    ) -> Iterable[tuple[int, ...]]:
        """Run a query over a list of ids."""
        wanted = list(ids)
        if not wanted:
            return []
        if self._dialect == "sqlite":
            listed, values = "json_each(?)", (json.dumps(wanted),)
        else:
            listed, values = "unnest(%s::bigint[]) AS j (value)", (wanted,)  # type: ignore[assignment]
        found = connection.exec_driver_sql(statement.format(listed=listed), values)
        return [tuple(row) for row in found]

    def _keyed(
        self, connection: Connection, statement: str, keys: Collection[tuple[int, int, int, int]]
    ) -> Iterable[tuple[int, ...]]:
        """Run a query over a list of four numbers, `j.a` to `j.d`."""
        if not keys:
            return []
        if self._dialect == "sqlite":
            columns = ", ".join(
                f"json_extract(value, '$[{n}]') AS {name}" for n, name in enumerate("abcd")
            )
            listed, values = f"(SELECT {columns} FROM json_each(?)) j", (json.dumps(list(keys)),)
        else:
            arrays = ", ".join(["%s::bigint[]"] * 4)
            listed = f"unnest({arrays}) AS j (a, b, c, d)"
            values = tuple(list(column) for column in zip(*keys, strict=True))  # type: ignore[assignment]
        found = connection.exec_driver_sql(statement.format(listed=listed), values)
        return [tuple(row) for row in found]

    def _delete(self, connection: Connection, keys: list[tuple[int, int, int, int]]) -> None:
        if keys:
            connection.exec_driver_sql(self._form(_DELETE), keys)


_SIGN: Final = "z.at, z.low, z.kind, z.ppid, z.ses, z.exe"
_CONTEXTS: Final = (
    "SELECT c.id, c.host, c.arch, c.ppid, c.pid, c.ses, c.exe"
    " FROM {listed} JOIN context c ON c.id = value"
)
_CALLS_OF: Final = (
    "SELECT s.id, s.ms, s.exit, c.host, c.pid FROM {listed} JOIN syscall s ON s.id = value"
    " JOIN context c ON c.id = s.context"
)
_ABENDS_OF: Final = (
    "SELECT e.id, e.ms, e.host, e.pid FROM {{listed}} JOIN event e ON e.id = value"
    f" WHERE e.type = {ANOM_ABEND}"
).format(listed="{listed}")
_STORED_AT: Final = (
    f"SELECT z.host, z.pid, {_SIGN} FROM {{listed}} JOIN process_sign z"  # noqa: S608 - of this module's text
    " ON z.host = j.a AND z.pid = j.b AND z.at = j.c AND z.low = j.d"
)
# c: the time of the first change; d: the beginning of its day.
_WINDOW: Final = (
    f"SELECT z.host, z.pid, z.begins, {_SIGN} FROM {{listed}} JOIN process_sign z"  # noqa: S608 - as above
    " ON z.host = j.a AND z.pid = j.b AND z.at >= coalesce((SELECT CASE WHEN b.at < j.d THEN b.at"
    " ELSE j.d END FROM process_sign b WHERE b.host = j.a AND b.pid = j.b AND b.at < j.c"
    " AND b.begins IS NOT NULL ORDER BY b.at DESC LIMIT 1 OFFSET 1), 0)"
)
_FIRST: Final = (
    "SELECT s.id, s.ms, c.exe FROM context c JOIN syscall s"
    " ON s.context = c.id AND s.id BETWEEN ? AND ?"
    " WHERE c.host = ? AND c.pid = ? AND c.ppid IS NOT DISTINCT FROM ?"
    " AND c.ses IS NOT DISTINCT FROM ?"
    f" ORDER BY s.id >> {SERIAL_BITS}, s.ms, s.id LIMIT 1"
)
_DELETE: Final = "DELETE FROM process_sign WHERE host = ? AND pid = ? AND at = ? AND low = ?"
_UPDATE: Final = (
    "UPDATE process_sign SET begins = ? WHERE host = ? AND pid = ? AND at = ? AND low = ?"
)


def _judge(after: Mapping[_Place, _Stored], least: int) -> dict[_Place, _Stored]:
    """Say anew which signs begin a life, as far as a change at `least` matters."""
    ordered = sorted(after.values(), key=lambda each: each.sign.order)
    earlier = [
        place
        for place, each in enumerate(ordered)
        if each.begins is not None and each.sign.at < least
    ]
    start, first = 0, None
    if len(earlier) > 1:
        start = earlier[-2]
        first = ordered[start].begins
    signs = [each.sign for each in ordered[start:]]
    codes = beginnings(signs, first)
    return {_place(sign): _Stored(sign, code) for sign, code in zip(signs, codes, strict=True)}


def _when(event: int, ms: int) -> _Place:
    return (event >> SERIAL_BITS) * 1000 + ms, event & SERIAL_MASK


def _place(sign: Sign) -> _Place:
    return sign.at, sign.low


def _span(sign: Sign) -> _Span:
    return _Span(sign.ppid, sign.ses, sign.at // DAY_MS)


def _key(row: tuple[object, ...]) -> tuple[object, ...]:
    return row[:4]


def _is_pid(pid: object) -> bool:
    return isinstance(pid, int) and 0 < pid <= MOST_PID


@cache
def _kinds(arch: int) -> Mapping[int, int]:
    """Give the kind of sign of each call that can be one, by its number."""
    numbered = ((names.syscall_number(arch, name), kind) for name, kind in _KIND_OF.items())
    return {nr: kind for nr, kind in numbered if nr is not None}


@cache
def _numbers() -> frozenset[int]:
    """Give the numbers of such calls on any machine."""
    return frozenset(nr for arch in names.arches() for nr in _kinds(arch))


def signs_of_calls() -> list[str]:
    """Give a SELECT of the signs of stored calls for each kind, as `_note_call` makes them."""
    numbered: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for arch in names.arches():
        for nr, kind in _kinds(arch).items():
            flags = "0"
            if names.syscall_name(arch, nr) == "clone":
                flags = "s.a1" if arch in _FLAGS_SECOND else "s.a0"
            numbered[flags, kind].append((arch, nr))
    at = f"(s.id >> {SERIAL_BITS}) * 1000 + s.ms, s.id & {SERIAL_MASK}"
    ppid = f"CASE WHEN c.ppid BETWEEN 0 AND {MOST_PID} THEN c.ppid END"
    made = []
    for (flags, kind), pairs in numbered.items():
        calls = " OR ".join(f"(c.arch = {arch} AND s.nr = {nr})" for arch, nr in pairs)
        pid, parent, also = "c.pid", ppid, "" if kind == EXIT else " AND s.success = 1"
        if kind in BIRTHS:
            pid, also = "s.exit", (
                f"{also} AND s.exit BETWEEN 1 AND {MOST_PID} AND s.exit <> c.pid"
                f" AND ({flags} & {_CLONE_THREAD}) = 0"
            )
            parent = f"CASE WHEN ({flags} & {_CLONE_PARENT}) <> 0 THEN {ppid} ELSE c.pid END"
        made.append(
            f"SELECT c.host, {pid}, {at}, {kind}, {parent}, c.ses, c.exe FROM context c"  # noqa: S608 - numbers and this module's text
            f" JOIN syscall s ON s.context = c.id WHERE ({calls})"
            f" AND c.pid BETWEEN 1 AND {MOST_PID}{also}"
        )
    return made
