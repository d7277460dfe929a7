"""Rules that exclude a local database server, the loader and the forwarder from auditing.

Each row that is written makes the server call the kernel. If these calls were audited, each
would become another row, without end. Worse, a full audit queue could block the server, while
the queue waits for rows to be written. So while the service runs, the processes of the server
are excluded: the postmaster and its children (ppid), on the exit and io_uring lists. The cost:
calls of that server, also for its other clients, and of all other children of the postmaster
are not in the evidence. `run` says so in its log. The rules are deleted when the service stops,
and as soon as the server has ended, as its pid may be reused.

Only a server that is proved to be a process of this host is excluded
(`auditsvc.service.local_server`); for any other, `run` says why it is not excluded. The rules
have a key that says their purpose, so that the kernel's record of the change, `rules list` and
the guard can distinguish them from the rules of the settings.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import structlog

from auditsvc.errors import AuditsvcError
from auditsvc.rule import Add, parse
from auditsvc.service.local_server import (
    SERVER_USER,
    Server,
    UnprovedError,
    local_server,
    prove,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from auditsvc.forward.process import Child
    from auditsvc.kernel.session import Session
    from auditsvc.service.remote_loader import RemoteLoader
    from auditsvc.store import Store

log = structlog.get_logger()

SERVER_KEY: Final = "auditsvc-server"
FORWARDER_KEY: Final = "auditsvc-forwarder"
LOADER_KEY: Final = "auditsvc-loader"
KEYS: Final = (SERVER_KEY, FORWARDER_KEY, LOADER_KEY)
"""Keys of the exclusion rules, which say their purpose."""


def excluded(server: Server | None) -> list[Add]:
    """Give the rules that exclude the server's processes; empty if there is no server here."""
    if server is None:
        return []
    return [rule for field in ("pid", "ppid") for rule in _never(field, server.pid, SERVER_KEY)]


def excluded_process(pid: int | None, purpose: str = FORWARDER_KEY) -> list[Add]:
    """Give the rules that exclude a process of ours; empty if there is none."""
    return [] if pid is None else _never("pid", pid, purpose)


def _never(field: str, pid: int, purpose: str) -> list[Add]:
    lines = (f"-A {which},never -F {field}={pid} -k {purpose}" for which in ("exit", "io_uring"))
    commands = [line.command for line in parse("\n".join(lines), "exclusion")]
    return [command for command in commands if isinstance(command, Add)]


class Exclusions:
    """The rules that a run needs: those of the settings, and the exclusion rules."""

    def __init__(
        self, rules: Sequence[Add], forwarder: Child | None, server_user: str = SERVER_USER
    ) -> None:
        """`server_user` is who the store's server must run as to be excluded."""
        self.server: Server | None = None
        """The store's server, if it runs on this host; set by the loader's thread."""
        self._rules = rules
        self._unproved = ""
        self._opened = False
        self._forwarder = forwarder
        self._server_user = server_user
        self._excluded: Server | None = None
        self._forwarder_pid: int | None = None
        self._loader: RemoteLoader | None = None
        self._loader_pid: int | None = None
        self._prover: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Make the thread that proves, with the capabilities and the signals of this thread.

        A proof needs the programs of other users' processes: the loader's thread may not see them.
        """
        self._prover = ThreadPoolExecutor(1, "prover")
        self._prover.submit(int)

    def set_loader(self, loader: RemoteLoader | None) -> None:
        """Exclude the loader's process from now on, and each one that comes after it."""
        self._loader = loader

    def begin(self) -> list[Add]:
        """Give all rules for the beginning of a session."""
        self._excluded = self.server
        self._loader_pid = None if self._loader is None else self._loader.pid
        return self._all()

    def change(self, rules: Sequence[Add], session: Session | None) -> None:
        """Hold these rules of the settings instead; KernelError, and then the old ones stay."""
        old, self._rules = self._rules, rules
        if session is not None:
            try:
                session.set_rules(self._all())
            except AuditsvcError:
                self._rules = old
                raise

    def look(self, store: Store) -> None:
        """See where the server of a store that was opened runs; the forwarder may begin."""
        self._look(lambda: local_server(store, self._prove))

    def look_at(self, connection: socket.socket | None, backend: int) -> None:
        """Do the same for a loader's process: its connection, and the pid that the server says."""
        self._look(lambda: None if connection is None else self._prove(connection, backend))

    def _look(self, find: Callable[[], Server | None]) -> None:
        unproved = ""
        try:
            self.server = find()
        except UnprovedError as error:
            self.server, unproved = None, str(error)
        if unproved and unproved != self._unproved:
            log.warning(
                "the store's server is not left out of the rules: it is not proved to be a "
                "process of this host",
                why=unproved,
            )
        self._unproved = unproved
        self._opened = True

    def _prove(self, ours: socket.socket, backend: int) -> Server:
        if self._prover is None:
            return prove(ours, backend, self._server_user)
        return self._prover.submit(prove, ours, backend, self._server_user).result()

    def watch(self, session: Session | None) -> bool:
        """Exclude server, loader and forwarder while they run; gives whether rules changed."""
        changed = self._watch_server(session)
        changed = self._watch_loader(session) or changed
        return self._watch_forwarder(session) or changed

    def warn(self, session: Session | None) -> None:
        """Log which processes are excluded, or should be."""
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
        forwarder = excluded_process(self._forwarder_pid)
        loader = excluded_process(self._loader_pid, LOADER_KEY)
        return [*loader, *excluded(self._excluded), *forwarder, *self._rules]

    def _watch_server(self, session: Session | None) -> bool:
        if session is None:
            return False
        server = self.server if self.server is not None and self.server.alive else None
        if server == self._excluded:
            return False
        self._excluded = server
        session.set_rules(self._all())
        self.warn(session)
        return True

    def _watch_loader(self, session: Session | None) -> bool:
        """Keep the loader's process running; the rules of one that ended go before its pid."""
        if self._loader is None:
            return False
        changed = self._note_loader(session)
        self._loader.watch()
        changed = self._note_loader(session) or changed
        self._loader.release()
        return changed

    def _note_loader(self, session: Session | None) -> bool:
        assert self._loader is not None
        pid = self._loader.pid
        if session is None or pid == self._loader_pid:
            return False
        self._loader_pid = pid
        session.set_rules(self._all())
        return True

    def _watch_forwarder(self, session: Session | None) -> bool:
        if self._forwarder is None or not self._opened:
            return False
        self._forwarder.watch()
        if session is None or self._forwarder.pid == self._forwarder_pid:
            return False
        self._forwarder_pid = self._forwarder.pid
        session.set_rules(self._all())
        return True
