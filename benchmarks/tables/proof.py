"""Proof: how long `auditsvc verify` takes of a log and its rows, and what it needs.

A mixed log goes through a pipe into `auditsvc run --source stdin`, which signs it. Once with all
segments kept: each line and each row is compared. Once with `spool.keep_bytes` 0, so that only
the last segments are there, and the rows before them are held to the signed digests of their
batches and days.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from fixtures import long_logs
from live.service import AUDITSVC
from measure import run, started
from report import Table, count, mebibytes, seconds

QUICK: Final = 20_000
FULL: Final = 10_000_000
_RECORDS_AN_EVENT: Final = 3.85
"""Of the mixed log."""
_KEPT: Final = {"all segments are there": 1 << 40, "the last segments are there": 0}


def _load(records: int, folder: Path, keep_bytes: int) -> tuple[dict[str, str], int]:
    """Load a signed log; gives the environment of its store, and the events."""
    environment = {
        "AUDITSVC_STATE_DIRECTORY": str(folder / "state"),
        "AUDITSVC_RUNTIME_DIRECTORY": str(folder / "run"),
        "AUDITSVC_STORE": f"sqlite:///{folder / 'store.db'}",
        "AUDITSVC_SPOOL__KEEP_BYTES": str(keep_bytes),
        "AUDITSVC_SPOOL__FSYNC": "none",
    }
    events = 0
    command = [AUDITSVC, "run", "--source", "stdin"]
    with started(*command, environment=environment, stdin=subprocess.PIPE) as (process, _):
        assert process.stdin
        for data, made in long_logs.blocks("mixed", records):
            process.stdin.write(data)
            events += made
        process.stdin.close()
    return environment, events


def table(*, quick: bool, folder: Path) -> Table:
    """Measure both."""
    made = Table(
        "Proof",
        ["log", "events", "bytes of log kept", "seconds", "CPU seconds", "peak memory"],
        "`auditsvc verify` of a mixed log that `auditsvc run --source stdin` signed, with the rows"
        " of its SQLite store. Where segments went, their rows are held to signed digests. Memory"
        " counts the pages of the store that are mapped, which the kernel takes back when it needs"
        " them; and, where segments went, the ids of all events whose lines are there.",
    )
    wanted = QUICK if quick else FULL
    for name, keep_bytes in _KEPT.items():
        print(f"proof: {name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            environment, events = _load(int(wanted * _RECORDS_AN_EVENT), Path(place), keep_bytes)
            kept = sum(each.stat().st_size for each in Path(place).glob("state/spool/audit-*.log"))
            used = run(AUDITSVC, "verify", environment=environment)
        made.add(
            name, count(events), mebibytes(kept), seconds(used.seconds), seconds(used.cpu),
            mebibytes(used.peak),
        )  # fmt: skip
    return made
