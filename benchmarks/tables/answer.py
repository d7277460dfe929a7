"""From host to answer: how long it takes until all of what came to a host is in an answer."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from fixtures import long_logs
from fixtures.answered import DEFAULTS, QUICKEST, measure
from report import Table

if TYPE_CHECKING:
    from pathlib import Path

_EACH: Final = 3.85
"""Records of an event of the mixed log, about."""


def table(*, quick: bool, folder: Path) -> Table:
    """Measure a million events at the defaults and at the quickest settings, and a few."""
    many = 20_000 if quick else 1_000_000
    made = Table(
        "From host to answer",
        ["", "events", "aim, s", "to the host, s", "in an answer, s", "last question, s"],
        "Seconds from the first line that a host is given until `fleet query` counts all of its"
        " events: `run` (SQLite), SeaweedFS, `fleet commit --follow` and DuckDB on one machine."
        " Quickest: `fleet.interval` 0.1, `fleet commit --every 0.1`. One command:"
        " `PYTHONPATH=tests python benchmarks --only answer`.",
    )
    for name, (settings, options), events, aim in (
        ("quickest", QUICKEST, 1_000, "10"),
        ("quickest", QUICKEST, many, ""),
        ("defaults", DEFAULTS, many, "360"),
    ):
        own = folder / f"answer{len(made.rows)}"
        own.mkdir()
        log = long_logs.make("mixed", round(events * _EACH), own / "mixed.log")
        given = settings | ({"interval": "10"} if quick and not settings else {})
        took = measure(own, log, given, options)
        cells = (f"{took.given:.1f}", f"{took.answered:.1f}", f"{took.asking:.1f}")
        made.add(name, f"{log.events:,}", aim, *cells)
        shutil.rmtree(own)
    return made
