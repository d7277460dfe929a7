"""The audited programs: built from workload/, run under a login uid of their own.

A rule that asks for the login uid matches these programs and their children alone,
whatever else the machine does.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from live.strace_log import FLAGS, Log, read

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = Path(__file__).parent / "workload"
KEY = "live"

_STATIC_32 = ["-m32", "-nostdlib", "-static", "-fno-pic", "-fno-stack-protector"]
_auids = itertools.count(2_000_000_000 + os.getpid() % 100_000 * 1000)

Argument = str | bytes | Path
_LAST = 77


def fresh_auid() -> int:
    """Return a login uid that no user has and no test used before."""
    return next(_auids)


def rules(auid: int, *, uring: bool = False) -> str:
    """Rules for everything that programs under this login uid do."""
    lines = [f"-a always,exit -S all -F auid={auid} -k {KEY}"]
    if uring:
        lines.append(f"-a always,io_uring -S all -F auid={auid} -k {KEY}")
    return "\n".join(lines) + "\n"


def finished(data: bytes, auid: int) -> bool:
    """Whether a log has the event of `Programs.finish`, whole but for an EOE."""
    last = rb"type=SYSCALL msg=(audit\(\S+\)): \S+ syscall=231 a0=%x [^\n]* auid=%d "
    found = re.search(last % (_LAST, auid), data)
    return found is not None and b"type=PROCTITLE msg=%b" % found[1] in data


@dataclass(frozen=True)
class Programs:
    """The built programs, in a folder of their own."""

    folder: Path

    @classmethod
    def build(cls, folder: Path) -> Programs:
        """Compile all of workload/*.c with gcc."""
        for source in sorted(SOURCES.glob("*.c")):
            options = _STATIC_32 if source.stem == "i386" else ["-pthread"]
            target = folder / source.stem
            subprocess.run(
                ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", *options, "-o", target, source],
                check=True,
            )
        return cls(folder)

    def __getitem__(self, name: str) -> Path:
        """Give the program built from workload/NAME.c."""
        return self.folder / name

    def run(
        self,
        auid: int,
        *command: Argument,
        cwd: Path | None = None,
        status: int = 0,
        trace: Path | None = None,
    ) -> bytes:
        """Run a command under the login uid; returns its standard output.

        It must end with `status`. With `trace`, strace follows it and writes there.
        """
        tracer: Sequence[Argument] = ["strace", *FLAGS, "-o", trace] if trace else []
        done = subprocess.run(
            [*tracer, self["as_auid"], str(auid), *command],
            cwd=cwd or self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=500,
        )
        assert done.returncode == status, (
            f"{command[0]!r} ended with {done.returncode}: {done.stderr.decode(errors='replace')}"
        )
        return done.stdout

    def finish(self, auid: int) -> None:
        """Make a last call that can be told from all others: see `finished`."""
        self.run(auid, "/bin/sh", "-c", f"exit {_LAST}", status=_LAST)

    def trace(
        self,
        auid: int,
        log: Path,
        *command: Argument,
        cwd: Path | None = None,
        status: int = 0,
    ) -> Log:
        """Run a command under the login uid and strace; returns strace's log."""
        self.run(auid, *command, cwd=cwd, status=status, trace=log)
        return read(log)
