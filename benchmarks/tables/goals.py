"""The aims for a store of ten million events, and what is reached on SQLite."""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, Final

from fixtures import long_logs
from live.service import AUDITSVC
from measure import run
from report import Table, seconds

from auditsvc.errors import QueryError
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.sql import run_query
from tables.questions import QUESTIONS
from tables.views import rare

if TYPE_CHECKING:
    from pathlib import Path

RECORDS: Final = {True: 300_000, False: 38_500_000}
"""By `quick`."""
_RATE: Final = 1000
_ROUNDS: Final = 3
LIMIT: Final = 20.0
"""Seconds of a question; what takes longer is shown as that."""
_TIME, _SUM, _COUNT = 0.1, 1.0, 0.5
"""Aims, in seconds."""
_VIEWS: Final = "story all_events files connections logins denials commands changes"
AIMS: Final = {
    "one second by time": _TIME,
    "last 20 by time": _TIME,
    "all calls": _COUNT,
    "one program": _SUM,
    "one process": _SUM,
    "a file": _SUM,
    "failures by errno": _SUM,
    "calls by name": _SUM,
    "calls by name, `activity`": _SUM,
    "programs, `activity`": _SUM,
    "failed calls by user, `activity`": _SUM,
}
"""Questions of `tables.questions` by name."""


def table(*, quick: bool, folder: Path) -> Table:
    """Load a mixed log and ask; the log is made and read once, and nothing is left of it."""
    print("goals: making the log", file=sys.stderr, flush=True)
    log = long_logs.make("mixed", RECORDS[quick], folder / "goals.log", _RATE)
    with log.path.open("a") as stream:
        stream.writelines(rare(max(log.events // _RATE, 4)))
    path = folder / "goals.db"
    print("goals: loading it", file=sys.stderr, flush=True)
    size = log.path.stat().st_size
    used = run(AUDITSVC, "ingest", log.path, "--store", f"sqlite:///{path}")
    log.path.unlink()
    kept = path.stat().st_size / log.events
    made = Table(
        "Ten million events",
        ["question", "aim", "SQLite", "reached"],
        f"A store of {log.events:,} events (mixed log, {log.records:,} records, 1,000 events a"
        " second of its own time, denials, changes and commands among them); medians of"
        f" {_ROUNDS}, the first one with an empty cache of the process. One command:"
        " `PYTHONPATH=tests python benchmarks --only goals`.",
        notes=[
            (
                f"Loaded in {used.seconds:.0f} s ({log.records / used.seconds:,.0f} records/s,"
                f" {size / log.events:.0f} bytes of log an event), {kept:.0f} bytes an event kept,"
                f" peak memory {used.peak >> 20} MiB."
            )
        ],
    )
    asked = {name: (QUESTIONS[name].format(no="0"), aim) for name, aim in AIMS.items()}
    for view in _VIEWS.split():
        asked[f"last 20 of `{view}`"] = (f"SELECT * FROM {view} ORDER BY time DESC LIMIT 20", _TIME)
    for name, (sql, aim) in asked.items():
        took = taken(f"sqlite:///{path}", sql)
        shown = f"> {LIMIT:.0f} s" if took is None else seconds(took)
        made.add(name, seconds(aim), shown, "yes" if took is not None and took <= aim else "no")
    path.unlink()
    return made


def taken(store: str, sql: str) -> float | None:
    """Give the median time; None if it is more than the limit."""
    found = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        try:
            with run_query(store, sql, Limits(LIMIT)) as result:
                for _row in result:
                    pass
        except QueryError:
            return None
        found.append(time.perf_counter() - begin)
    return statistics.median(found)
