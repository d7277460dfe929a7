"""Decoding alone: CPU seconds of one core, from a file in memory into rows thrown away."""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, Final

import recorded
from fixtures import long_logs
from report import Table, count

from auditsvc.decode import DECODERS, make_decoder

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures.long_logs import Log

_CHUNK: Final = 1 << 20


def speed(decoder: str, log: Log, rounds: int) -> float:
    """Give the median of records a CPU second."""
    # The reference takes a part of the log only: its speed does not depend on the length.
    limit = log.size if decoder == "native" else log.size // 5
    speeds = []
    for _ in range(rounds):
        machine = make_decoder(decoder, secret=b"benchmark", host="host")
        records, spent = 0, 0.0
        with log.path.open("rb") as stream:
            while stream.tell() < limit and (data := stream.read(_CHUNK)):
                begin = time.process_time()
                machine.feed(data, 0.0)
                batch = machine.take()
                spent += time.process_time() - begin
                records += batch.counts["received"]
        speeds.append(records / spent)
    return statistics.median(speeds)


def table(*, quick: bool, folder: Path) -> Table:
    """Measure all decoders, for those who work on them; `tables.file` shows the same figures."""
    made = Table("Decoding alone: records a second", ["decoder", "plain", "mixed", "real"])
    records = 300_000 if quick else 1_500_000
    made_logs = [
        *(long_logs.make(kind, records, folder / f"{kind}.log") for kind in ("plain", "mixed")),
        recorded.make(records, folder / "real.log"),
    ]
    for decoder in DECODERS:
        print(f"decode: {decoder}", file=sys.stderr, flush=True)
        made.add(decoder, *[count(speed(decoder, log, rounds=5)) for log in made_logs])
    return made
