"""A program under a login uid of its own that makes a call when it is asked to."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from live.programs import Programs

_PROGRAM = """
import os, sys, time
from contextlib import suppress
for line in sys.stdin:
    before = time.monotonic()
    with suppress(OSError):
        os.mkdir(line.strip())
    print(before, flush=True)
"""


def rules(auid: int) -> str:
    """Rules for its calls alone."""
    return f"-a always,exit -F arch=b64 -S mkdir -F auid={auid} -k asked\n"


@contextmanager
def calling(programs: Programs, auid: int) -> Iterator[Callable[[Path | str], float]]:
    """Give what has a folder made, and gives the moment before the call (time.monotonic)."""
    command = [programs["as_auid"], str(auid), sys.executable, "-S", "-B", "-c", _PROGRAM]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout

        def call(path: Path | str) -> float:
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        yield call
        process.stdin.close()
