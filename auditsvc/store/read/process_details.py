"""What happened in the lives of processes: programs, arguments, end, and whose they were."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.process_lives import ABEND, BIRTHS, CLONE, EXEC, EXIT, Sign
from auditsvc.store.sign_sql import keyed, listed
from auditsvc.store.views import DIALECTS
from auditsvc.store.views.names import USER, in_call

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from auditsvc.store.read.processes import Begun

_NEVER: Final = 1 << 62
_NEXT: Final = (
    "SELECT j.a, j.b, j.c, (SELECT n.at FROM process_sign n WHERE n.host = j.a AND n.pid = j.b"
    " AND n.at > j.c AND n.begins IS NOT NULL ORDER BY n.at LIMIT 1) FROM {listed}"
)
# From the time c on, and before d.
_SIGNS: Final = (
    "SELECT z.host, z.pid, j.c, z.begins, z.at, z.low, z.kind, z.ppid, z.ses, z.exe"
    " FROM {listed} JOIN process_sign z ON z.host = j.a AND z.pid = j.b"
    " AND z.at >= j.c AND z.at < j.d ORDER BY z.at, z.low"
)
_TEXTS: Final = "SELECT t.id, t.value FROM {listed} JOIN text t ON t.id = j.value"
_ARGUMENTS: Final = (
    "SELECT e.event, t.value FROM {listed} JOIN exec e ON e.event = j.value"
    " JOIN text t ON t.id = e.argv"
)
_FIELDS: Final = (
    "SELECT e.id, t.value FROM {listed} JOIN event e ON e.id = j.value"
    " JOIN text t ON t.id = e.fields"
)
_HOSTS: Final = "SELECT h.id, h.name FROM {listed} JOIN host h ON h.id = j.value"


class Exec(NamedTuple):
    """One exec: its event, when it was (ms since 1970), the program and its arguments."""

    event: int
    at: int
    exe: str | None
    argv: list[str] | None


@dataclass(frozen=True, slots=True)
class Life:
    """A life with what happened in it; what the log does not say is None."""

    begun: Begun
    host: str | None
    exe: str | None
    execs: tuple[Exec, ...]
    ended: int | None
    """Milliseconds since 1970."""
    exit_code: int | None
    signal: int | None
    auid: int | None
    uid: int | None
    auid_name: str | None
    uid_name: str | None
    ses: int | None

    @property
    def is_exact(self) -> bool:
        """Whether two records agree on its birth."""
        return self.begun.begins == CLONE

    @property
    def argv(self) -> list[str] | None:
        """The arguments of its last exec."""
        return self.execs[-1].argv if self.execs else None


def lives_with_ends(
    connection: Connection, lives: Collection[Begun]
) -> list[tuple[int, int, int, int]]:
    """Give host, pid and begin of each life, and when the next one of its pid begins (ms)."""
    ends = keyed(connection, _NEXT, [(each.host, each.pid, each.at, 0) for each in lives])
    return [(host, pid, at, end or _NEVER) for host, pid, at, end in ends]


def described(connection: Connection, lives: Collection[Begun]) -> dict[Begun, Life]:
    """Give what happened in each life; all lookups are made together."""
    windows = lives_with_ends(connection, lives)
    signs: dict[tuple[int, int, int], list[Sign]] = defaultdict(list)
    for host, pid, began, begins, *sign in keyed(connection, _SIGNS, windows):
        if sign[2] not in BIRTHS or begins is not None:
            signs[host, pid, began].append(Sign(*sign))
    every = [sign for found in signs.values() for sign in found]
    known = _Known(
        _found(connection, _TEXTS, (sign.exe for sign in every)),
        _found(connection, _ARGUMENTS, (_event(s) for s in every if s.kind == EXEC)),
        _found(connection, _calls(connection), (_event(s) for s in every if s.kind != ABEND)),
        _found(connection, _FIELDS, (_event(s) for s in every if s.kind == ABEND)),
        _found(connection, _HOSTS, (each.host for each in lives)),
    )
    return {each: _life(each, signs[each[:3]], known) for each in lives}


def _calls(connection: Connection) -> str:
    dialect = DIALECTS[connection.dialect.name]
    names = (in_call(dialect, column, USER) for column in ("auid", "uid"))
    first = dialect.argument.format("s.a0")
    return (
        f"SELECT s.id, {first}, c.auid, c.uid, {', '.join(names)} FROM {{listed}}"  # noqa: S608 - ours
        " JOIN syscall s ON s.id = j.value JOIN context c ON c.id = s.context"
    )


class _Known(NamedTuple):
    """What was looked up, each by its id."""

    texts: Mapping[int, Sequence[Any]]
    arguments: Mapping[int, Sequence[Any]]
    calls: Mapping[int, Sequence[Any]]
    fields: Mapping[int, Sequence[Any]]
    hosts: Mapping[int, Sequence[Any]]

    def text(self, text: int | None) -> str | None:
        """Give a text."""
        found = None if text is None else self.texts.get(text)
        return None if found is None else str(found[0])


def _life(begun: Begun, signs: Sequence[Sign], known: _Known) -> Life:
    own = [sign for sign in signs if sign.kind != ABEND]
    end = next((sign for sign in signs if sign.kind in (EXIT, ABEND)), None)
    code = number = None
    if end is not None and end.kind == EXIT:
        code = next((row[0] & 255 for row in _of(known.calls, end)), None)
    elif end is not None:
        number = next(
            (_number(json.loads(row[0]).get("sig")) for row in _of(known.fields, end)), None
        )
    caller = next((row for sign in reversed(own) for row in _of(known.calls, sign)), None)
    return Life(
        begun=begun,
        host=next(iter(known.hosts.get(begun.host, ())), None),
        exe=next((known.text(sign.exe) for sign in reversed(own)), None),
        execs=tuple(
            Exec(
                _event(sign),
                sign.at,
                known.text(sign.exe),
                next((json.loads(row[0]) for row in _of(known.arguments, sign)), None),
            )
            for sign in own
            if sign.kind == EXEC
        ),
        ended=None if end is None else end.at,
        exit_code=code,
        signal=number,
        auid=caller[1] if caller else None,
        uid=caller[2] if caller else None,
        auid_name=caller[3] if caller else None,
        uid_name=caller[4] if caller else None,
        ses=next((sign.ses for sign in reversed(own)), None),
    )


def _found(
    connection: Connection, statement: str, ids: Iterable[int | None]
) -> dict[int, Sequence[Any]]:
    """Look rows up; gives each without its id, by that."""
    wanted = {each for each in ids if each is not None}
    return {row[0]: row[1:] for row in listed(connection, statement, wanted)}


def _of(rows: Mapping[int, Sequence[Any]], sign: Sign) -> list[Sequence[Any]]:
    """Give the row of a sign's event, if there is one."""
    row = rows.get(_event(sign))
    return [] if row is None else [row]


def _number(text: object) -> int | None:
    word = str(text)
    return int(word) if word.isdecimal() and word.isascii() and len(word) < 10 else None


def _event(sign: Sign) -> int:
    return sign.at // 1000 << SERIAL_BITS | sign.low
