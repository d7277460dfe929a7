"""Answers which processes there were, as trees: values only; `drawing` shows them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.errors import QueryError, UsageError
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.process_lives import MOST_PID
from auditsvc.store.read import processes
from auditsvc.store.read.process_details import described
from auditsvc.store.read.process_places import places
from auditsvc.store.read.time_span import Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from auditsvc.store.read.process_details import Life
    from auditsvc.store.read.process_places import Place
    from auditsvc.store.read.processes import Begun, Family

_STAMP: Final = re.compile(r"(?:audit\()?([0-9]{1,10})\.[0-9]{1,3}:([0-9]{1,10})\)?")
_MOST_EVENT: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Asked:
    """What to show: the processes of a pid, the process of an event, or those of a session."""

    period: Span
    pid: int | None = None
    event: int | None = None
    stamp: tuple[int, int] | None = None
    """Second and serial of an event, as the log has them."""
    session: int | None = None
    life: int | None = None
    """A `process_id` of the views."""
    host: str | None = None
    is_of_all_time: bool = True
    """Whether no period was given: of a pid the last process is meant then."""


@dataclass(frozen=True, slots=True)
class Node:
    """A process in a tree."""

    life: Life
    children: tuple[Node, ...]
    more: int = 0
    """Descendants that are not shown."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree, with the ancestors of its root, the oldest first."""

    ancestors: tuple[Life, ...]
    root: Node
    places: Mapping[Begun, Place] = field(default_factory=dict)
    """Where those that are shown were, if that was asked for."""


def read_what(text: str) -> tuple[str, int | tuple[int, int]]:
    """Give what an argument is: ("pid", N), ("event", ID), or ("stamp", (second, serial))."""
    stamp = _STAMP.fullmatch(text.strip())
    if stamp is not None and int(stamp[1]) <= _MOST_EVENT >> SERIAL_BITS:
        return "stamp", (int(stamp[1]), int(stamp[2]))
    if re.fullmatch(r"[0-9]{1,19}", text) and 0 < int(text) <= _MOST_EVENT:
        return ("pid" if int(text) <= MOST_PID else "event"), int(text)
    raise UsageError(
        f"{text!r} is neither a pid nor an event",
        "give a pid, an event_id, or SECOND.MMM:SERIAL as the log has it",
    )


def find_trees(
    url: str, asked: Asked, *, depth: int, limit: int, with_places: bool = False
) -> list[Tree]:
    """Give the trees, oldest first; QueryError if there is none.

    `depth`: generations below a root; `limit`: processes of each tree. 0: no limit.
    """
    with open_store(url, create=False, read=True) as store, reading(store.database) as connection:
        roots = _roots(connection, asked)
        if not roots:
            raise QueryError(
                f"no process of {_name(asked)} is in the store",
                "give another time by --since, or look at the view processes",
            )
        families = processes.families(connection, roots, asked.period)
        above = {
            each.begun: processes.ancestors(connection, each.begun)
            for each in families
            if asked.session is None
        }
        shown = [cut(each, depth, limit) for each in families]
        wanted = {each for kept in shown for each in kept}
        wanted |= {each for lives in above.values() for each in lives}
        lives = described(connection, wanted)
        where = places(connection, wanted) if with_places else {}
    return [
        Tree(
            tuple(lives[each] for each in above.get(family.begun, ())),
            node_of(family, lives, asked.period.low * 1000),
            where,
        )
        for family in families
    ]


def _roots(connection: Connection, asked: Asked) -> list[Begun]:
    hosts = processes.host_ids(connection, asked.host)
    if asked.session is not None:
        return processes.lives_of_session(connection, hosts, asked.session, asked.period)
    if asked.life is not None:
        second = asked.life >> SERIAL_BITS
        found = processes.lives_of_pid(
            connection, hosts, asked.life & MOST_PID, Span(second, second)
        )
        return [each for each in found if each.id == asked.life]
    if asked.pid is not None:
        found = processes.lives_of_pid(connection, hosts, asked.pid, asked.period)
        return found[-1:] if asked.is_of_all_time else found
    events = [asked.event] if asked.event is not None else []
    if asked.stamp is not None:
        second, serial = asked.stamp
        events = [second << SERIAL_BITS | (serial + host) & SERIAL_MASK for host in hosts]
    lives = [processes.life_of_event(connection, event) for event in events]
    return [life for life in lives if life is not None and life.host in hosts]


def _name(asked: Asked) -> str:
    if asked.session is not None:
        return f"session {asked.session}"
    if asked.pid is not None:
        return f"pid {asked.pid}"
    if asked.life is not None:
        return f"process_id {asked.life}"
    return "that event"


def cut(family: Family, depth: int, limit: int) -> set[Begun]:
    """Give the lives that are shown: generation by generation, so that none hides another."""
    shown: set[Begun] = set()
    level, generation = [family], 0
    while level and (not depth or generation <= depth):
        for each in level:
            if limit and len(shown) >= limit:
                return shown
            shown.add(each.begun)
        level, generation = [child for each in level for child in each.children], generation + 1
    return shown


def node_of(family: Family, lives: Mapping[Begun, Life], since: int) -> Node:
    """Make the nodes of a family from its leaves up: a chain may be longer than Python's stack.

    What ended before `since` (ms) is left out, unless something that is shown descends from it.
    """
    order, waiting = [], [family]
    while waiting:
        each = waiting.pop()
        order.append(each)
        waiting += each.children
    made: dict[Begun, Node] = {}
    hidden: dict[Begun, int] = {}
    for each in reversed(order):
        children = [made[child.begun] for child in each.children if child.begun in made]
        more = sum(hidden.get(child.begun, 0) for child in each.children)
        life = lives.get(each.begun)
        if life is None:
            hidden[each.begun] = more + 1
        elif each is family or children or more or life.ended is None or life.ended >= since:
            made[each.begun] = Node(life, tuple(children), more)
    return made[family.begun]
