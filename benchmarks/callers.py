"""Processes that make calls on request, and tracers for them.

with caller(auid, path) as busy:
    busy.ask("getppid", 1000, chunks=25).median      # nanoseconds a call
    with straced(busy):
        busy.ask("getppid", 200, chunks=25)
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peers import built

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STRACE: Final = ("strace", "-f", "-o", "/dev/null")
READS_ALONE: Final = (*_STRACE, "--seccomp-bpf", "-e", "trace=read")
"""strace for `read` only, with a seccomp filter: other calls do not stop.

For a forked task this holds only after the first stop at a traced call, so a caller reads
before it makes calls.
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """Nanoseconds of one turn (see caller.c)."""

    median: float
    mean: float


@dataclass(frozen=True, slots=True)
class Caller:
    """A process that makes calls on request."""

    pid: int
    process: subprocess.Popen[str]
    made: Counter[str] = field(default_factory=Counter)
    """Requested turns, by the call."""

    def ask(self, call: str, turns: int, chunks: int) -> Spent:
        """Make `turns` calls, `chunks` times."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{call} {turns} {chunks}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the caller ended with {self.process.wait()}")
        self.made[call] += turns * chunks
        median, mean = answer.split()
        return Spent(float(median), float(mean))

    def tracer(self) -> int:
        """Pid of its tracer, or 0."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^TracerPid:\s+(\d+)$", status, re.MULTILINE)
        assert found
        return int(found[1])


@contextmanager
def caller(as_auid: Path, auid: int, path: Path, under: Sequence[str] = ()) -> Iterator[Caller]:
    """Start a caller with this login uid, by the program `as_auid`, and end it afterwards."""
    command = [*under, as_auid, str(auid), built("caller"), path]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin
    assert process.stdout
    try:
        pid = process.stdout.readline()
        if not pid:
            raise SystemExit(f"the caller ended with {process.wait()}")
        yield Caller(int(pid), process)
    finally:
        process.stdin.close()  # it ends at the end of its input
        process.wait(30)
        process.stdout.close()


@contextmanager
def stopped_at_calls(busy: Caller) -> Iterator[None]:
    """Trace it by ptrace(2) without reading anything."""
    process = subprocess.Popen([built("tracer"), str(busy.pid)], stdout=subprocess.PIPE)
    assert process.stdout
    with process.stdout as said:
        if said.readline() != b"ready\n":
            raise SystemExit(f"the tracer ended with {process.wait()}")
        try:
            yield
        finally:
            process.terminate()
            count = said.read()
            process.wait(30)
    (stops,) = struct.unpack("l", count)
    assert stops > 0, "the tracer saw no call"


@contextmanager
def straced(busy: Caller) -> Iterator[None]:
    """Trace it by strace, with its output to /dev/null."""
    process = subprocess.Popen(
        [*_STRACE, "-p", str(busy.pid)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stderr
    with process.stderr as said:
        line = said.readline()
        if b"attached" not in line:
            raise SystemExit(f"strace: {line.decode()}")
        try:
            yield
            assert busy.tracer() == process.pid, "strace has let go of it"
        finally:
            process.terminate()
            said.read()
            process.wait(30)
