"""Growth: a log ten and fifty times as long needs ten and fifty times the time, and no more memory.

The log is generated into a pipe to `auditsvc run --source stdin`: spool, decoder and SQLite;
rows and memory are checked at the end.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fixtures import long_logs
from live.service import AUDITSVC
from measure import started
from report import Table, count, mebibytes, ratio

QUICK: Final = (100_000, 500_000)
FULL: Final = (1_000_000, 10_000_000, 50_000_000)


@dataclass(frozen=True, slots=True)
class Point:
    """One length."""

    records: int
    events: int
    seconds: float
    cpu: float
    peak: int
    stored: int
    disk: int


STORE: Final = "store.db"
_ROOM: Final = 2 << 30
"""Bytes of log that may wait: a log that is made faster than it is stored fills no disk."""


def load(records: int, folder: Path, rate: int = long_logs.RATE) -> Point:
    """Make a mixed log of this length and load it at the same time into a store in the folder.

    `rate`: events a second of the log's own time.
    """
    store = folder / STORE
    environment = {
        "AUDITSVC_STATE_DIRECTORY": str(folder / "state"),
        "AUDITSVC_RUNTIME_DIRECTORY": str(folder / "run"),
        "AUDITSVC_SPOOL__KEEP_BYTES": "0",
        "AUDITSVC_SPOOL__FSYNC": "none",
    }
    command = [AUDITSVC, "run", "--source", "stdin", "--store", f"sqlite:///{store}"]
    lines = events = 0
    with started(*command, environment=environment, stdin=subprocess.PIPE) as (process, used):
        assert process.stdin
        for data, made in long_logs.blocks("mixed", records, rate):
            while _waiting(folder / "state/spool") > _ROOM:
                time.sleep(0.1)
            process.stdin.write(data)
            lines += data.count(b"\n")
            events += made
        process.stdin.close()
    connection = sqlite3.connect(store)
    (stored,) = connection.execute(
        "SELECT (SELECT sum(count) FROM ledger WHERE cause IN ('stored', 'end'))"
        " - (SELECT count(*) FROM events WHERE type LIKE 'DAEMON_%')"
    ).fetchone()
    connection.close()
    took = used[0]
    size = store.stat().st_size
    return Point(lines, events, took.seconds, took.cpu, took.peak, stored, size)


def _waiting(spool: Path) -> int:
    """Give the bytes of the spool's segments, which go when they are stored."""
    found = 0
    for each in spool.glob("audit-*.log"):
        with suppress(FileNotFoundError):
            found += each.stat().st_size
    return found


def measure(*, quick: bool, folder: Path) -> list[Point]:
    """Measure all lengths."""
    points = []
    for records in QUICK if quick else FULL:
        print(f"growth: {records:,} records", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            points.append(load(records, Path(place)))
    return points


def table(points: list[Point]) -> Table:
    """Give what was measured."""
    made = Table(
        "Growth",
        [
            "records",
            "seconds",
            "CPU time a record, against the first",
            "peak memory",
            "peak, against the first",
            "bytes an event",
            "stored",
        ],
        "A mixed log through a pipe into `auditsvc run --source stdin`, made while it is read"
        " (by a program that takes a core of its own), through the spool into SQLite. Processes"
        " come and go all the time, so that the dimensions grow with the log.",
    )
    first = points[0]
    for point in points:
        assert point.stored == point.records, point
        made.add(
            f"{point.records:,}",
            f"{point.seconds:.1f}",
            ratio(point.cpu / point.records / (first.cpu / first.records)),
            mebibytes(point.peak),
            ratio(point.peak / first.peak),
            f"{point.disk / point.events:.0f}",
            count(point.stored),
        )
    return made
