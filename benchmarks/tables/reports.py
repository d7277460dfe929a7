"""Reports: the time of each in a loaded store.

Not beside aureport: the events of these logs are 20 us apart, and it keeps all of the last two
seconds open, which takes it minutes; `conformance/test_aureport.py` compares what both say.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from fixtures import long_logs
from fixtures.postgres_server import running as postgres
from live.service import AUDITSVC
from measure import run
from report import Table, seconds

from auditsvc.report.choice import Choice
from auditsvc.report.report import TOTALS, Question, make_daily, make_report
from auditsvc.store.read.time_span import Span

if TYPE_CHECKING:
    from pathlib import Path

_SUMS: Final = ("executable", "file", "host", "key", "user", "syscall", "event", "login")


def table(*, quick: bool, folder: Path) -> Table:
    """Load a mixed log into both stores and make the reports; the time is that of a process."""
    log = long_logs.make("mixed", 100_000 if quick else 4_100_000, folder / "reports.log")
    made = Table(
        "Reports",
        ["report", "SQLite", "Postgres"],
        f"A store of {log.events:,} events (mixed log, {log.records:,} records): the summary, sums,"
        " and the daily review of all of them.",
    )
    path = folder / "reports.db"
    with postgres(shared_buffers="128MB", max_wal_size="4GB") as server, server.database() as url:
        stores = (f"sqlite:///{path}", url)
        for store in stores:
            print(f"reports: loading {store.partition(':')[0]}", file=sys.stderr, flush=True)
            run(AUDITSVC, "ingest", log.path, "--store", store)
        log.path.unlink()
        for name in (TOTALS, *_SUMS):
            made.add(name, *(seconds(_made(store, name)) for store in stores))
        made.add("daily", *(seconds(_daily(store)) for store in stores))
    path.unlink()
    return made


def _made(store: str, name: str) -> float:
    begin = time.perf_counter()
    with make_report(store, Question(name, summary=name != TOTALS)) as answer:
        assert sum(1 for _ in answer.rows) > 0, name
    return time.perf_counter() - begin


def _daily(store: str) -> float:
    begin = time.perf_counter()
    choice = Choice(span=Span(long_logs.BEGIN, long_logs.BEGIN + 86400))
    with make_daily(store, choice) as made:
        assert made.events
    return time.perf_counter() - begin
