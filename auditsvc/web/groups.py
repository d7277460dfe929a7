"""Processes that have a container, a systemd unit or a session in common.

Our service records the control group of a process that is in another one than its parent
(`auditsvc.enrich.cgroup_watch`): these are the processes that are found here, the first of each
tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.processes import drawing
from auditsvc.search.dialect import literal
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.read.process_details import described
from auditsvc.store.read.processes import host_ids, life_at, newest_of_session
from auditsvc.web.deeds import calls_of_life

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from auditsvc.store.read.process_details import Life
    from auditsvc.store.read.processes import Begun
    from auditsvc.web.asking import Asking
    from auditsvc.web.period import Period
    from auditsvc.web.subjects import Subject

_MOST: Final = 50
_OF_SESSION: Final = 200
"""Processes of a session that are looked at."""
_BUSY: Final = 5
"""Processes whose last calls are looked for."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the group."""

    life: Life
    name: str
    command: str
    time: str
    outcome: str
    address: str

    @property
    def second(self) -> int:
        """When it began."""
        return self.life.begun.at // 1000


def members(asking: Asking, subject: Subject, period: Period) -> tuple[list[Member], bool]:
    """Give the newest first, and whether they are all."""
    value = literal(subject.value)
    get = asking.dialect.store.json_get
    names = ("container", "name") if subject.kind == "container" else ("unit",)
    is_it = " OR ".join(f"{get.format('t.value', name)} = {value}" for name in names)
    if subject.kind == "container":
        # By the beginning of its id too, as the programs for containers have it.
        is_it += f" OR substr({get.format('t.value', 'container')}, 1, 12) = {value}"
    low, high = period.span.low * 1000, period.span.high * 1000 + 999
    sql = (
        "SELECT g.host, g.pid, g.at FROM process_cgroup g"  # noqa: S608 - numbers, a literal
        f" JOIN event e ON e.id = ((g.at / 1000) << {SERIAL_BITS}) | g.low"
        f" JOIN text t ON t.id = e.fields WHERE g.at BETWEEN {low} AND {high} AND ({is_it})"
        f" ORDER BY g.at DESC LIMIT {_MOST + 1}"
    )
    rows = asking.rows(sql, _MOST)
    with open_store(asking.url, read=True) as store, reading(store.database) as connection:
        found = [life_at(connection, *map(int, row)) for row in rows.rows]
        lives = list(dict.fromkeys(each for each in found if each is not None))
        return _described(connection, lives), not rows.more


def of_session(asking: Asking, subject: Subject, period: Period) -> tuple[list[Member], bool]:
    """Give the processes of a session of which none is another's child, the newest first.

    And whether they are of all its processes.
    """
    with open_store(asking.url, read=True) as store, reading(store.database) as connection:
        hosts = host_ids(connection, None)
        lives, is_all = newest_of_session(
            connection, hosts, subject.number or 0, period.span, _OF_SESSION
        )
        shown = lives[: -_MOST - 1 : -1]
        return _described(connection, shown), is_all and len(shown) == len(lives)


def newest_calls(asking: Asking, found: list[Member], most: int) -> list[int]:
    """Give the ids of the newest calls of the newest processes."""
    ids: set[int] = set()
    for each in found[:_BUSY]:
        ids.update(calls_of_life(asking, each.life, most)[0])
    return sorted(ids)[-most:]


def _described(connection: Connection, lives: list[Begun]) -> list[Member]:
    known = described(connection, lives)
    return [_member(known[each]) for each in lives]


def _member(life: Life) -> Member:
    name = (life.exe or "?").rpartition("/")[2] or "?"
    return Member(
        life,
        f"{name}[{life.begun.pid}]",
        drawing.command(life),
        drawing.time_text(life.begun.at),
        drawing.outcome(life),
        f"/process?{urlencode({'host': life.host or '', 'id': life.begun.id})}",
    )
