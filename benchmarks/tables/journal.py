"""Into a real journald: the whole forwarder, with store and reading back, against a loop in C.

Both send equal entries to a new journald each time, and both are timed until the last entry
can be read. The C loop (journal_send.c) has all entries in memory before it begins, so it
shows the time of journald itself.
"""

from __future__ import annotations

import shutil
import statistics
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fixtures import long_logs
from fixtures.journald import running
from live.service import AUDITSVC
from measure import cpu_seconds, run
from peers import built
from report import Table, count, ratio

from auditsvc.forward.fields import entry
from auditsvc.store import open_store
from auditsvc.store.read.feed import Feed
from auditsvc.store.read.selection import Selection

EVERY: Final = Selection(keyed=False, exclude_keys=(), types=("*",))
_DRIVER: Final = Path(__file__).parents[1] / "journal_driver.py"
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Sent:
    """One run: events a second, and CPU seconds of the sender and of journald."""

    speed: float
    sender: float
    journald: float


def table(*, quick: bool, folder: Path) -> Table:
    """Measure by turns and compare the medians."""
    log = long_logs.make("mixed", 30_000 if quick else 150_000, folder / "journal.log")
    store = folder / "journal.db"
    with open_store(f"sqlite:///{store}") as opened:
        Feed(opened, "journal")
    run(AUDITSVC, "ingest", log.path, "--store", f"sqlite:///{store}")
    file = folder / "entries"
    events = _write_entries(f"sqlite:///{store}", file)
    found: dict[str, list[Sent]] = {"C loop": [], "auditsvc forward": []}
    for turn in range(3 if quick else 5):
        print(f"journal: round {turn + 1}", file=sys.stderr, flush=True)
        copy = folder / "copy.db"
        shutil.copy(store, copy)
        found["C loop"].append(_run("send", built("journal_send"), file, events))
        found["auditsvc forward"].append(_run("forward", f"sqlite:///{copy}"))
    made = Table(
        "Into the journal",
        ["sender", "events/s", "against the C loop", "CPU µs an event", "journald's"],
        f"{events:,} events of a mixed log into a fresh journald, until the last one can be"
        " read; medians. The C loop has equal entries in memory; the forwarder reads them from"
        " SQLite, makes them, sends them, reads back that they arrived, and saves its place.",
    )
    best = statistics.median(each.speed for each in found["C loop"])
    for name, runs in found.items():
        speed, sender, journald = (
            statistics.median(values)
            for values in zip(*((s.speed, s.sender, s.journald) for s in runs), strict=True)
        )
        cells = (count(speed), ratio(speed / best))
        made.add(name, *cells, f"{sender / events * 1e6:.0f}", f"{journald / events * 1e6:.0f}")
    return made


def _write_entries(url: str, file: Path) -> int:
    """Write the entries of all events as journal_send.c reads them; give how many."""
    sent = 0
    with open_store(url, create=False) as store, file.open("wb") as stream:
        feed = Feed(store, "journal")
        place = feed.position
        more = True
        while more:
            part = feed.ids(EVERY, _CHUNK, place)
            place, more = part.end, part.more
            for event in feed.fetch(part.ids):
                fields = [*entry(event, lambda _: None), b"AUDITSVC_BATCH=bench"]
                stream.write(struct.pack("I", len(fields)))
                for each in fields:
                    stream.write(struct.pack("I", len(each)) + each)
                sent += 1
    return sent


def _run(*words: object) -> Sent:
    with running(size="1G") as journald:
        assert journald.process is not None
        pids = [journald.process.pid]
        before = cpu_seconds(pids)
        done = journald.run([sys.executable, "-P", str(_DRIVER), *map(str, words)])
        journald_cpu = cpu_seconds(pids) - before
    seconds, events, cpu = map(float, done.stdout.split())
    return Sent(events / seconds, cpu, journald_cpu)
