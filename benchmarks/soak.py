"""A long run at the kernel's full rate, and a longer one at a steady rate; `make soak`.

    PYTHONPATH=tests python benchmarks/soak.py [--full MINUTES] [--steady MINUTES] [--into FILE]

One process, all of whose calls are logged, opens and closes a file and asks for its parent. In the
first part it does so as fast as it can, in the second STEADY events a second. Every SAMPLE seconds
the service's memory and descriptors are taken, every LAG seconds how old the newest row is. The
exit status is 1 if the kernel lost a record, a serial or a row is missing, or memory or
descriptors grow; the table goes to stdout, or into a page.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from callers import caller
from fixtures.audit import exclusive_audit, restored
from live.programs import Programs, fresh_auid
from measure import tree
from readers import auditsvc
from report import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from callers import Caller
    from readers import Running

STEADY: Final = 2000
"""Events a second."""
SAMPLE: Final = 5.0
LAG: Final = 0.2
_TURN: Final = 0.02
_CHUNK: Final = 2000
"""Turns of each call by the fast caller at a time."""
_NEWEST: Final = "SELECT (id >> 30) + ms / 1000.0 FROM syscall ORDER BY id DESC LIMIT 1"
_GAPS: Final = "SELECT coalesce(sum(count), 0) FROM ledger WHERE cause = 'gap'"
# The opens of a program's start have flags, those of the caller have none.
_STORED: Final = (
    "SELECT syscall, count(*) FROM syscalls WHERE auid = ? AND (syscall != 'openat' OR a2 = '0')"
    " GROUP BY syscall"
)
_MOST_GROWTH: Final = 1.2
_MOST_DESCRIPTORS: Final = 4
_LONGEST: Final = 3600.0
"""Seconds until all is stored: at the full rate more is made than is loaded meanwhile."""


@dataclass
class Samples:
    """What was seen of the service."""

    memory: list[int] = field(default_factory=list)
    """Bytes of all processes of the service, shared pages counted once."""
    descriptors: list[int] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)
    """Seconds between now and the time of the newest row."""

    def growth(self) -> float:
        """Give the memory of the last quarter against that of the second one."""
        before, after = _quarters(self.memory)
        return after / before

    def more_descriptors(self) -> float:
        """Give how many more there are; segments and connections come and go with the lag."""
        before, after = _quarters(self.descriptors)
        return after - before


def _quarters(values: list[int]) -> tuple[float, float]:
    """Give the medians of the second and of the last quarter."""
    quarter = max(len(values) // 4, 1)
    return statistics.median(values[quarter : 2 * quarter] or values), statistics.median(
        values[-quarter:]
    )


@dataclass
class Part:
    """One of the two runs."""

    name: str
    seconds: float
    samples: Samples
    made: dict[str, int]
    """Calls that were asked for."""
    stored: dict[str, int]
    """Rows of them."""
    lost: int
    gaps: int
    cpu: float
    written: int

    @property
    def events(self) -> int:
        """All rows of the process."""
        return sum(self.stored.values())

    def faults(self) -> list[str]:
        """Say what must not be."""
        found = []
        if self.lost or self.gaps:
            found.append(f"{self.lost} records lost, {self.gaps} serials missing")
        found += [
            f"{call}: {count} calls, {self.stored.get(call, 0)} rows"
            for call, count in self.made.items()
            if self.stored.get(call, 0) != count
        ]
        if self.samples.growth() > _MOST_GROWTH:
            found.append(f"memory grew {self.samples.growth():.2f} times")
        if self.samples.more_descriptors() > _MOST_DESCRIPTORS:
            found.append(f"{self.samples.more_descriptors():g} descriptors more")
        return [f"{self.name}: {each}" for each in found]

    def row(self) -> list[str]:
        """Give the row of the table."""
        lag = sorted(self.samples.lag)
        mib = [each / 2**20 for each in self.samples.memory]
        return [
            self.name,
            f"{self.seconds / 60:.0f} min",
            f"{self.events:,}",
            f"{self.events / self.seconds:,.0f}",
            f"{self.lost}; {self.gaps}; {sum(self.made.values()) - sum(map(self._of, self.made))}",
            f"{statistics.median(lag) * 1000:.0f} ms; {lag[int(len(lag) * 0.99)] * 1000:.0f} ms",
            f"{self.samples.growth():.2f}x; {max(mib):.0f} MiB",
            f"{self.samples.descriptors[0]}; {self.samples.descriptors[-1]}",
            f"{self.cpu / self.events * 1e6:.1f} µs",
            f"{self.written / self.events:,.0f}",
        ]

    def _of(self, call: str) -> int:
        return self.stored.get(call, 0)


def fast(busy: Caller, until: float) -> None:
    """Call as fast as the kernel lets it."""
    while time.monotonic() < until:
        busy.ask("getppid", _CHUNK, 1)
        busy.ask("open", _CHUNK, 1)


def steady(busy: Caller, until: float) -> None:
    """Call at an even rate; an opening and its closing are two events."""
    turns = round(STEADY * _TURN / 4)
    due = time.monotonic()
    while due < until:
        time.sleep(max(0.0, due - time.monotonic()))
        busy.ask("getppid", 2 * turns, 1)
        busy.ask("open", turns, 1)
        due += _TURN


def watch(service: Running, store: Path, samples: Samples, ended: threading.Event) -> None:
    """Take samples until the end."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=30)) as connection:
        due = time.monotonic()
        while not ended.wait(LAG):
            (newest,) = connection.execute(_NEWEST).fetchone() or (None,)
            if newest is not None:
                samples.lag.append(time.time() - newest)
            if time.monotonic() >= due:
                due = time.monotonic() + SAMPLE
                processes = tree(service.pid)
                samples.memory.append(sum(map(proportional, processes)))
                samples.descriptors.append(sum(map(descriptors, processes)))


