"""Queries: the time of common ones in a loaded store, from `query` to the last row."""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, Final

from fixtures import long_logs
from fixtures.postgres_server import running as postgres
from live.service import AUDITSVC
from measure import run
from report import Table, seconds

from auditsvc.decode import ids
from auditsvc.store.read.sql import run_query

if TYPE_CHECKING:
    from pathlib import Path


def _shown(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(second))


_SECOND: Final = long_logs.BEGIN + 2
_ROUNDS: Final = 3
QUESTIONS: Final = {
    "one second": "SELECT count(comm) FROM syscalls WHERE event_id"
    f" BETWEEN {_SECOND << ids.SERIAL_BITS} AND {_SECOND + 1 << ids.SERIAL_BITS}",
    "one second by time": "SELECT count(comm) FROM syscalls"
    f" WHERE time >= '{_shown(_SECOND)}' AND time < '{_shown(_SECOND + 1)}'",
    "last 20 by time": "SELECT time, exe, syscall FROM syscalls ORDER BY time DESC LIMIT 20",
    "all calls": "SELECT count(*) FROM syscalls",
    "one program": "SELECT count(*) FROM syscalls WHERE exe = '/usr/bin/program7'",
    "one process": "SELECT count(*) FROM syscalls WHERE pid = 1040",
    "one user's execs": "SELECT argv FROM syscalls WHERE syscall = 'execve' AND auid = 1007",
    "a file": "SELECT count(*) FROM paths WHERE name = '/usr/share/doc/file77'",
    "failures by errno": "SELECT exit, count(*) FROM syscalls WHERE success = {no} GROUP BY exit",
    "calls by name": "SELECT syscall, count(*) FROM syscalls GROUP BY syscall",
    "calls by name, `activity`": "SELECT syscall, sum(calls) FROM activity GROUP BY syscall",
    "programs, `activity`": "SELECT exe, sum(calls) FROM activity GROUP BY exe ORDER BY 2 DESC",
    "failed calls by user, `activity`": "SELECT auid, errno, sum(calls) FROM activity"
    " WHERE success = {no} GROUP BY auid, errno",
    "all calls, `activity`": "SELECT sum(calls) FROM activity",
}


def table(*, quick: bool, folder: Path) -> Table:
    """Load a mixed log into both stores and run the queries."""
    log = long_logs.make("mixed", 300_000 if quick else 12_000_000, folder / "questions.log")
    made = Table(
        "Questions",
        ["question", "SQLite", "Postgres", "rows"],
        f"A store of {log.events:,} events (mixed log, {log.records:,} records); medians.",
    )
    path = folder / "questions.db"
    with postgres(shared_buffers="128MB", max_wal_size="4GB") as server, server.database() as url:
        stores = (f"sqlite:///{path}", url)
        for store in stores:
            print(f"questions: loading {store.partition(':')[0]}", file=sys.stderr, flush=True)
            run(AUDITSVC, "ingest", log.path, "--store", store)
        log.path.unlink()
        for name, question in QUESTIONS.items():
            cells, found = [], set()
            for store, no in zip(stores, ("0", "false"), strict=True):
                times = []
                for _ in range(_ROUNDS):
                    begin = time.perf_counter()
                    with run_query(store, question.format(no=no)) as result:
                        found.add(sum(1 for _ in result))
                    times.append(time.perf_counter() - begin)
                cells.append(seconds(statistics.median(times)))
            assert len(found) == 1, (name, found)
            made.add(name, *cells, str(found.pop()))
    path.unlink()
    return made
