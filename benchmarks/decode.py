"""Records that a decoder decodes in a second of one core, from memory, into rows thrown away.

    python benchmarks/decode.py [--decoder NAME] [--events N] [--rounds N]

The logs are made, the same in every run: `plain` has three records an event (SYSCALL,
PROCTITLE, EOE) of some hundred processes; `paths` adds CWD and two PATHs;
`mixed` interleaves the records of two such streams by turns, as two CPUs do.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import TYPE_CHECKING

from auditsvc.decode import DECODERS, make_decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 18


def events(count: int, *, paths: bool) -> Iterator[list[str]]:
    """Give the lines of each event."""
    rng = random.Random(20090401)
    for n in range(count):
        stamp = f"audit({1_700_000_000 + n // 50_000}.{n // 50 % 1000:03}:{n + 1})"
        process = rng.randrange(140)
        title = f"/usr/bin/program{process % 10}\0--option".encode().hex().upper()
        lines = [
            (
                f"type=SYSCALL msg={stamp}: arch=c000003e syscall={rng.randrange(330)} success=yes"
                f" exit={rng.randrange(4096)} a0={rng.randrange(16):x} a1={rng.getrandbits(47):x}"
                f" a2={rng.randrange(4096):x} a3=0 items={2 * paths} ppid=900 pid={1000 + process}"
                " auid=1000 uid=1000 gid=1000 euid=1000 suid=1000 fsuid=1000 egid=1000 sgid=1000"
                f' fsgid=1000 tty=pts0 ses=3 comm="program{process % 10}"'
                f' exe="/usr/bin/program{process % 10}" subj=unconfined key="all"'
            )
        ]
        if paths:
            inode = rng.randrange(5000)
            lines += [
                f'type=CWD msg={stamp}: cwd="/home/user"',
                (
                    f'type=PATH msg={stamp}: item=0 name="/usr/lib/" inode=17 dev=fe:00 mode=040755'
                    " ouid=0 ogid=0 rdev=00:00 nametype=PARENT cap_fp=0 cap_fi=0 cap_fe=0"
                    " cap_fver=0 cap_frootid=0"
                ),
                (
                    f'type=PATH msg={stamp}: item=1 name="/usr/lib/file{inode}" inode={inode}'
                    " dev=fe:00 mode=0100644 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL cap_fp=0"
                    " cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0"
                ),
            ]
        lines += [f"type=PROCTITLE msg={stamp}: proctitle={title}", f"type=EOE msg={stamp}: "]
        yield lines


def interleaved(count: int) -> Iterator[list[str]]:
    """Give two events' lines by turns."""
    stream = events(count, paths=True)
    for one, other in zip(stream, stream, strict=True):
        yield [line for pair in zip(one, other, strict=True) for line in pair]


def measure(name: str, log: bytes, records: int, rounds: int) -> float:
    """Decode a log some times; give the median of records a second."""
    speeds = []
    for _ in range(rounds):
        machine = make_decoder(name, secret=b"benchmark", host="host")
        start = time.process_time()
        for position in range(0, len(log), CHUNK):
            machine.feed(log[position : position + CHUNK], 0.0)
            machine.take()
        machine.finish()
        machine.take()
        speeds.append(records / (time.process_time() - start))
    return statistics.median(speeds)


def main() -> None:
    """Print a line for each log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decoder", choices=list(DECODERS), default=list(DECODERS)[-1])
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logs = {
        "plain": events(options.events, paths=False),
        "paths": events(options.events, paths=True),
        "mixed": interleaved(options.events),
    }
    for name, made in logs.items():
        lines = [line for event in made for line in event]
        log = "\n".join(lines).encode() + b"\n"
        speed = measure(options.decoder, log, len(lines), options.rounds)
        print(f"{options.decoder} {name}: {speed:,.0f} records/s ({len(log) / 1e6:.0f} MB)")


if __name__ == "__main__":
    main()
