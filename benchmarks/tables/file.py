"""A log file: how fast it is read, its size in the store, and the memory needed.

Each program reads the same log from the page cache: two that are generated, and a `real` one that
auditd has recorded. The time that it needs for a
log of one event (start-up, making a store) is subtracted, for all of them.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import recorded
from fixtures import long_logs
from fixtures.postgres_server import running as postgres
from live.service import AUDITSVC
from measure import Used, median_run, run
from peers import AUSEARCH, LAUREL, built, laurel_config
from report import Table, count, mebibytes, ratio, seconds
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from auditsvc.decode import DECODERS, make_decoder
from auditsvc.store import schema
from tables.decode import speed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fixtures.long_logs import Log
    from fixtures.postgres_server import Server

_CHUNK = 1 << 20
_SLOW = ("ausearch --raw",)
"""Programs whose time grows with the square of a log's length: they get a short one."""
_LIMITS = {"SQLite's copy, no index": False, "SQLite's copy, with the indexes": True}
"""Copies by SQLite alone: with or without the table's indexes."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    records: int
    slow_records: int


QUICK = Size(rounds=1, records=200_000, slow_records=8_000)
FULL = Size(rounds=2, records=1_500_000, slow_records=60_000)


@dataclass(frozen=True, slots=True)
class Read:
    """One program with one log."""

    speed: float
    """Records a second."""
    used: Used
    disk: float = 0.0
    """Bytes an event."""


class Files:
    """All measurements of these tables; `reads` by program and log."""

    def __init__(self, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self.logs: dict[str, Log] = {}
        self.reads: dict[str, dict[str, Read]] = {}
        self.scan: dict[str, float] = {}
        """Lines a second that memchr finds."""
        self.insert: dict[str, dict[str, float]] = {}
        """Rows of calls a second that SQLite copies from memory, by limit and log."""

    def run(self, say: Callable[[str], None]) -> None:
        """Measure everything."""
        with postgres(shared_buffers="128MB", max_wal_size="4GB") as server:
            for name in ("plain", "mixed", "real"):
                log, short, one = self._made(name)
                self.logs[name] = log
                for reader in DECODERS:
                    say(f"{name}: decode, {reader}")
                    alone = Read(speed(reader, log, self._size.rounds), Used(0, 0, 0))
                    self._keep(f"decode alone, {reader}", name, alone)
                for program, once in self._programs(server).items():
                    say(f"{name}: {program}")
                    given = short if program in _SLOW else log
                    self._keep(program, name, self._measure(once, given, one))
                done = subprocess.run(
                    [built("scan"), log.path], capture_output=True, text=True, check=True
                )
                self.scan[name] = float(done.stdout.split()[1])
                say(f"{name}: SQLite alone")
                for limit, indexed in _LIMITS.items():
                    self.insert.setdefault(limit, {})[name] = self._insert(log, indexed=indexed)
                log.path.unlink()

    def _made(self, name: str) -> tuple[Log, Log, Log]:
        """Make a log, a short one of the same kind, and one of a single event."""
        whole, short, one = (self._folder / f"{name}{n}.log" for n in ("", "-short", "-one"))
        sizes = self._size.records, self._size.slow_records
        if name == "real":
            log = recorded.make(sizes[0], whole)
            return log, recorded.beginning(log, sizes[1], short), recorded.beginning(log, 1, one)
        return (
            long_logs.make(name, sizes[0], whole),
            long_logs.make(name, sizes[1], short),
            long_logs.make(name, 1, one),
        )

    def _keep(self, program: str, log: str, read: Read) -> None:
        self.reads.setdefault(program, {})[log] = read

    def _measure(self, once: Callable[[Log], tuple[Used, float]], log: Log, one: Log) -> Read:
        sizes = []

        def used(which: Log) -> Used:
            taken, size = once(which)
            sizes.append(size)
            return taken

        start = median_run(self._size.rounds, lambda: used(one))
        whole = median_run(self._size.rounds, lambda: used(log))
        rate = log.records / max(whole.seconds - start.seconds, 1e-3)
        return Read(rate, whole, sizes[-1] / log.events)

    def _programs(self, server: Server) -> dict[str, Callable[[Log], tuple[Used, float]]]:
        out = self._folder / "out"

        def sqlite(decoder: str) -> Callable[[Log], tuple[Used, float]]:
            def once(log: Log) -> tuple[Used, float]:
                path = self._folder / "store.db"
                path.unlink(missing_ok=True)
                used = self._ingest(log, f"sqlite:///{path}", decoder)
                size = path.stat().st_size
                path.unlink()
                return used, size

            return once

        def into_postgres(log: Log) -> tuple[Used, float]:
            with server.database() as url:
                used = self._ingest(log, url, "auto")
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("CHECKPOINT")  # or the next run pays for this one
                    found = connection.execute(
                        "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
                        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                    ).fetchone()
                return used, float(found[0]) if found else 0.0

        def fields(log: Log) -> tuple[Used, float]:
            return run(built("fields"), log.path), log.size

        def bindings(log: Log) -> tuple[Used, float]:
            return run(sys.executable, Path(__file__).parent.parent / "fields.py", log.path), 0

        def laurel(log: Log) -> tuple[Used, float]:
            used = run(LAUREL, "--config", laurel_config(self._folder), stdin=log.path)
            json = self._folder / "laurel.json"
            size = json.stat().st_size
            json.unlink()
            # What newer ones remember of processes: no run shall begin with another's.
            (self._folder / "state").unlink(missing_ok=True)
            return used, size

        def ausearch(log: Log) -> tuple[Used, float]:
            with out.open("wb") as stream:
                used = run(AUSEARCH, "-if", log.path, "--raw", stdout=stream)
            return used, 0

        return {
            "auditsvc into SQLite": sqlite("auto"),
            "auditsvc into SQLite, reference": sqlite("reference"),
            "auditsvc into Postgres": into_postgres,
            "auparse, every field, C": fields,
            "auparse, every field, Python": bindings,
            "laurel to JSON": laurel,
            "ausearch --raw": ausearch,
        }

    def _ingest(self, log: Log, url: str, decoder: str) -> Used:
        settings = {"AUDITSVC_DECODER": decoder, "AUDITSVC_HOST": "host"}
        return run(AUDITSVC, "ingest", log.path, "--store", url, environment=settings)

    def _insert(self, log: Log, *, indexed: bool) -> float:
        """Copy the rows of the log's calls from memory by SQLite alone, as fast as possible."""
        decoder = make_decoder("native", secret=b"benchmark", host="host")
        with calls_alone(self._folder / "plain.db", indexed=indexed) as connection:
            rows, spent = 0, 0.0
            with log.path.open("rb") as stream:
                while data := stream.read(12 * _CHUNK):
                    decoder.feed(data, 0.0)
                    batch = decoder.take()
                    assert batch.packed
                    connection.deserialize(batch.packed.image(), name="made")
                    begin = time.perf_counter()
                    connection.execute("BEGIN")
                    copied = "INSERT OR FAIL INTO main.syscall SELECT * FROM made.syscall"
                    rows += connection.execute(copied).rowcount
                    connection.execute("COMMIT")
                    spent += time.perf_counter() - begin
        return rows / spent

    # --- what is shown ------------------------------------------------------------------

    def tables(self) -> list[Table]:
        """Give what was measured."""
        return [self._speed(), self._disk(), self._limit()]

    def _speed(self) -> Table:
        base = self.reads["auditsvc into SQLite"]
        table = Table(
            "A log file: records a second",
            ["program", *[f"{name}, records/s" for name in self.logs]]
            + [f"{name}, time against SQLite's" for name in self.logs]
            + ["CPU seconds, mixed", "peak memory, mixed"],
            "Whole programs from a file in memory, without their start-up; decoding alone is CPU"
            " time of one core, rows thrown away. EOE records count as records for all.",
        )
        for program, reads in self.reads.items():
            used = reads["mixed"].used
            slower = [ratio(base[name].speed / reads[name].speed) for name in self.logs]
            cpu = f"{used.cpu:.2f}" if used.cpu else "-"
            peak = mebibytes(used.peak) if used.peak else "-"
            speeds = [count(reads[name].speed) for name in self.logs]
            table.add(program, *speeds, *slower, cpu, peak)
        sizes = [f"{name} {log.records:,} records" for name, log in self.logs.items()]
        table.notes.append(
            f"The logs: {', '.join(sizes)}; for ausearch, which takes the square of the"
            f" length, {self._size.slow_records:,}. auparse and ausearch drop EOE, as auditd does."
        )
        return table

    def _disk(self) -> Table:
        table = Table(
            "Disk: bytes an event",
            ["form", *self.logs, *[f"{name}, share of the log" for name in self.logs]],
            "A store's whole size: facts, dimensions and all indexes.",
        )
        raw = {name: log.size / log.events for name, log in self.logs.items()}
        forms = {"raw log": raw}
        for program in ("auditsvc into SQLite", "auditsvc into Postgres", "laurel to JSON"):
            forms[program] = {name: self.reads[program][name].disk for name in self.logs}
        for form, sizes in forms.items():
            shares = [f"{sizes[name] / raw[name]:.0%}" for name in self.logs]
            table.add(form, *[f"{sizes[name]:.0f}" for name in self.logs], *shares)
        return table

    def _limit(self) -> Table:
        table = Table(
            "The limit",
            ["step", *[f"{name}, records/s" for name in self.logs]]
            + [f"{name}, time a record" for name in self.logs],
            "What the machine itself allows: `memchr` over the log's lines, and SQLite copying"
            " the same rows of calls from memory into one table, by one statement and one"
            " transaction for 12 MiB of log (counted as the records of these calls' events)."
            " It does so on one core and without syncing each transaction; auditsvc syncs, and"
            " decodes on another core meanwhile.",
        )
        speeds = {"memchr": self.scan}
        for limit, inserted in self.insert.items():
            speeds[limit] = {
                name: inserted[name] * log.records / log.events for name, log in self.logs.items()
            }
        reads = self.reads["auditsvc into SQLite"]
        speeds["auditsvc into SQLite"] = {name: reads[name].speed for name in self.logs}
        for what, of in speeds.items():
            each = [of[name] for name in self.logs]
            table.add(what, *[count(s) for s in each], *[seconds(1 / s) for s in each])
        return table


@contextmanager
def calls_alone(path: Path, *, indexed: bool) -> Iterator[sqlite3.Connection]:
    """Make the table of calls, with its indexes or without, and nothing else."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in ("page_size = 8192", "journal_mode = WAL", "synchronous = NORMAL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA cache_size = -18432")
        calls = schema.syscall
        made = [CreateTable(calls), *(CreateIndex(index) for index in calls.indexes if indexed)]
        for statement in made:
            connection.execute(str(statement.compile(dialect=sqlite_dialect())))
        connection.execute("ATTACH ':memory:' AS made")
        yield connection
    finally:
        connection.close()
        path.unlink()


def measure(*, quick: bool, folder: Path) -> Files:
    """Measure all."""
    files = Files(QUICK if quick else FULL, folder)
    files.run(lambda what: print(f"file: {what}", file=sys.stderr, flush=True))
    return files
