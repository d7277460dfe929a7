"""Searches for bytes at which a target of `targets` fails, guided by coverage; `make fuzz`.

    PYTHONPATH=tests python tests/fuzz SECONDS [TARGET...]

Each target runs for so long in a process of its own, from the inputs that earlier searches kept
(tests/fuzz/corpus/TARGET.zip) and those that the tests know; what reaches new code is added to
that file. An input that fails, takes longer than TIMEOUT seconds or more memory than MEMORY is
left in build/fuzz, and the exit status is 1.

The coverage of Python is atheris's, that of the native decoder LLVM's: `make fuzz` builds it so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from fuzz.corpus import keep, kept, known, name_of, words
from fuzz.targets import TARGETS

TIMEOUT = 20
"""Seconds for one input."""
MEMORY = 1024
"""MiB for the whole process: both decoders with what they keep, and the fuzzer itself."""
LONGEST = 4096
"""Bytes of an input."""
HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "build" / "fuzz"


def main(arguments: list[str]) -> int:
    """Search in each target; gives the exit status."""
    if not arguments or not arguments[0].isdigit() or not set(arguments[1:]) <= set(TARGETS):
        print(f"usage: fuzz SECONDS [{' | '.join(TARGETS)}]...", file=sys.stderr)
        return 2
    return max([search(name, int(arguments[0])) for name in arguments[1:] or TARGETS])


def search(name: str, seconds: int) -> int:
    """Search for so long, then keep the smallest set of inputs that reaches as much."""
    before, found, after = (BUILD / f"{name}-{part}" for part in ("before", "found", "after"))
    for folder in (before, found, after):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for data in (*kept(name), *known(name)):
        (before / name_of(data)).write_bytes(data[:LONGEST])
    dictionary = BUILD / f"{name}.words"
    dictionary.write_bytes(b"\n".join(words(name)) + b"\n")
    limits = (f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}", f"-max_len={LONGEST}")
    for options in (
        (f"-max_total_time={seconds}", f"-dict={dictionary}", found, before),
        ("-merge=1", after, found, before),
    ):
        if libfuzzer(name, *limits, *options):
            print(f"{name}: failed; see {BUILD}/{name}.log, and the input beside it")
            return 1
    keep(name, [path.read_bytes() for path in after.iterdir()])
    print(f"{name}: {seconds} s without a failure; {len(kept(name))} inputs are kept")
    return 0


def libfuzzer(name: str, *options: object) -> int:
    """Run a process that fuzzes; gives its status."""
    atheris = find_spec("atheris")
    assert atheris is not None
    assert atheris.origin is not None
    # libFuzzer itself, where the instrumented native decoder finds it.
    preloaded = Path(atheris.origin).parent.parent / "ubsan_with_fuzzer.so"
    environment = os.environ | {"LD_PRELOAD": str(preloaded)}
    command = [sys.executable, HERE / "inside.py", name, *options]
    command.append(f"-artifact_prefix={BUILD}/{name}-")
    with (BUILD / f"{name}.log").open("ab") as log:
        done = subprocess.run(command, env=environment, check=False, stdout=log, stderr=log)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
