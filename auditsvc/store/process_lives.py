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
3. INFERRED: a sign that cannot belong to the life before (`Life.goes_on`), or there is none.

A parent's end is no end of the child: where only the parent changes, the life goes on if the
program is the same.

Of the births that no sign of the process itself has followed yet, the last `MOST_BIRTHS` count: a
container can have any number of them with one result. So all that earlier signs mean for later
ones is a `State` of bounded size, from which a walk can go on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BIRTH, SEEN, EXEC, EXIT, ABEND, MAYBE = range(6)
BIRTHS: Final = (BIRTH, MAYBE)
CLONE, LIKELY, INFERRED = 1, 2, 3

PID_BITS: Final = 22
MOST_PID: Final = (1 << PID_BITS) - 1
"""PID_MAX_LIMIT in include/linux/threads.h."""
SLOT_BITS: Final = 2
"""Of milliseconds. A second is a whole number of such slots."""
MOST_BIRTHS = 64
"""How many births are kept in mind for the next sign of the process itself."""
_STRAGGLE: Final = 1000
"""Milliseconds after exit_group in which other threads' last calls are recorded."""
_DAEMONISE: Final = 10_000
_GAP: Final = 600_000
"""Milliseconds after which a program change is taken for another process, if births are unknown."""


Order = tuple[int, bool, int]
"""A sign's `order`."""


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
    def order(self) -> Order:
        """The order of signs."""
        return self.at, self.kind not in BIRTHS, self.low


def life_slot(at: int) -> tuple[int, int]:
    """Give what of a life's beginning is in its id: the second, and 4 milliseconds of it.

    No pid is used again so soon.
    """
    return at // 1000, at % 1000 >> SLOT_BITS


@dataclass(slots=True)
class Life:
    """The life that goes on at a sign: what it began with, and what its last signs said."""

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


class State(NamedTuple):
    """What a walk knows after a sign.

    `life` is the one that goes on, None before the first; `since` is the first of the births that
    are kept in mind, None if there are none.
    """

    order: Order
    since: Order | None
    life: Life | None

    @property
    def read_from(self) -> int:
        """The time of the first sign that is needed to go on from here."""
        return self.order[0] if self.since is None else self.since[0]

    def needs(self, sign: Sign) -> bool:
        """Whether a walk that goes on from here needs a sign."""
        if sign.order > self.order:
            return True
        return self.since is not None and sign.order >= self.since and sign.kind in BIRTHS


def beginnings(signs: Sequence[Sign], first: int | None = None) -> list[int | None]:
    """Give for each sign how the life that it begins is known; None if it begins none.

    `first`: the first sign is known to begin a life, in this way; else nothing was before it.
    """
    return walk(signs, first=first).found


def walk(
    signs: Sequence[Sign], *, first: int | None = None, state: State | None = None, every: int = 0
) -> Walk:
    """Go through signs in their order; gives what each begins, and the state after some.

    `first`: as in `beginnings`. `state`: that after an earlier sign; the signs are then those that
    it `needs`. `every`: after how many signs a state is wanted, 0: none.
    """
    made = Walk(signs)
    start = made.go_on(state) if state is not None else 0
    for place in range(start, len(signs)):
        sign = signs[place]
        if first is not None and not place:
            life = made.begin(0, first)
            if sign.kind not in BIRTHS:
                life.take(sign)
        elif sign.kind in BIRTHS:
            made.pass_birth(place)
        else:
            made.pass_own(place)
        if every and (place + 1 - start) % every == 0:
            made.keep(place)
    return made


class Walk:
    """A walk through signs: `found` is what each begins, `states` those after some of them."""

    def __init__(self, signs: Sequence[Sign]) -> None:
        self.found: list[int | None] = [None] * len(signs)
        self.states: list[State] = []
        self._signs = signs
        self._life: Life | None = None
        self._births: deque[int] = deque(maxlen=MOST_BIRTHS)
        """The last births since the last sign of the process itself."""

    def go_on(self, state: State) -> int:
        """Begin with what is known after an earlier sign; gives the place of the next one."""
        self._life = replace(state.life) if state.life is not None else None
        start = 0
        while start < len(self._signs) and self._signs[start].order <= state.order:
            self._births.append(start)
            start += 1
        return start

    def keep(self, place: int) -> None:
        """Keep the state after a sign."""
        sign = self._signs[place]
        since = self._signs[self._births[0]].order if self._births else None
        life = replace(self._life) if self._life is not None else None
        self.states.append(State(sign.order, since, life))

    def begin(self, place: int, code: int) -> Life:
        """Begin a life."""
        self.found[place] = code
        self._births.clear()
        sign = self._signs[place]
        is_birth = sign.kind in BIRTHS
        self._life = Life(sign.at, code, sign.ppid, sign.ses, sign.exe, sign.at, is_birth)
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
        birth = self._birth(lambda each: each.ppid == sign.ppid) if self._births else None
        if birth is not None:
            life = self.begin(birth, CLONE)
        elif life is None or not life.goes_on(sign):
            birth = self._birth(lambda each: _is_likely(each, sign))
            if birth is not None:
                life = self.begin(birth, LIKELY)
            elif sign.kind != ABEND and (life is None or self._is_apart(sign)):
                life = self.begin(place, INFERRED)
        if life is not None and (sign.kind != ABEND or life.goes_on(sign)):
            self._births.clear()
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
        return self._life is None or sign.at >> SLOT_BITS != self._life.at >> SLOT_BITS


def _is_likely(birth: Sign, sign: Sign) -> bool:
    """Whether a birth can be of a process that has another parent now."""
    if birth.kind != BIRTH:
        return False
    if sign.kind == ABEND:
        return True
    return birth.ses == sign.ses and (sign.kind == EXEC or birth.exe == sign.exe)
