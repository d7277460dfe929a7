"""Metrics: what figures for Prometheus take, and the service's log of its own.

One steady log goes through a pipe into `auditsvc run --source stdin`, by turns without metrics and
with them at the shortest interval: gathered, asked for on a socket and written to a textfile each
second. All turns are of one store that has events already, as gathering asks that. Each round has a
turn of both, the second round in the other order; a ratio is made within a round, and the median of
the rounds is shown, so that other load on the machine affects both.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from fixtures import long_logs
from live.service import AUDITSVC
from measure import started
from report import Table, count, ratio, seconds

from auditsvc.config import load_settings
from auditsvc.status.metrics import gather

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from measure import Used

_RATE: Final = 2000
"""Events a second, as the hour of `make soak` has."""
_DEFAULT: Final = 15.0
"""Seconds between two gatherings, if the settings say nothing (`metrics.every`)."""
_ASK: Final = b"GET /metrics HTTP/1.0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: `records` in the store before, `seconds` of a turn."""

    rounds: int
    records: int
    seconds: float


QUICK: Final = Size(rounds=2, records=100_000, seconds=3.0)
FULL: Final = Size(rounds=9, records=7_700_000, seconds=12.0)
_GATHERINGS: Final = 20


@dataclass(slots=True)
class Turn:
    """What one run of the service took; the lines of its log, and the answers to who asked."""

    used: Used
    lines: int
    answers: int


class _Stage:
    def __init__(self, size: Size, folder: Path) -> None:
        self._size, self._folder = size, folder
        self._blocks = long_logs.blocks("mixed", 1 << 60)
        self.before = 0
        self._environment = {
            "AUDITSVC_STATE_DIRECTORY": str(folder / "state"),
            "AUDITSVC_RUNTIME_DIRECTORY": str(folder / "run"),
            "AUDITSVC_STORE": f"sqlite:///{folder / 'store.db'}",
            "AUDITSVC_SPOOL__KEEP_BYTES": "0",
        }
        self._metrics = {
            "AUDITSVC_METRICS__LISTEN": f"unix:{folder / 'metrics'}",
            "AUDITSVC_METRICS__TEXTFILE": str(folder / "auditsvc.prom"),
            "AUDITSVC_METRICS__EVERY": "1",
        }

    def fill(self) -> None:
        """Load what the store has before the first turn."""
        records = 0
        with self._service({}, self._folder / "log") as (stdin, _):
            while records < self._size.records:
                data, events = next(self._blocks)
                stdin.write(data)
                records += data.count(b"\n")
                self.before += events

    def turn(self, *, with_metrics: bool) -> Turn:
        """Feed the service at a steady rate, from its start to its end."""
        log, answers = self._folder / "log", 0
        with self._service(self._metrics if with_metrics else {}, log) as (stdin, used):
            ended = threading.Event()
            asked: list[str] = []
            thread = threading.Thread(target=self._ask, args=(asked, ended))
            if with_metrics:
                thread.start()
            begins, sent = time.monotonic(), 0
            while sent < self._size.seconds * _RATE:
                data, events = next(self._blocks)
                stdin.write(data)
                stdin.flush()
                sent += events
                time.sleep(max(0.0, begins + sent / _RATE - time.monotonic()))
            ended.set()
            if with_metrics:
                thread.join()
                answers = len(asked)
                assert "auditsvc_ledger_records_total" in asked[-1]
        return Turn(used[0], log.read_bytes().count(b"\n"), answers)

    @contextmanager
    def _service(
        self, more: Mapping[str, str], log: Path
    ) -> Iterator[tuple[IO[bytes], list[Used]]]:
        run = 'exec "$0" run --source stdin 2> "$1"'
        environment = self._environment | dict(more)
        with started(
            *("/bin/sh", "-c", run, AUDITSVC, log), environment=environment, stdin=subprocess.PIPE
        ) as (process, used):
            assert process.stdin
            with process.stdin:
                yield process.stdin, used

    def gathering(self) -> float:
        """Give the CPU seconds that one gathering takes, by itself."""
        folder = self._folder
        settings = load_settings(
            store=self._environment["AUDITSVC_STORE"],
            state_directory=folder / "state",
            runtime_directory=folder / "run",
        )
        taken = []
        for _ in range(_GATHERINGS):
            before = time.process_time()
            gather(settings)
            taken.append(time.process_time() - before)
        return statistics.median(taken)

    def _ask(self, asked: list[str], ended: threading.Event) -> None:
        """Ask each second, as soon as there is who answers."""
        while not ended.wait(1.0):
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(str(self._folder / "metrics"))
                except OSError:
                    continue  # not yet
                client.sendall(_ASK)
                with client.makefile("rb") as answer:
                    asked.append(answer.read().decode())


def table(*, quick: bool, folder: Path) -> Table:
    """Measure both by turns."""
    size = QUICK if quick else FULL
    rounds: list[tuple[Turn, Turn]] = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        stage = _Stage(size, Path(place))
        print("metrics: filling the store", file=sys.stderr, flush=True)
        stage.fill()
        for number in range(size.rounds):
            print(f"metrics: round {number + 1} of {size.rounds}", file=sys.stderr, flush=True)
            turns = {
                with_metrics: stage.turn(with_metrics=with_metrics)
                for with_metrics in ((False, True) if number % 2 else (True, False))
            }
            rounds.append((turns[False], turns[True]))
            told = " and ".join(f"{turns[each].used.cpu:.2f}" for each in (False, True))
            print(f"metrics: {told} s of CPU without and with", file=sys.stderr, flush=True)
        return made(size, stage.before, rounds, stage.gathering())


def made(size: Size, before: int, rounds: list[tuple[Turn, Turn]], gathering: float) -> Table:
    """Give the table; `gathering`: CPU seconds of one."""
    shown = Table(
        "Metrics",
        ["metrics", "CPU seconds", "against none", "answers", "lines of log"],
        f"`auditsvc run --source stdin` into SQLite, fed for {size.seconds:g} s with {_RATE:,}"
        f" events a second (mixed log), {count(before)} events in the store before: by turns"
        " without metrics, and with them gathered, asked for on a unix socket and written to a"
        " textfile each second, which is the shortest interval. CPU is of the whole run, from start"
        f" to end; medians, and the median of the ratios of {size.rounds} rounds. One command:"
        " `PYTHONPATH=tests python benchmarks --only metrics`.",
    )
    none, each_second = zip(*rounds, strict=True)
    against = statistics.median(b.used.cpu / a.used.cpu for a, b in rounds)
    for name, turns, share in (("none", none, 1.0), ("each second", each_second, against)):
        shown.add(
            name,
            seconds(statistics.median(turn.used.cpu for turn in turns)),
            ratio(share),
            count(statistics.median(turn.answers for turn in turns)),
            count(statistics.median(turn.lines for turn in turns)),
        )
    shown.notes.append(
        f"A gathering by itself, over that store, takes {seconds(gathering)} of CPU (median of"
        f" {_GATHERINGS}): {gathering / _DEFAULT:.2%} of one core at the default of {_DEFAULT:g} s."
    )
    return shown
