"""Draws trees of processes as text, and gives them as values for JSON.

    2026-11-28 14:30:00.100  alice  make[4711] make -j2               exited 0, 1.2 s
    2026-11-28 14:30:00.150  alice  |- sh[4712] sh -c 'cc -c a.c'     exited 1, 100 ms
    2026-11-28 14:30:00.154  alice  |  `- cc[4713] cc -c a.c          killed by SIGSEGV, 80 ms

Hidden characters of names and arguments are escaped.
"""

from __future__ import annotations

import shlex
import signal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len

from auditsvc.host.terminal import visible
from auditsvc.host.users import Users, as_name
from auditsvc.plural import counted
from auditsvc.render.colour import FAILED, marked
from auditsvc.render.fit import hanging
from auditsvc.store.read.events import second_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from auditsvc.processes.report import Node, Tree
    from auditsvc.store.read.process_details import Life

    UserName = Callable[[str | None, int], str | None]
    """Name of a uid on a host now, if none was recorded then; None if it has none."""

_LONGEST: Final = 400
"""Characters of a command line."""
_ROOM: Final = 90
"""Columns that a command takes before its outcome, where it is shorter."""
_LEAST_ROOM: Final = 30
"""Columns that a process has on a terminal, however deep in the tree it is."""


def users_of(own: str) -> UserName:
    """Give the names of users, which only this host's (named `own`) have here."""
    users = Users()
    return lambda host, uid: users.name(uid) if host == own else None


def draw(
    trees: Iterable[Tree], user: UserName, *, coloured: bool = False, width: int | None = None
) -> Iterator[str]:
    """Give the lines; between two trees an empty one.

    `coloured`: what failed is marked. `width`: columns of a terminal; a process that needs more
    has several lines, the further ones below its command.
    """
    line = partial(_lines, user=user, coloured=coloured, width=width)
    for number, tree in enumerate(trees):
        if number:
            yield ""
        for generation, life in enumerate(tree.ancestors):
            begin = "   " * max(0, generation - 1)
            yield from line(life, f"{begin}{'`- ' if generation else ''}", "   " * generation)
        depth = len(tree.ancestors)
        begin = "   " * max(0, depth - 1)
        waiting: list[tuple[Node, str, str]] = [
            (tree.root, begin + ("`- " if depth else ""), begin + ("   " if depth else ""))
        ]
        while waiting:
            node, lead, below = waiting.pop()
            children = list(node.children)
            yield from line(node.life, lead, below + ("|" if children or node.more else ""))
            if node.more:
                yield f"{'':23}  {'':8}  {below}({counted(node.more, 'process', 'processes')} more)"
            for place, child in enumerate(reversed(children)):
                last = not place
                waiting.append(
                    (child, below + ("`- " if last else "|- "), below + ("   " if last else "|  "))
                )


def as_values(tree: Tree) -> dict[str, Any]:
    """Give a tree as JSON has it: `processes` in the order of the drawing, each with its depth."""
    found = []
    waiting = [(tree.root, 0)]
    while waiting:
        node, depth = waiting.pop()
        found.append(_values(node.life) | {"depth": depth, "more": node.more})
        waiting += [(child, depth + 1) for child in reversed(node.children)]
    return {"ancestors": [_values(life) for life in tree.ancestors], "processes": found}


def _values(life: Life) -> dict[str, Any]:
    begun = life.begun
    return {
        "process_id": begun.id,
        "host": life.host,
        "pid": begun.pid,
        "ppid": begun.ppid,
        "known_by": "clone" if life.is_exact else "inferred",
        "began": time_text(begun.at),
        "ended": None if life.ended is None else time_text(life.ended),
        "exit_code": life.exit_code,
        "signal": life.signal,
        "auid": life.auid,
        "uid": life.uid,
        "auid_name": life.auid_name,
        "uid_name": life.uid_name,
        "ses": life.ses,
        "exe": life.exe,
        "execs": [
            {"event_id": each.event, "time": time_text(each.at), "exe": each.exe, "argv": each.argv}
            for each in life.execs
        ],
    }


def _lines(
    life: Life, lead: str, below: str, *, user: UserName, coloured: bool, width: int | None
) -> Iterator[str]:
    """Give the lines of a process: `lead` stands before the first, `below` before the others."""
    name = (life.exe or "?").rpartition("/")[2] or "?"
    program = f"{'' if life.is_exact else '~'}{visible(name)}[{life.begun.pid}]"
    what = f"{program} {command(life)}".rstrip()
    begun = f"{time_text(life.begun.at)}  {who(life, user):8}  "
    ended = outcome(life)
    mark = FAILED if coloured and (life.signal is not None or life.exit_code) else None
    if (
        width is None
        or cell_len(begun) + max(_ROOM, cell_len(lead + what)) + 2 + cell_len(ended) <= width
    ):
        yield f"{begun}{lead + what:{_ROOM}}  {marked(ended, mark)}".rstrip()
        return
    room = max(_LEAST_ROOM, width - cell_len(begun) - len(lead))
    before = begun + lead
    for line in hanging(
        [(what, None), *([(ended, mark)] if ended else [])], room, len(program) + 1
    ):
        yield before + line
        before = " " * cell_len(begun) + below.ljust(len(lead))


def command(life: Life) -> str:
    """Write the arguments of its last exec, at most `_LONGEST` characters of them."""
    if life.argv is None:
        return ""
    text = visible(shlex.join(life.argv[:_LONGEST]))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def who(life: Life, user: UserName) -> str:
    """Write who it was: the user, and who had logged in if that is another."""

    def name(uid: int, recorded: str | None) -> str:
        known = recorded or user(life.host, uid)
        return visible(as_name(known)) if known else str(uid)

    if life.uid is None:
        return "?"
    own = name(life.uid, life.uid_name)
    if life.auid is None or life.auid == life.uid:
        return own
    return f"{name(life.auid, life.auid_name)} as {own}"


def outcome(life: Life) -> str:
    """Write how it ended and after which time; "" if it did not."""
    if life.ended is None:
        return ""
    if life.signal is not None:
        how = f"killed by {_signal(life.signal)}"
    elif life.exit_code is None:
        how = "ended"
    else:
        how = f"exited {life.exit_code}"
    return f"{how}, {duration(life.ended - life.begun.at)}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def duration(ms: int) -> str:
    """Write a time span."""
    if ms < 1000:
        return f"{ms} ms"
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def time_text(ms: int) -> str:
    """Write a time as the views show it; UTC."""
    try:
        second = second_text(ms // 1000)
    except (ValueError, OverflowError):
        return f"@{ms // 1000}"
    return f"{second}.{ms % 1000:03d}"
