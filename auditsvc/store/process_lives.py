"""Cuts what the log says of one process id into the lives of processes. Pure: no I/O.

In: the *signs* of one (host, pid), in order. Out: which of them begin a life, and how that is
known. The same signs always give the same lives, in whatever order they were stored.

A sign is one of

* BIRTH: fork, vfork or clone by another process returned this pid. The result is a number of
  the caller's pid namespace, so it is believed only if the log confirms it (below).
* MAYBE: the same of clone3, whose flags are in memory that the log does not show: it may have
  made a thread.
* SEEN: the first call on a day (UTC) with this pid, parent and session.
* EXEC: an exec that succeeded. `exe` is the new program.
* EXIT: exit_group. ABEND: the process died of a signal (ANOM_ABEND); this names no parent and
  begins no life.

`at` is when the call began, in milliseconds: a clone begins before all calls of its child, while
the serials of the two, which are taken when calls end, come in any order. Of equal times the
birth is first.

What begins a life:

1. CLONE, exact: a birth by C, and the next sign of the process itself names C as its parent;
   or a plain birth by C while C was the parent of the life before: so C's results are pids of
   the host, and the life before has ended.
2. LIKELY: the next sign names another parent (C may have ended meanwhile), cannot belong to the
   life before, and has the birth's session and program.
3. INFERRED: a sign that cannot belong to the life before (`_Life.goes_on`), or there is none.

A parent's end is no end of the child: where only the parent changes, the life goes on if the
program is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BIRTH, SEEN, EXEC, EXIT, ABEND, MAYBE = range(6)
BIRTHS: Final = (BIRTH, MAYBE)
CLONE, LIKELY, INFERRED = 1, 2, 3

PID_BITS: Final = 22
MOST_PID: Final = (1 << PID_BITS) - 1
"""PID_MAX_LIMIT in include/linux/threads.h."""
_STRAGGLE: Final = 1000
"""Milliseconds after exit_group in which other threads' last calls are recorded."""
_DAEMONISE: Final = 10_000
_GAP: Final = 600_000
"""Milliseconds after which a program change is taken for another process, if births are unknown."""


class Sign(NamedTuple):
    """One sign: `low` is the lower half of the event's id; `ppid`, `ses`, `exe` the process's.

    Of a birth they are the caller's: its pid, session and program.
    """

    at: int
    low: int
    kind: int
    ppid: int | None
    ses: int | None
    exe: int | None

    @property
    def order(self) -> tuple[int, bool, int]:
        """The order of signs."""
        return self.at, self.kind not in BIRTHS, self.low


def life_slot(at: int) -> tuple[int, int]:
    """Give what of a life's beginning is in its id: the second, and 4 milliseconds of it.

    No pid is used again so soon.
    """
    return at // 1000, at % 1000 >> 2


@dataclass(slots=True)
class _Life:
    """The life that goes on at a sign."""

    at: int
    code: int
    ppid: int | None
    ses: int | None
    exe: int | None
    last: int
    is_fresh: bool
    """Whether there was no sign of the process itself yet."""
    ended: int | None = None

    def goes_on(self, sign: Sign) -> bool:
        """Whether a sign of the process itself can belong to this life."""
        if self.is_fresh or (sign.kind == ABEND and self.ended is None):
            return True
        if self.ended is not None:
            is_late = sign.kind != EXEC and sign.at - self.ended <= _STRAGGLE
            return is_late and sign.exe == self.exe and sign.ppid in (self.ppid, 1)
        if self.ses is not None and sign.ses != self.ses:
            return False
        is_exact, since = self.code == CLONE, sign.at - self.last
        has_new_program = sign.kind == EXEC or sign.exe != self.exe
        if sign.ppid == self.ppid:
            return is_exact or not has_new_program or since <= _GAP
        if not has_new_program:
            return True
        if is_exact:
            return since <= _GAP
        return sign.ppid == 1 and since <= _DAEMONISE

    def take(self, sign: Sign) -> None:
        """Add a sign of the process itself."""
        self.is_fresh, self.last = False, sign.at
        if sign.kind != ABEND:
            self.ppid, self.exe = sign.ppid, sign.exe
            self.ses = self.ses if sign.ses is None else sign.ses
        if sign.kind in (EXIT, ABEND) and self.ended is None:
            self.ended = sign.at


def beginnings(signs: Sequence[Sign], first: int | None = None) -> list[int | None]:
    """Give for each sign how the life that it begins is known; None if it begins none.

    `first`: the first sign is known to begin a life, in this way; else nothing was before it.
    """
    walk = _Walk(signs)
    for place, sign in enumerate(signs):
        if first is not None and not place:
            life = walk.begin(0, first)
            if sign.kind not in BIRTHS:
                life.take(sign)
        elif sign.kind in BIRTHS:
            walk.pass_birth(place)
        else:
            walk.pass_own(place)
    return walk.found


class _Walk:
    """Goes through signs in their order; `found` is what each begins."""

    def __init__(self, signs: Sequence[Sign]) -> None:
        self.found: list[int | None] = [None] * len(signs)
        self._signs = signs
        self._life: _Life | None = None
        self._births: list[int] = []
        """Births since the last sign of the process itself."""

    def begin(self, place: int, code: int) -> _Life:
        """Begin a life."""
        self.found[place] = code
        self._births = []
        sign = self._signs[place]
        is_birth = sign.kind in BIRTHS
        self._life = _Life(sign.at, code, sign.ppid, sign.ses, sign.exe, sign.at, is_birth)
        return self._life

    def pass_birth(self, place: int) -> None:
        """Go past a birth: it begins a life at once if its caller was the parent before."""
        birth, life = self._signs[place], self._life
        if (
            birth.kind == BIRTH
            and life is not None
            and not life.is_fresh
            and birth.ppid == life.ppid
            and self._is_apart(birth)
        ):
            self.begin(place, CLONE)
        else:
            self._births.append(place)

    def pass_own(self, place: int) -> None:
        """Go past a sign of the process itself."""
        life, sign = self._life, self._signs[place]
        birth = self._birth(lambda each: each.ppid == sign.ppid)
        if birth is not None:
            life = self.begin(birth, CLONE)
        elif life is None or not life.goes_on(sign):
            birth = self._birth(lambda each: _is_likely(each, sign))
            if birth is not None:
                life = self.begin(birth, LIKELY)
            elif sign.kind != ABEND and (life is None or self._is_apart(sign)):
                life = self.begin(place, INFERRED)
        if life is not None and (sign.kind != ABEND or life.goes_on(sign)):
            self._births = []
            life.take(sign)

    def _birth(self, fits: Callable[[Sign], bool]) -> int | None:
        """Give the last birth that fits."""
        for place in reversed(self._births):
            birth = self._signs[place]
            if fits(birth) and self._is_apart(birth):
                return place
        return None

    def _is_apart(self, sign: Sign) -> bool:
        """Whether a life that begins at a sign has another id than the life before."""
        return self._life is None or life_slot(sign.at) != life_slot(self._life.at)


def _is_likely(birth: Sign, sign: Sign) -> bool:
    """Whether a birth can be of a process that has another parent now."""
    if birth.kind != BIRTH:
        return False
    if sign.kind == ABEND:
        return True
    return birth.ses == sign.ses and (sign.kind == EXEC or birth.exe == sign.exe)
