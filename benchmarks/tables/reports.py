"""Reports: the time of each in a store of ten million events, and its CPU time.

Beside aureport: `against`; `conformance/test_aureport.py` compares what both say.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
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
    from collections.abc import Callable

_SUMS: Final = ("executable", "file", "host", "key", "user", "syscall", "event", "login")
RECORDS: Final = {True: 300_000, False: 38_500_000}
"""By `quick`."""
_RATE: Final = 58
"""Events a second: ten million in two days."""
_DAY: Final = Span(first := (long_logs.BEGIN // 86400 + 1) * 86400, first + 86399)
"""The first whole day."""
_ROUNDS: Final = 3
_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Taken:
    """What a report took: seconds, and seconds of CPU of this process and the database."""

    seconds: float
    cpu: float


def table(*, quick: bool, folder: Path) -> Table:
    """Load a mixed log into both stores and make the reports."""
    log = long_logs.make("mixed", RECORDS[quick], folder / "reports.log", _RATE)
    path = folder / "reports.db"
    with postgres(shared_buffers="128MB", max_wal_size="4GB") as server, server.database() as url:
        found = []
        for store, pid in ((f"sqlite:///{path}", None), (url, server.pid)):
            print(f"reports: loading {store.partition(':')[0]}", file=sys.stderr, flush=True)
            run(AUDITSVC, "ingest", log.path, "--store", store)
            found.append(measure(store, pid, whole=not quick))
        log.path.unlink()
    path.unlink()
    return made(log.events, *found)


def made(events: int, sqlite: dict[str, Taken], other: dict[str, Taken]) -> Table:
    """Give the table."""
    found = Table(
        "Reports",
        ["report", "SQLite", "CPU", "Postgres", "CPU"],
        f"A store of {events:,} events within two days (mixed log, {_RATE} events a second): the"
        " summary, sums, and of one of the days the summary, the sums of files and the daily"
        f" review; medians of {_ROUNDS}. CPU is that of the report and the database: what it takes"
        " where other programs run, too. One command: `PYTHONPATH=tests python benchmarks --only"
        " reports`.",
    )
    for name, one in sqlite.items():
        two = other[name]
        found.add(name, *(seconds(each) for of in (one, two) for each in (of.seconds, of.cpu)))
    return found


def measure(store: str, database: int | None, *, whole: bool = True) -> dict[str, Taken]:
    """Make the reports; `database`: the first process of the server; `whole`: there is `_DAY`."""

    def of(name: str, choice: Choice | None = None) -> Callable[[], object]:
        def make() -> None:
            question = Question(name, choice or Choice(), summary=name != TOTALS)
            with make_report(store, question) as answer:
                assert sum(1 for _ in answer.rows) > 0, name

        return make

    def daily() -> None:
        with make_daily(store, day) as answer:
            assert answer.events

    day = Choice(span=_DAY if whole else Span(long_logs.BEGIN, long_logs.BEGIN + 86399))
    asked = {name: of(name) for name in (TOTALS, *_SUMS)}
    asked |= {f"{name} of a day": of(name, day) for name in (TOTALS, "file")}
    asked["daily"] = daily
    return {name: _taken(make, database) for name, make in asked.items()}


def _taken(make: Callable[[], object], database: int | None) -> Taken:
    took, used = [], []
    for _ in range(_ROUNDS):
        before, begin = _cpu(database), time.perf_counter()
        make()
        took.append(time.perf_counter() - begin)
        time.sleep(0.05)  # a backend that ends is counted when it is waited for
        used.append(_cpu(database) - before)
    return Taken(statistics.median(took), statistics.median(used))


def _cpu(database: int | None) -> float:
    """Give the CPU time of this process, and of the server and those of its processes that ended.

    proc(5): user, system, and of children that ended.
    """
    own = time.process_time()
    if database is None:
        return own
    told = Path(f"/proc/{database}/stat").read_text().rpartition(")")[2].split()[11:15]
    return own + sum(map(int, told)) * _TICK
