"""Runs the installed auditsvc as its users do: `run` as a process of its own, `query` for rows.

    with Service(folder, rules) as service:      # ready: registered, rules loaded
        ...                                       # what is to be audited
    rows = service.query("SELECT * FROM syscalls")   # stopped: everything drained is stored

The service keeps its store, spool and state in `folder`, and nothing else of the
machine's configuration reaches it. It is forked from a process that has its modules already
(`fixtures.commands`), unless `by_exec` is given or its command is changed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, ClassVar, Self

from fixtures import commands
from fixtures.commands import AUDITSVC
from fixtures.stores import new_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

Row = dict[str, Any]

READY_SECONDS = 120.0
STOP_SECONDS = 120.0


def cli(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run one `auditsvc` command and return what it printed; it must succeed."""
    done = commands.run(*arguments, environment=environment, text=True)
    command = " ".join(arguments)
    assert done.returncode == 0, f"auditsvc {command}: status {done.returncode}\n{done.stderr}"
    return done.stdout


def status_of(service: Service) -> str:
    """Give what `auditsvc status` prints of a service, which must be well."""
    return cli("status", "--store", service.store, environment=service.environment)


def is_ready(line: str) -> bool:
    """Whether this line of `run`'s log on stderr says that it is ready."""
    try:
        return bool(json.loads(line).get("event") == "ready")
    except (ValueError, AttributeError):
        return re.search(r"(?:^|\s|event=)['\"]?ready\b", line) is not None


class Service:
    """One run of the service; a context manager that begins it and stops it by SIGTERM."""

    begun: ClassVar[list[subprocess.Popen[bytes]]] = []
    """Every process of all of them, in order."""

    def __init__(
        self,
        folder: Path,
        rules: str,
        *,
        store: str | None = None,
        source: str = "netlink",
        options: Sequence[str] = (),
        by_exec: bool = False,
    ) -> None:
        """Take the text of its rules and the store's URL; else it begins with an empty one."""
        self.folder = folder
        self._by_exec = by_exec
        self._is_begun = store is not None
        self.store = store or f"sqlite:///{folder}/auditsvc.db"
        self.log = folder / "run.log"
        rule_file = folder / "live.rules"
        rule_file.write_text(rules)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("AUDITSVC_")
        } | {
            "AUDITSVC_STATE_DIRECTORY": str(folder / "state"),
            "AUDITSVC_RUNTIME_DIRECTORY": str(folder / "run"),
        }
        self.command = [
            str(AUDITSVC),
            "run",
            "--store",
            self.store,
            "--rules",
            str(rule_file),
            "--source",
            source,
            *options,
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        status = self.stop()
        if kind is None:
            assert status == 0, f"`auditsvc run` ended with {status}:\n{self.log.read_text()}"

    def begin(self) -> None:
        """Start it and wait until it says that it is ready."""
        if not self._is_begun and not (self.folder / "auditsvc.db").exists():
            new_store(self.folder / "auditsvc.db")
        self._is_begun = True
        with self.log.open("wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            program, *words = self.command
            if self._by_exec or program != str(AUDITSVC):
                self.process = subprocess.Popen(self.command, env=self.environment, **streams)
            else:
                self.process = commands.Begun(*words, environment=self.environment, **streams)
        self.begun.append(self.process)
        ends = time.monotonic() + READY_SECONDS
        while True:
            status = self.process.poll()  # before the log: who is ready may end at once
            if any(is_ready(line) for line in self.log.read_text().splitlines()):
                break
            if status is not None:
                raise AssertionError(f"{self.command} ended with {status}:\n{self.log.read_text()}")
            if time.monotonic() > ends:
                self.stop()
                raise AssertionError(f"{self.command} is not ready:\n{self.log.read_text()}")
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it by a signal and return its exit status; killed after STOP_SECONDS."""
        process = self.process
        assert process is not None
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def segments(self) -> list[Path]:
        """Files of its spool now, in their order; no line goes from one to the next."""
        return sorted((self.folder / "state/spool").glob("*.log"))

    def spooled(self) -> bytes:
        """All that stands in its spool now."""
        return b"".join(path.read_bytes() for path in self.segments())

    def query(self, sql: str) -> list[Row]:
        """Rows of one SQL statement."""
        lines = cli(
            "query", sql, "--store", self.store, "--format", "jsonl", environment=self.environment
        )
        return [json.loads(line) for line in lines.splitlines()]

    def ledger(self) -> dict[str, int]:
        """Sum the ledger's counts by cause, over all sources."""
        rows = self.query("SELECT cause, sum(count) AS count FROM ledger GROUP BY cause")
        return {row["cause"]: int(row["count"]) for row in rows}


def as_json(value: object) -> Any:
    """Read a column that holds JSON: text on SQLite, already a value on PostgreSQL."""
    return json.loads(value) if isinstance(value, str) else value
