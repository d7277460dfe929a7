"""Programs that read the kernel's records: to start, to stop, and the resources they use.

    with reader.started(folder, auid, control) as running:
        ...                  # audited work of that login uid
        running.catch_up()   # until this reader has written all of it

All readers get the same rule (all calls of one login uid), the same backlog limit and, if
it can be set, the same socket buffer.
"""

from __future__ import annotations

import sqlite3
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from live.auditd import Auditd
from live.programs import rules
from live.service import Service
from measure import cpu_seconds, named, peak_bytes, tree
from peers import LAUREL, built, laurel_config

from auditsvc.rule import Add, parse
from auditsvc.spool.segments import Place, backlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from auditsvc.kernel import Control

BACKLOG: Final = 16384
_QUIET: Final = 0.25
_LONGEST: Final = 120.0

Start = "Callable[[Path, int, Control], AbstractContextManager[Running]]"


@dataclass
class Running:
    """A running reader."""

    pid: int
    server: int | None = None
    """The database server that it uses."""
    service: Service | None = None
    """If it is auditsvc."""

    def pids(self) -> list[int]:
        """All its processes, its server's too."""
        return tree(self.pid) + (tree(self.server) if self.server else [])

    def cpu(self) -> float:
        """CPU seconds so far of its processes and of the kernel's thread that feeds it."""
        while True:
            try:
                return cpu_seconds([*self.pids(), named("kauditd")])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended: its parent has its seconds now

    def peak(self) -> int:
        """Peak memory of its own processes, without a server."""
        return peak_bytes(tree(self.pid))

    def catch_up(self, longest: float = _LONGEST) -> float:
        """Wait until all records are written; give when that was (perf_counter)."""
        return self._stored(longest) if self.service else self._quiet()

    def settle(self) -> None:
        """Wait until it has nothing more to do."""
        self._quiet()

    def _quiet(self) -> float:
        last, since = self.cpu(), time.perf_counter()
        ends = since + _LONGEST
        while time.perf_counter() < ends:
            time.sleep(_QUIET)
            now = self.cpu()
            if now - last <= 0.011:  # one tick of the clock
                return since
            last, since = now, time.perf_counter()
        raise SystemExit("the reader does not come to rest")

    def _stored(self, longest: float) -> float:
        assert self.service
        spool = self.service.folder / "state/spool"
        ends = time.perf_counter() + longest
        since = size = 0.0
        # Of this spool only: the store may have had others before.
        statement = (
            f"SELECT segment, position FROM source WHERE kind = 'spool' AND name LIKE '{spool}#%'"
        )
        with asking(self.service.store, statement) as ask:
            while time.perf_counter() < ends:
                now = sum(map(_size, spool.glob("audit-*.log")))
                row = ask()
                waiting = backlog(spool, Place(int(row[0] or 0), row[1]) if row else Place())
                if waiting or now != size:
                    since = 0.0
                elif not since:
                    since = time.perf_counter()
                elif time.perf_counter() - since > 0.1:
                    return since
                size = now
                time.sleep(0.01)
        raise SystemExit("auditsvc does not catch up")


def _size(path: Path) -> int:
    """Give the bytes of a segment; it may have been loaded and deleted meanwhile."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


@contextmanager
def asking(url: str, statement: str) -> Iterator[Callable[[], tuple[Any, ...] | None]]:
    """Give a function that runs the same query repeatedly, over one connection.

    A new connection each time would cost a server more than the rows that are measured.
    """
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=10)
        try:
            yield lambda: connection.execute(statement).fetchone()
        finally:
            connection.close()
    else:
        with psycopg.connect(url, autocommit=True) as server:
            yield lambda: server.execute(statement).fetchone()


@contextmanager
def ruled(control: Control, auid: int) -> Iterator[None]:
    """Load the rule that auditsvc would load itself."""
    commands = [line.command for line in parse(rules(auid), "benchmark")]
    added = [command.rule for command in commands if isinstance(command, Add)]
    control.set(enabled=1, backlog_limit=BACKLOG)
    for rule in added:
        control.add_rule(rule)
    try:
        yield
    finally:
        for rule in added:
            control.delete_rule(rule)


@contextmanager
def nothing_kept() -> Iterator[int]:
    """Be the audit daemon, and read and discard records; gives the pid."""
    process = subprocess.Popen([built("null_reader")], stdout=subprocess.PIPE)
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline() == b"ready\n", "the null reader did not start"
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def null_reader(folder: Path, auid: int, control: Control) -> Iterator[Running]:
    """Wakes up for every record and discards it."""
    del folder
    with nothing_kept() as pid, ruled(control, auid):
        yield Running(pid)


@contextmanager
def auditd(folder: Path, auid: int, control: Control) -> Iterator[Running]:
    """Debian's auditd, raw log, synced as Debian configures it."""
    with Auditd(folder, flush="INCREMENTAL_ASYNC", freq=50) as daemon, ruled(control, auid):
        assert daemon.process
        yield Running(daemon.process.pid)


@contextmanager
def auditd_with_laurel(folder: Path, auid: int, control: Control) -> Iterator[Running]:
    """The same auditd, with laurel as its plugin."""
    config = laurel_config(folder)
    daemon = Auditd(
        folder,
        plugin=LAUREL,
        arguments=f"--config {config}",
        flush="INCREMENTAL_ASYNC",
        freq=50,
    )
    with daemon, ruled(control, auid):
        assert daemon.process
        ends = time.monotonic() + 10
        while not (folder / "laurel.json").exists():
            assert time.monotonic() < ends, "auditd did not start laurel"
            time.sleep(0.05)
        pid = daemon.process.pid
        plugins = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        yield Running(pid)
    # A plugin still runs after auditd has ended, and writes to a folder that is deleted.
    ends = time.monotonic() + 60
    while any(Path(f"/proc/{each}").exists() for each in plugins):
        assert time.monotonic() < ends, "laurel does not end"
        time.sleep(0.05)
    assert (folder / "laurel.json").stat().st_size, "laurel wrote nothing"


def auditsvc(
    store: str | None = None, server: int | None = None
) -> Callable[[Path, int, Control], AbstractContextManager[Running]]:
    """Make the reader auditsvc, with SQLite or the given store."""

    @contextmanager
    def started(folder: Path, auid: int, control: Control) -> Iterator[Running]:
        """`auditsvc run`, spool and store."""
        control.set(backlog_limit=BACKLOG)
        with Service(folder, rules(auid), store=store, by_exec=True) as service:
            assert service.process
            yield Running(service.process.pid, server, service)

    return started
