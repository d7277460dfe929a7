"""The page of one process: its tree as a picture, and what it did.

Its address is `/process?host=NAME&id=PROCESS_ID`, or `/process?event=ID` for that of an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from auditsvc.errors import UsageError
from auditsvc.host.users import Users
from auditsvc.processes import drawing
from auditsvc.processes.report import Asked, find_trees
from auditsvc.store.read.events import second_text
from auditsvc.store.read.time_span import ALL
from auditsvc.web import deeds
from auditsvc.web.answers import part, store_page
from auditsvc.web.numbers import number_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from auditsvc.processes.report import Node, Tree
    from auditsvc.store.read.process_details import Life
    from auditsvc.store.read.process_places import Place
    from auditsvc.web.asking import Asker

_DEPTH: Final = 6
"""Generations below the process that are shown."""
_MOST: Final = 150
"""Processes of a tree that are shown."""
_HALF_DAY: Final = 43200
_HOUR: Final = 3600
_WIDE: Final = 1000
"""Width of the picture of a life, in units of its own."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A process as a row of the tree; `begin` and `wide` are of the picture's width."""

    name: str
    pid: int
    command: str
    user: str
    place: str
    time: str
    outcome: str
    is_exact: bool
    is_bad: bool
    address: str
    begin: int
    wide: int
    children: tuple[Shown, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """The process, its ancestors (the oldest first), and its tree."""

    root: Shown
    ancestors: tuple[Shown, ...]
    facts: list[tuple[str, str]]
    execs: list[tuple[int, str, str]]
    events: str
    """Address of its events."""
    did: str
    """Address of what it did."""
    links: dict[str, str]
    """Of facts, the page of that program, user, session, container or unit."""
    span: str
    """How long the time of the picture is."""


class ProcessPages:
    """The pages of processes."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._users = Users()

    def page(self, request: Request) -> Response:
        """Show the tree below a process."""
        asked = _asked(request)
        with self._asker.recorded(request) as asking:
            trees = find_trees(self._asker.url, asked, depth=_DEPTH, limit=_MOST, with_places=True)
            tree = trees[0]
            asking.access.rows += len(tree.places) or 1
        shown = _Picture(tree, self._user).page()
        return store_page(self._asker, asking, "process.html", "Process", process=shown)

    def did(self, request: Request) -> Response:
        """Show what it read, wrote, ran and connected to."""
        asked = _asked(request)
        with self._asker.recorded(request) as asking:
            (tree, *_) = find_trees(self._asker.url, asked, depth=1, limit=1)
            found = deeds.of_life(asking, tree.root.life)
        return part("process_did.html", did=found)

    def _user(self, host: str | None, uid: int) -> str | None:
        """Name a user, if none was recorded then: only this host's names are known here."""
        return self._users.name(uid) if host == self._asker.settings.host else None


def _asked(request: Request) -> Asked:
    params = request.query_params
    event, life = number_in(params, "event"), number_in(params, "id")
    if (event is None) == (life is None):
        raise UsageError("no process is named", "give id=PROCESS_ID or event=ID in the address")
    return Asked(ALL, event=event, life=life, host=params.get("host") or None)


class _Picture:
    """Makes the rows of a tree."""

    def __init__(self, tree: Tree, user: drawing.UserName) -> None:
        self._tree, self._user = tree, user
        lives = list(_lives(tree.root))
        self._first = tree.root.life.begun.at
        last = max(max(each.begun.at, *(_ends(each))) for each in lives)
        self._length = max(1, last - self._first)

    def page(self) -> Page:
        """Give the page."""
        life = self._tree.root.life
        began = life.begun.at
        low, high = second_text(began // 1000), second_text(_last(life) // 1000 + 1)
        events = {"pid": str(life.begun.pid), "node": life.host or "", "since": low}
        if life.ended is not None:
            events["until"] = high
        return Page(
            self._node(self._tree.root),
            tuple(self._row(each) for each in self._tree.ancestors),
            list(self._facts(life)),
            [
                (each.event, drawing.time_text(each.at), _words(each.argv) or each.exe or "?")
                for each in life.execs
            ],
            f"/events?{urlencode(events)}",
            f"/process/did?{_query(life)}",
            dict(self._links(life)),
            drawing.duration(self._length),
        )

    def _links(self, life: Life) -> Iterator[tuple[str, str]]:
        where = self._tree.places.get(life.begun)
        low = max(0, life.begun.at // 1000 - _HALF_DAY) // _HOUR * _HOUR
        time = {"since": second_text(low), "until": second_text(low + 2 * _HALF_DAY + _HOUR)}
        known: dict[str, tuple[str, str, Any]] = {
            "program": ("/what", "program", life.exe),
            "user": ("/who", "user", life.auid),
            "session": ("/who", "session", life.ses),
            "container": ("/what", "container", where and where.container),
            "unit": ("/what", "unit", where and where.unit),
        }
        for name, (at, kind, value) in known.items():
            if value is not None:
                yield name, f"{at}?{urlencode({kind: str(value)} | time)}"

    def _facts(self, life: Life) -> Iterator[tuple[str, str]]:
        where = self._tree.places.get(life.begun)
        known: dict[str, Any] = {
            "program": life.exe,
            "user": drawing.who(life, self._user),
            "session": life.ses,
            "container": None if where is None else _container(where),
            "unit": None if where is None else where.unit,
            "began": f"{drawing.time_text(life.begun.at)} UTC",
            "ended": drawing.outcome(life) or "not that the log knows",
            "known by": "the call that made it"
            if life.is_exact
            else "calls that name it as their parent",
            "host": life.host,
        }
        yield from ((name, str(value)) for name, value in known.items() if value is not None)

    def _node(self, node: Node) -> Shown:
        # At most _DEPTH deep.
        return self._row(node.life, tuple(map(self._node, node.children)), node.more)

    def _row(self, life: Life, children: tuple[Shown, ...] = (), more: int = 0) -> Shown:
        where = self._tree.places.get(life.begun)
        begin = (life.begun.at - self._first) * _WIDE // self._length
        end = _WIDE if life.ended is None else (life.ended - self._first) * _WIDE // self._length
        return Shown(
            name=(life.exe or "?").rpartition("/")[2] or "?",
            pid=life.begun.pid,
            command=drawing.command(life),
            user=drawing.who(life, self._user),
            place="" if where is None else _container(where) or where.unit or "",
            time=drawing.time_text(life.begun.at),
            outcome=drawing.outcome(life),
            is_exact=life.is_exact,
            is_bad=life.signal is not None or bool(life.exit_code),
            address=f"/process?{_query(life)}",
            begin=begin,
            wide=max(4, end - begin),
            children=children,
            more=more,
        )


def _query(life: Life) -> str:
    return urlencode({"host": life.host or "", "id": life.begun.id})


def _container(place: Place) -> str | None:
    return place.container_name or (place.container[:12] if place.container else None)


def _words(argv: list[str] | None) -> str:
    return "" if argv is None else " ".join(argv)


def _lives(node: Node) -> Iterator[Life]:
    yield node.life
    for child in node.children:
        yield from _lives(child)


def _ends(life: Life) -> list[int]:
    return [life.begun.at, life.ended or life.begun.at]


def _last(life: Life) -> int:
    return life.begun.at if life.ended is None else life.ended
