"""Live: the cost for an audited program with each reader, and the resources of the reader.

Every round starts each reader, runs the same programs, and stops it; the readers take turns,
so that other load on the machine affects all of them. A ratio is made within one round, and
the median of the rounds is shown.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fixtures.audit import RefusedError, exclusive_audit, restored
from fixtures.postgres_server import running as postgres
from live.programs import Programs, fresh_auid
from peers import built
from readers import asking, auditd, auditd_with_laurel, auditsvc, null_reader
from report import Table, count, mebibytes, ratio, seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from readers import Running

    from auditsvc.kernel import Control

    Start = Callable[[Path, int, Control], AbstractContextManager[Running]]

NULL = "null reader"
_SHELL = """
for n in $(seq %d); do
  mkdir -p work/a work/b
  for name in a b; do cp /etc/passwd /etc/services work/$name; done
  find /usr/include -name 's*.h' > list
  tar cf pack.tar -T list 2> /dev/null
  tar tf pack.tar | sort | uniq -c | wc -l > lines
  grep -rl socket work > found || true
  echo 'int main(void) { return 0; }' > t.c
  gcc -o t t.c && ./t
  rm -rf work pack.tar t t.c
done
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    getppid: int
    opens: int
    execs: int
    shells: int
    lone: int


QUICK = Size(rounds=2, getppid=40_000, opens=10_000, execs=100, shells=1, lone=5)
FULL = Size(rounds=3, getppid=300_000, opens=60_000, execs=500, shells=2, lone=20)


@dataclass(slots=True)
class Result:
    """One reader in one round."""

    cost: dict[str, float]
    """Seconds of each workload."""
    cpu: dict[str, float]
    caught_up: dict[str, float]
    """Seconds from the end of a workload until its rows are stored."""
    lost: int
    peak: int


