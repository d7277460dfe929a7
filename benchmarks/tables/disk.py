"""Bytes written to disk for an event: by `run` at a low and a high rate, and by `ingest`.

One login opens files of 31,600 in no order, so that nearly every row of a transaction has its
own place in an index over the files. The store has many events before.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from live.service import AUDITSVC
from measure import tree
from report import Table, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES: Final = 31_600
_BEGIN: Final = 1_700_000_000
_A_SECOND: Final = 500
"""Events a second of the log that is there before."""
_LIFE: Final = 20_000
_BLOCK: Final = 20_000
BEFORE: Final = {True: 100_000, False: 10_000_000}
RATES: Final = {True: ((500, 5), (5000, 3)), False: ((500, 240), (5000, 60))}
"""Events a second, and for how many seconds; by `quick`."""


class Opens:
    """Makes events, each later than the one before."""

    def __init__(self) -> None:
        self._chance = random.Random(31600)
        self._serial = 0
        self._ms = _BEGIN * 1000.0

    def make(self, count: int, rate: int) -> bytes:
        """Give the lines of so many events at a rate, of the log's own time, a second."""
        lines = []
        for _ in range(count):
            self._serial += 1
            self._ms += 1000 / rate
            number, file = self._serial, self._chance.randrange(_FILES)
            stamp = b"audit(%d.%03d:%d): " % (*divmod(int(self._ms), 1000), number)
            lines += [
                b"type=SYSCALL msg=", stamp,
                b"arch=c000003e syscall=257 success=yes exit=%d a0=ffffff9c a1=7f%08x a2=0 a3=0"
                b" items=1 ppid=900 pid=%d auid=1000 uid=1000 gid=1000 euid=1000 suid=1000"
                b" fsuid=1000 egid=1000 sgid=1000 fsgid=1000 tty=pts0 ses=3"
                b' comm="find" exe="/usr/bin/find" subj=unconfined key="all"\n'
                % (number % 9, file * 64, 1000 + number // _LIFE),
                b"type=CWD msg=", stamp, b'cwd="/home/user"\n',
                b"type=PATH msg=", stamp,
                b'item=0 name="/usr/share/some/where/dir%d/file-%d.txt" inode=%d dev=fe:00'
                b" mode=0100644 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL cap_fp=0 cap_fi=0"
                b" cap_fe=0 cap_fver=0 cap_frootid=0\n" % (file % 300, file, file + 7),
                b"type=PROCTITLE msg=", stamp, b"proctitle=66696E64002F\n",
                b"type=EOE msg=", stamp, b"\n",
            ]  # fmt: skip
        return b"".join(lines)


def _written(pids: list[int]) -> int:
    """Give the bytes that processes have had written to disk (proc(5), write_bytes)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            name, _, value = line.partition(": ")
            total += int(value) if name == "write_bytes" else 0
    return total


def ingested(opens: Opens, events: int, store: Path) -> float:
    """Load so many events by `ingest`; give the bytes written for a byte of the log."""
    log = store.with_name("opens.log")
    with log.open("wb") as stream:
        for done in range(0, events, _BLOCK):
            stream.write(opens.make(min(_BLOCK, events - done), _A_SECOND))
    before = int(Path("/proc/self/io").read_text().split("write_bytes: ")[1].split()[0])
    command = [str(AUDITSVC), "ingest", str(log), "--store", f"sqlite:///{store}"]
    subprocess.run(command, check=True, capture_output=True)
    # What a child wrote is its parent's too, once it was waited for.
    after = int(Path("/proc/self/io").read_text().split("write_bytes: ")[1].split()[0])
    size = log.stat().st_size
    log.unlink()
    return (after - before) / size


def _paced(opens: Opens, rate: int, seconds: int) -> Iterator[bytes]:
    """Give the lines of each twentieth of a second when it has come."""
    begin = time.monotonic()
    for step in range(seconds * 20):
        time.sleep(max(0.0, begin + step / 20 - time.monotonic()))
        yield opens.make(rate // 20, rate)


def lived(opens: Opens, rate: int, seconds: int, store: Path) -> tuple[float, float]:
    """Give the bytes that `run` had written for an event, and the bytes of its log."""
    folder = store.with_name(f"state-{rate}")
    environment = os.environ | {
        "AUDITSVC_STATE_DIRECTORY": str(folder),
        "AUDITSVC_RUNTIME_DIRECTORY": str(folder / "run"),
    }
    command = [str(AUDITSVC), "run", "--source", "stdin", "--store", f"sqlite:///{store}"]
    size = 0
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process,
        sqlite3.connect(store) as connection,
    ):
        assert process.stdin
        stored = "SELECT count(*) FROM syscall WHERE id >= ?"
        (last,) = connection.execute("SELECT max(id) FROM syscall").fetchone()
        for lines in _paced(opens, rate, seconds):
            process.stdin.write(lines)
            process.stdin.flush()
            size += len(lines)
        events = rate // 20 * seconds * 20
        while connection.execute(stored, (last + 1,)).fetchone()[0] < events:
            time.sleep(0.1)
        written = _written(tree(process.pid))
        process.stdin.close()
    assert process.returncode == 0, process.returncode
    return written / events, size / events


def table(*, quick: bool, folder: Path) -> Table:
    """Measure both rates and the ingest before them, in one store."""
    store = folder / "disk.db"
    opens = Opens()
    made = Table(
        "Disk: bytes written for an event",
        ["what", "log, bytes an event", "written, bytes an event", "against the log"],
        f"SQLite, {BEFORE[quick]:,} events in the store before; opens of {_FILES:,} files in no"
        " order by one login. `write_bytes` of all its processes (proc(5)), spool included;"
        " `ingest` has no spool.",
    )
    print(f"disk: {BEFORE[quick]:,} events by ingest", file=sys.stderr, flush=True)
    made.add("`ingest`", "-", "-", ratio(ingested(opens, BEFORE[quick], store)))
    for rate, seconds in RATES[quick]:
        print(f"disk: {rate} events a second", file=sys.stderr, flush=True)
        written, size = lived(opens, rate, seconds, store)
        cells = (f"{size:.0f}", f"{written:.0f}", ratio(written / size))
        made.add(f"`run`, {rate:,} events/s", *cells)
    return made
