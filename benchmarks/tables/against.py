"""Searches and reports beside ausearch and aureport: whole commands, on the same events.

Each of theirs gets the longest of some logs that it finishes within a limit; ours is asked on a
store of all events, so that it has as many events to look at, or more.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from fixtures import long_logs
from live.service import AUDITSVC
from measure import run
from peers import AUREPORT, AUSEARCH
from report import Table, ratio, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RECORDS: Final = {True: (300_000, 100_000), False: (38_500_000, 1_500_000)}
"""Of the longest log first; by `quick`."""
_RATE: Final = 58
"""Events a second: at very many of them ausearch takes the square of the log's length."""
LIMIT: Final = 600.0
"""Seconds for each of theirs."""
ASKED: Final = {
    "a process": ("search", ("-p", "1007", "--raw")),
    "a file that was not named": ("search", ("-f", "/none", "--raw")),
    "a failed call that was not made": ("search", ("-sc", "mount", "-sv", "no", "--raw")),
    "sums of programs": ("report", ("-x", "--summary")),
    "sums of files": ("report", ("-f", "--summary")),
    "summary": ("report", ()),
}
THEIRS: Final = {"search": AUSEARCH, "report": AUREPORT}


class Took(NamedTuple):
    """Seconds, and seconds of CPU, of a command with all its children."""

    seconds: float
    cpu: float


def taken(*command: object) -> Took | None:
    """Run it, and throw its answer away; None: it did not end within the limit."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        subprocess.run(
            [str(each) for each in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT,
            check=False,  # ausearch that finds nothing has status 1
        )
    except subprocess.TimeoutExpired:
        return None
    took = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(took, used)


def measure(store: str, logs: Sequence[long_logs.Log]) -> Table:
    """Ask both; `logs`: the longest first, with all events of the store."""
    made = Table(
        "Beside ausearch and aureport",
        ["question", "theirs, on events", "theirs", "CPU", "ours", "CPU", "CPU, times as much"],
        f"Whole commands, with their start, on a mixed log ({_RATE} events a second). Ours are on a"
        f" SQLite store of {logs[0].events:,} events; theirs on the longest log that they finish"
        f" within {LIMIT:.0f} s, so where it is a shorter one they have less to look at. One"
        " command: `PYTHONPATH=tests python benchmarks --only against`.",
    )
    for name, (verb, words) in ASKED.items():
        print(f"against: {name}", file=sys.stderr, flush=True)
        ours = taken(AUDITSVC, verb, "--store", store, *words)
        assert ours
        for log in logs:
            theirs = taken(THEIRS[verb], "--input", log.path, *words)
            if theirs:
                cells = [seconds(each) for each in (*theirs, *ours)]
                made.add(name, f"{log.events:,}", *cells, ratio(theirs.cpu / ours.cpu))
                break
    return made


def table(*, quick: bool, folder: Path) -> Table:
    """Make the logs and a store of the longest."""
    logs = [
        long_logs.make("mixed", records, folder / f"against{n}.log", _RATE)
        for n, records in enumerate(RECORDS[quick])
    ]
    store = f"sqlite:///{folder / 'against.db'}"
    run(AUDITSVC, "ingest", logs[0].path, "--store", store)
    made = measure(store, logs)
    for each in (*(log.path for log in logs), folder / "against.db"):
        each.unlink()
    return made
