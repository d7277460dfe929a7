"""A database server on this host must not feed the store with its own calls.

Every row that is written makes the server call the kernel; were those calls audited,
each would become a row, and so on for ever. Worse, the server could be put to sleep by
a full audit queue that waits for rows to be written. So while the service runs, the
processes of that server are excluded: the postmaster and its children (ppid), on the
exit and io_uring lists. What this costs: the calls of that server, also on behalf of
its other clients, are not in the evidence. `run` says so in its log, and the rules go
when the service stops.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from auditsvc.rule import Add, parse

if TYPE_CHECKING:
    from auditsvc.store import Store


def local_server(store: Store) -> int | None:
    """Give the postmaster's pid if the store's server runs on this host and can be seen."""
    if store.engine.dialect.name != "postgresql":
        return None
    with store.engine.connect() as connection:
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
            return int(value)
    return None


def excluded(server: int | None) -> list[Add]:
    """Rules that leave the server's processes out; none if there is no server here."""
    if server is None:
        return []
    lines = (
        f"-A {which},never -F {field}={server}"
        for which in ("exit", "io_uring")
        for field in ("pid", "ppid")
    )
    commands = [line.command for line in parse("\n".join(lines), "exclusion")]
    return [command for command in commands if isinstance(command, Add)]
