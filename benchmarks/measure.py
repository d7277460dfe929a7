"""Rounds, medians, ratios, and the resources of a process: seconds, CPU seconds, peak memory."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from peers import built

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Used:
    """Resources that one command used."""

    seconds: float
    cpu: float
    peak: int
    """Bytes."""


@contextmanager
def started(
    *command: str | Path, environment: Mapping[str, str] | None = None, **streams: Any
) -> Iterator[tuple[subprocess.Popen[bytes], list[Used]]]:
    """Run a command and wait for its end; it must succeed.

    After the context, the list has what it used. `streams` are arguments of Popen.
    """
    used: list[Used] = []
    with tempfile.NamedTemporaryFile("r") as numbers, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [str(word) for word in (built("used"), numbers.name, *command)],
            stderr=said,
            env={**os.environ, **(environment or {})},
            **streams,
        )
        yield process, used
        if process.wait():
            said.seek(0)
            text = said.read().decode(errors="replace")
            raise SystemExit(f"{' '.join(map(str, command))}: {process.returncode}\n{text}")
        seconds, cpu, peak = numbers.read().split()
        used.append(Used(float(seconds), float(cpu), int(peak) * 1024))


def run(
    *command: str | Path,
    stdin: Path | None = None,
    stdout: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Used:
    """Run a command to its end; it must succeed."""
    with (stdin or Path(os.devnull)).open("rb") as source:
        out = stdout or subprocess.DEVNULL
        with started(*command, environment=environment, stdin=source, stdout=out) as (_, used):
            pass
    return used[0]


def median_run(rounds: int, once: Callable[[], Used]) -> Used:
    """Run several times; give the medians, and the highest peak."""
    runs = [once() for _ in range(rounds)]
    return Used(
        statistics.median(each.seconds for each in runs),
        statistics.median(each.cpu for each in runs),
        max(each.peak for each in runs),
    )


def cpu_seconds(pids: Iterable[int]) -> float:
    """Give the CPU seconds of these processes so far, with children that they waited for."""
    total = 0
    for pid in pids:
        # proc(5): fields 14 to 17 are utime, stime, cutime, cstime; comm may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15])
    return total * _TICK


def peak_bytes(pids: Iterable[int]) -> int:
    """Give the sum of the peak resident sizes of these processes (VmHWM of proc(5))."""
    total = 0
    for pid in pids:
        match = re.search(
            r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE
        )
        total += int(match[1]) * 1024 if match else 0
    return total


def tree(pid: int) -> list[int]:
    """Give a process and all its descendants."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found += [int(word) for word in task.read_text().split()]
    return found


def named(comm: str) -> int:
    """Give the process (or kernel thread) with this name; there must be one."""
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == comm:
                return int(path.parts[2])
        except OSError:
            continue  # it has ended meanwhile
    raise SystemExit(f"there is no {comm} on this machine")
