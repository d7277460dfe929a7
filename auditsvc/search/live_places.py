"""Where events that arrive just now were made, in which container and unit, by /proc.

Who follows a spool has not the records from which the store tells where a process is: they may
be from hours before. But its processes run, or have just ended: /proc/PID/cgroup is read for each
event. A process that has ended before is where it was when it was last read, or else where its
parent is.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.enrich.cgroup_watch import read_cgroup
from auditsvc.enrich.cgroups import place_of
from auditsvc.enrich.containers import Known, look_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.store.read.events import Event

_MOST: Final = 10_000
"""Processes that are kept in mind."""


class Where(NamedTuple):
    """Where a process is; None where nothing tells."""

    container: str | None = None
    """Its id."""
    name: str | None = None
    """The container's name, if its runtime tells."""
    unit: str | None = None


NOWHERE: Final = Where()


class LivePlaces:
    """Tells where the processes of this host are."""

    def __init__(
        self,
        host: str,
        *,
        read: Callable[[int], bytes | None] = read_cgroup,
        known: Callable[[str, str], Known] = look_up,
    ) -> None:
        """`host` is this host's name in the store; `read` gives a process's groups, if it runs."""
        self._host = host
        self._read = read
        self._container = lru_cache(1024)(known)
        self._told = lru_cache(1024)(self._tell)
        self._last: OrderedDict[int, bytes] = OrderedDict()

    def of_event(self, event: Event) -> Where:
        """Give where the process of an event is."""
        row: Any = event.event if event.call is None else event.call.context
        return self.of(event.host, row["pid"], row.get("ppid"))

    def of(self, host: str | None, pid: int | None, parent: int | None) -> Where:
        """Give where a process is, or its parent; of one of another host nothing tells."""
        if host != self._host:
            return NOWHERE
        text = self._groups(pid)
        if text is None:
            text = self._groups(parent)
        return NOWHERE if text is None else self._told(text)

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

    def _tell(self, text: bytes) -> Where:
        found = place_of(text)
        if found is None:
            return NOWHERE
        name = None
        if found.container is not None and found.runtime is not None:
            name = self._container(found.container, found.runtime).name
        return Where(found.container, name, found.unit)
