"""Whether events that arrive just now were made in a container or unit, by /proc.

Who follows a spool has not the records from which the store tells where a process is: they may
be from hours before. But its processes run, or have just ended: /proc/PID/cgroup is read for each
event. A process that has ended before is where it was when it was last read, or else where its
parent is.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from auditsvc.enrich.cgroup_watch import read_cgroup
from auditsvc.enrich.cgroups import place_of
from auditsvc.enrich.containers import Known, look_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.search.places import Place
    from auditsvc.store.read.events import Event

_MOST: Final = 10_000
"""Processes that are kept in mind."""


class LivePlaces:
    """Tells it for one place on this host."""

    def __init__(
        self,
        place: Place,
        host: str,
        *,
        read: Callable[[int], bytes | None] = read_cgroup,
        known: Callable[[str, str], Known] = look_up,
    ) -> None:
        """`host` is this host's name in the store; `read` gives a process's groups, if it runs."""
        self._place = place
        self._host = host
        self._read = read
        self._container = lru_cache(1024)(known)
        self._is_there = lru_cache(1024)(self._judge)
        self._last: OrderedDict[int, bytes] = OrderedDict()

    def has(self, event: Event) -> bool:
        """Whether the process of an event is there; False if nothing tells where it is."""
        if event.host != self._host:
            return False
        row: Any = event.event if event.call is None else event.call.context
        text = self._groups(row["pid"])
        if text is None:
            text = self._groups(row.get("ppid"))
        return text is not None and self._is_there(text)

    def _groups(self, pid: int | None) -> bytes | None:
        if not pid:
            return None
        text = self._read(pid)
        if text is None:
            return self._last.get(pid)
        self._last[pid] = text
        self._last.move_to_end(pid)
        if len(self._last) > _MOST:
            self._last.popitem(last=False)
        return text

    def _judge(self, text: bytes) -> bool:
        found = place_of(text)
        if found is None:
            return False
        name = None
        if found.container is not None and found.runtime is not None:
            name = self._container(found.container, found.runtime).name
        return self._place.takes(found.container, name, found.unit)
