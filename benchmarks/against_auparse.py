"""Compares the loading of a log with auparse's pass over it, by turns, and measures decoding.

    PYTHONPATH=tests python benchmarks/against_auparse.py LOG [--rounds 5]

`bare` goes through events and records by libauparse in C, `fields` reads every field too, and
`ingest` is `auditsvc ingest` into an empty SQLite store, less the time that it needs for the log's
first record (its start, and making a store). A ratio is how many times
as fast as auparse it is in the same round; the median of the rounds is shown, in elapsed time and
in processor time (`ingest` uses several cores, auparse one). Decoding alone is processor time of
one core.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from fixtures.long_logs import Log
from live.service import AUDITSVC
from measure import Used, run
from peers import built
from report import count
from tables.decode import speed


def _ingest(log: Path) -> Used:
    with tempfile.TemporaryDirectory(dir=log.parent) as name:
        first = Path(name) / "first.log"
        with log.open("rb") as stream:
            first.write_bytes(stream.readline())
        start, whole = (_load(each, Path(name)) for each in (first, log))
    return Used(whole.seconds - start.seconds, whole.cpu - start.cpu, whole.peak)


def _load(log: Path, folder: Path) -> Used:
    url = f"sqlite:///{folder}/{log.name}.db"
    return run(AUDITSVC, "ingest", log, "--store", url, environment={"AUDITSVC_HOST": "host"})


def main() -> None:
    """Measure by turns, and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    path: Path = given.log.resolve()
    records = path.read_bytes().count(b"\n")
    rounds = [
        {
            "bare": run(built("fields"), path, "bare"),
            "fields": run(built("fields"), path),
            "ingest": _ingest(path),
        }
        for _ in range(given.rounds)
    ]
    for name in rounds[0]:
        taken = statistics.median(each[name].seconds for each in rounds)
        cpu = statistics.median(each[name].cpu for each in rounds)
        print(f"{name:7} {count(records / taken)} records/s, {taken:.2f} s, CPU {cpu:.2f} s")
    for peer in ("bare", "fields"):
        elapsed = statistics.median(each[peer].seconds / each["ingest"].seconds for each in rounds)
        cpu = statistics.median(each[peer].cpu / each["ingest"].cpu for each in rounds)
        print(f"ingest is {elapsed:.2f} times as fast as auparse, {peer} (by CPU {cpu:.2f})")
    log = Log("given", path, records, records, path.stat().st_size)
    print(f"decode  {count(speed('native', log, given.rounds))} records a CPU second")


if __name__ == "__main__":
    main()