class Live:
    """All measurements of this table; `results` has a list of rounds for each reader."""

    def __init__(self, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._programs = Programs.build(folder)
        self.units = {
            "getppid": size.getppid,
            "open, close": 2 * size.opens,
            "exec": size.execs,
            "shell": size.shells,
        }
        """Calls (execs, scripts) in a workload."""
        self.commands: dict[str, list[str | Path]] = {
            "getppid": [self._programs["burst"], str(size.getppid)],
            "open, close": [built("calls"), "open", str(size.opens)],
            "exec": [built("calls"), "exec", str(size.execs)],
            "shell": ["/bin/sh", "-c", _SHELL % size.shells],
        }
        self.results: dict[str, list[Result]] = {}
        self.plain: dict[str, float] = {}
        """Seconds of each workload that no rule matches."""
        self.latency: dict[str, list[float]] = {}
        """Seconds from a lone call until a query sees its row."""

    def run(self, say: Callable[[str], None]) -> None:
        """Measure everything; RefusedError where the kernel does not let us."""
        with ExitStack() as stack:
            server = stack.enter_context(postgres(shared_buffers="128MB"))
            pid = int((server.folder / "data/postmaster.pid").read_text().split()[0])
            self.plain = {name: self._work(name, None) for name in self.commands}
            for turn in range(self._size.rounds):
                # A database for each start: the sizes of tables do not grow from round to round.
                with server.database() as url:
                    readers: dict[str, Start] = {
                        NULL: null_reader,
                        "auditsvc, SQLite": auditsvc(),
                        "auditsvc, Postgres": auditsvc(url, pid),
                        "auditd": auditd,
                        "auditd + laurel": auditd_with_laurel,
                    }
                    for name, start in readers.items():
                        say(f"round {turn + 1} of {self._size.rounds}: {name}")
                        result = self._round(start)
                        self.results.setdefault(name, []).append(result)
            with server.database() as url:
                self.latency["auditsvc, SQLite"] = self._lone(auditsvc())
                self.latency["auditsvc, Postgres"] = self._lone(auditsvc(url, pid))

    def _work(self, name: str, auid: int | None) -> float:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            command = [str(word) for word in self.commands[name]]
            if auid is not None:
                command = [str(self._programs["as_auid"]), str(auid), *command]
            begin = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - begin

    def _round(self, start: Start) -> Result:
        auid = fresh_auid()
        result = Result({}, {}, {}, 0, 0)
        with (
            tempfile.TemporaryDirectory(dir=self._folder) as folder,
            exclusive_audit() as control,
            restored(control),
            start(Path(folder), auid, control) as reader,
        ):
            lost = control.status().lost
            for name in self.commands:
                reader.settle()
                before = reader.cpu()
                result.cost[name] = self._work(name, auid)
                ended = time.perf_counter()
                result.caught_up[name] = max(reader.catch_up() - ended, 0.0)
                reader.settle()
                result.cpu[name] = reader.cpu() - before
            result.lost = control.status().lost - lost
            result.peak = reader.peak()
        return result

    def _lone(self, start: Start) -> list[float]:
        """Query rows every 2 ms while a program makes a call from time to time."""
        auid = fresh_auid()
        command = [self._programs["as_auid"], str(auid), built("calls"), "lone"]
        with (
            tempfile.TemporaryDirectory(dir=self._folder) as folder,
            exclusive_audit() as control,
            restored(control),
            start(Path(folder), auid, control) as reader,
        ):
            assert reader.service
            reader.settle()
            statement = "SELECT count(*) FROM syscalls WHERE syscall = 'getppid'"
            with asking(reader.service.store, statement) as ask:
                process = subprocess.Popen(
                    [*command, str(self._size.lone)], stdout=subprocess.PIPE, text=True
                )
                seen: list[float] = []
                ends = time.monotonic() + self._size.lone + 30
                while len(seen) < self._size.lone and time.monotonic() < ends:
                    found = ask()
                    assert found
                    seen += [time.monotonic()] * (found[0] - len(seen))
                    time.sleep(0.002)
                said, _ = process.communicate()
            called = [int(line) / 1e9 for line in said.splitlines()]
            return [after - call for call, after in zip(called, seen, strict=True)]

    # --- what is shown ------------------------------------------------------------------

    def ratios(self, name: str, workload: str) -> float:
        """Median of the rounds' cost against the null reader's."""
        pairs = zip(self.results[name], self.results[NULL], strict=True)
        return statistics.median(a.cost[workload] / b.cost[workload] for a, b in pairs)

    def tables(self) -> list[Table]:
        """Give what was measured."""
        return [self._cost(), self._cpu(), self._caught_up()]

    def _cost(self) -> Table:
        table = Table(
            "Live: what an audited call costs",
            ["reader", *self.commands, "lost"],
            "Time of a workload against the same under a null reader, which takes records by"
            " `recvmmsg(256)` as they come and throws them away. Every system call of the workload"
            " is logged. Below 1.0x the program runs faster than under the reader that does"
            " nothing.",
        )
        for name, rounds in self.results.items():
            lost = sum(each.lost for each in rounds)
            table.add(name, *[ratio(self.ratios(name, w)) for w in self.commands], count(lost))
        each = {}
        for workload, units in self.units.items():
            null = statistics.median(r.cost[workload] for r in self.results[NULL])
            each[workload] = (seconds(null / units), seconds(self.plain[workload] / units))
        table.notes.append(
            "Under the null reader, and not audited: "
            + "; ".join(f"{w} {null} ({plain})" for w, (null, plain) in each.items())
            + ", for each call, exec or script."
        )
        return table

    def _cpu(self) -> Table:
        table = Table(
            "Live: what the reader takes",
            ["reader", *self.commands, "peak memory"],
            "CPU seconds of all the reader's processes (a Postgres server's too) and of the"
            " kernel's thread `kauditd`, against the null reader's, until everything is where it"
            " belongs: in the log, in JSON, in the database. Memory is without the server's.",
        )
        for name, rounds in self.results.items():
            cells = []
            for workload in self.commands:
                pairs = zip(rounds, self.results[NULL], strict=True)
                used = statistics.median(a.cpu[workload] / b.cpu[workload] for a, b in pairs)
                total = statistics.median(each.cpu[workload] for each in rounds)
                cells.append(f"{ratio(used)} ({total:.2f} s)")
            table.add(name, *cells, mebibytes(max(each.peak for each in rounds)))
        return table

    def _caught_up(self) -> Table:
        table = Table(
            "Live: how soon rows can be queried",
            ["store", *self.commands, "a lone call", "slowest of them"],
            "Time from the end of the workload until its last row is stored, as a share of the"
            " workload's time; and from a lone call, on a host with little to do, until a query"
            " sees its row.",
        )
        for name, waits in self.latency.items():
            cells = []
            for workload in self.commands:
                rounds = self.results[name]
                late = statistics.median(r.caught_up[workload] / r.cost[workload] for r in rounds)
                cells.append(ratio(late))
            table.add(name, *cells, seconds(statistics.median(waits)), seconds(max(waits)))
        return table


def measure(*, quick: bool, folder: Path) -> Live | None:
    """Measure; None, with the reason on stderr, where the kernel refuses audit."""
    live = Live(QUICK if quick else FULL, folder)
    try:
        live.run(lambda what: print(f"live: {what}", file=sys.stderr, flush=True))
    except RefusedError as reason:
        print(f"live: not measured: {reason}", file=sys.stderr)
        return None
    return live
