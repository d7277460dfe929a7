"""A database server on this host must not feed the store with its own calls.

Every row that is written makes the server call the kernel; were those calls audited,
each would become a row, and so on for ever. Worse, the server could be put to sleep by
a full audit queue that waits for rows to be written. So while the service runs, the
processes of that server are excluded: the postmaster and its children (ppid), on the
exit and io_uring lists. What this costs: the calls of that server, also on behalf of
its other clients, are not in the evidence. `run` says so in its log. The rules go when
the service stops, and as soon as the server is gone: its pid may become another's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text

from auditsvc.host.processes import started as started_at
from auditsvc.rule import Add, parse
from auditsvc.store.database import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.forward.process import Child
    from auditsvc.kernel.session import Session
    from auditsvc.store import Store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Server:
    """A postmaster on this host; `started` (ticks since boot) tells it from a later process."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return started_at(self.pid) == self.started


def local_server(store: Store) -> Server | None:
    """Give the postmaster if the store's server runs on this host and can be seen."""
    if store.engine.dialect.name != "postgresql":
        return None
    with transaction(store.database) as connection:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        # While the connection is open the backend is alive; the name guards against a
        # server elsewhere whose backend happens to have the number of a process of ours.
        folder = Path("/proc") / str(int(backend))
        try:
            if not (folder / "cmdline").read_bytes().startswith(b"postgres: "):
                return None
            status = (folder / "status").read_text()
        except OSError:
            return None
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "PPid":
            started = started_at(int(value))
            return None if started is None else Server(int(value), started)
    return None


def excluded(server: Server | None) -> list[Add]:
    """Rules that leave the server's processes out; none if there is no server here."""
    return [] if server is None else _never("pid", server.pid) + _never("ppid", server.pid)


def excluded_process(pid: int | None) -> list[Add]:
    """Rules that leave one process out, such as our own forwarder; none if there is none."""
    return [] if pid is None else _never("pid", pid)


def _never(field: str, pid: int) -> list[Add]:
    lines = (f"-A {which},never -F {field}={pid}" for which in ("exit", "io_uring"))
    commands = [line.command for line in parse("\n".join(lines), "exclusion")]
    return [command for command in commands if isinstance(command, Add)]


class Exclusions:
    """The rules that a run needs: its own, and those that leave its helpers out."""

    def __init__(self, rules: Sequence[Add], forwarder: Child | None) -> None:
        self.server: Server | None = None
        """The store's, if it runs on this host; the loader's thread sets it."""
        self._rules = rules
        self._forwarder = forwarder
        self._excluded: Server | None = None
        self._forwarder_pid: int | None = None

    def begin(self) -> list[Add]:
        """Give all rules for the beginning of a session."""
        self._excluded = self.server
        return self._all()

    def look(self, store: Store) -> None:
        """See where the server of a store that was opened runs."""
        self.server = local_server(store)

    def watch(self, session: Session | None) -> bool:
        """Exclude the server and the forwarder for as long as they live; whether rules changed."""
        changed = self._watch_server(session)
        return self._watch_forwarder(session) or changed

    def warn(self, session: Session | None) -> None:
        """Log whose calls are left out, or should be."""
        if self._excluded is not None and session is not None:
            log.warning(
                "the store's server runs on this host: its own calls are not audited",
                pid=self._excluded.pid,
            )
        elif self.server is not None and session is None:
            log.warning(
                "the store's server runs on this host: leave it out of the rules, or it is fed "
                "with its own calls",
                pid=self.server.pid,
            )

    def _all(self) -> list[Add]:
        own = excluded_process(self._forwarder_pid)
        return [*excluded(self._excluded), *own, *self._rules]

    def _watch_server(self, session: Session | None) -> bool:
        if session is None:
            return False
        server = self.server if self.server is not None and self.server.alive else None
        if server == self._excluded:
            return False
        self._excluded = server
        session.hold(self._all())
        self.warn(session)
        return True

    def _watch_forwarder(self, session: Session | None) -> bool:
        if self._forwarder is None:
            return False
        self._forwarder.watch()
        if session is None or self._forwarder.pid == self._forwarder_pid:
            return False
        self._forwarder_pid = self._forwarder.pid
        session.hold(self._all())
        return True
