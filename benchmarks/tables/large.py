"""A store of a hundred million events: what `run` needs to fill it, and how soon it answers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from report import Table, mebibytes, seconds

from tables import goals, growth
from tables.questions import QUESTIONS

if TYPE_CHECKING:
    from pathlib import Path

_RECORDS: Final = {True: 300_000, False: 385_000_000}
"""By `quick`; a mixed log has 3.85 an event."""
_RATE: Final = 1000
_LIMIT_OF_MEMORY: Final = 200 << 20
_ASKED: Final = (
    "one second by time",
    "last 20 by time",
    "one process",
    "a file",
    "all calls, `activity`",
    "calls by name, `activity`",
    "programs, `activity`",
    "failed calls by user, `activity`",
)
_AIM: Final = 1.0


def table(*, quick: bool, folder: Path) -> Table:
    """Load a mixed log through a pipe and ask; needs 15 GB of disk."""
    print("large: loading", file=sys.stderr, flush=True)
    point = growth.load(_RECORDS[quick], folder, _RATE)
    store = folder / growth.STORE
    memory = "at most" if point.peak <= _LIMIT_OF_MEMORY else "more than"
    made = Table(
        "A hundred million events",
        ["question", "aim", "SQLite", "reached"],
        f"A store of {point.events:,} events (mixed log, {point.records:,} records, 1,000 events a"
        " second of its own time), through `auditsvc run --source stdin`; medians of three, the"
        " first one with an empty cache of the process. One command:"
        " `PYTHONPATH=tests python benchmarks --only large`.",
        notes=[
            (
                f"Loaded in {point.seconds:.0f} s ({point.cpu / point.records * 1e6:.2f} µs of CPU"
                f" a record), {point.disk / point.events:.0f} bytes an event kept; peak memory"
                f" {mebibytes(point.peak)}, {memory} {mebibytes(_LIMIT_OF_MEMORY)}."
            )
        ],
    )
    for name in _ASKED:
        took = goals.taken(f"sqlite:///{store}", QUESTIONS[name].format(no="0"))
        shown = f"> {goals.LIMIT:.0f} s" if took is None else seconds(took)
        made.add(name, seconds(_AIM), shown, "yes" if took is not None and took <= _AIM else "no")
    store.unlink()
    return made