def proportional(pid: int) -> int:
    """Give the resident bytes of a process, its part of the pages that it shares (proc(5))."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split("\nPss:")[1].split()[0]) * 1024


def descriptors(pid: int) -> int:
    """Give how many descriptors a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def written(pid: int) -> int:
    """Give the bytes that a process and its children have had written to disk."""
    texts = [Path(f"/proc/{each}/io").read_text() for each in tree(pid)]
    return sum(int(text.split("\nwrite_bytes: ")[1].split()[0]) for text in texts)


def run(
    name: str, work: Callable[[Caller, float], None], seconds: float, folder: Path, as_auid: Path
) -> Part:
    """Run one part in a store of its own."""
    auid, samples, ended = fresh_auid(), Samples(), threading.Event()
    with (
        tempfile.TemporaryDirectory(dir=folder) as place,
        exclusive_audit() as control,
        restored(control),
        auditsvc()(Path(place), auid, control) as service,
    ):
        assert service.service
        store = Path(service.service.store.removeprefix("sqlite:///"))
        lost, cpu, before = control.status().lost, service.cpu(), written(service.pid)
        with caller(as_auid, auid, Path("/dev/null")) as busy:
            thread = threading.Thread(target=watch, args=(service, store, samples, ended))
            thread.start()
            try:
                begin = time.monotonic()
                work(busy, begin + seconds)
                took = time.monotonic() - begin
            finally:
                ended.set()
                thread.join()
        service.catch_up(_LONGEST)
        made = {"getppid": busy.made["getppid"], "openat": busy.made["open"]}
        with closing(sqlite3.connect(store)) as connection:
            stored = dict(connection.execute(_STORED, (auid,)))
            (gaps,) = connection.execute(_GAPS).fetchone()
        return Part(
            name, took, samples, made, stored, control.status().lost - lost, gaps,
            service.cpu() - cpu, written(service.pid) - before,
        )  # fmt: skip


def table(parts: list[Part]) -> Table:
    """Show the parts."""
    return Table(
        "Soak",
        [
            "rate", "time", "events", "a second", "lost; gaps; rows missing",
            "age of the newest row: median; 99th", "memory: last quarter against the second; most",
            "descriptors: first; last", "CPU an event", "bytes written an event",
        ],
        "`make soak`, SQLite. CPU is that of the service and of `kauditd`; written is what went to"
        " disk, spool and store.",
        [part.row() for part in parts],
    )  # fmt: skip


def asked() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", type=float, default=10.0, help="minutes at the full rate")
    parser.add_argument("--steady", type=float, default=60.0, help="minutes at the steady rate")
    parser.add_argument("--into", type=Path, default=None, help="the page")
    return parser.parse_args()


def measured(options: argparse.Namespace) -> Iterator[Part]:
    """Run both parts, on a disk: in a memory file system syncing costs nothing."""
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        as_auid = Programs.build(folder)["as_auid"]
        if options.full:
            yield run("full", fast, options.full * 60, folder, as_auid)
        if options.steady:
            yield run(f"{STEADY:,} a second", steady, options.steady * 60, folder, as_auid)


def main() -> int:
    """Run, show, and judge."""
    options = asked()
    parts = list(measured(options))
    page = table(parts).markdown()
    if options.into:
        options.into.write_text(f"# A long run\n\n{page}")
    else:
        print(page)
    faults = [fault for part in parts for fault in part.faults()]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
