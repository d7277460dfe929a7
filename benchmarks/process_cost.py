"""What names, processes and groups cost: CPU and bytes of store an event, without and with them.

    python benchmarks/process_cost.py LOG [--rounds 3]

Each run is a process of its own, which loads LOG into an empty SQLite store, as `run` loads its
spool. `processes` keeps the signs of processes; `with` also looks up the names and groups of all
that a batch shows, in threads of their own as in `run`: each pid is read in /proc (this process's
own groups for every pid, so that no read fails early). The least CPU of the rounds counts; all by
turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from auditsvc.collect.logfile import FollowedFile
from auditsvc.config import load_settings
from auditsvc.decode import make_decoder
from auditsvc.enrich.cgroup_watch import CgroupWatch, read_cgroup, words_of
from auditsvc.enrich.names import NameWatch
from auditsvc.ingest.load import Load, Route
from auditsvc.record.daemon import DaemonRecords
from auditsvc.store import open_store
from auditsvc.store.write.signs import SignWriter

MODES: Final = ("without", "processes", "with")


def _once(path: Path, mode: str, folder: Path) -> dict[str, float]:
    lines: list[bytes] = []
    daemon = DaemonRecords()
    lookers = [
        NameWatch(lambda *told: lines.append(daemon.account(*told))),
        CgroupWatch(
            lambda pid, *told: lines.append(daemon.cgroup(pid, *words_of(*told))),
            read=lambda _: read_cgroup(os.getpid()),
        ),
    ]
    if mode != "with":
        lookers = []
    if mode == "without":
        for name in ("added", "flush", "removed"):
            setattr(SignWriter, name, lambda *_: None)
    batch_bytes = load_settings().loader.batch_bytes
    url = f"sqlite:///{folder}/{mode}.db"
    with open_store(url) as store:
        for each in lookers:
            each.start()
        route = Route(
            "spool",
            str(path),
            lambda *place: FollowedFile(path, *place),
            lambda secret: make_decoder("auto", secret=secret, host="box"),
        )
        began = time.process_time()

        def seen(batch: object) -> None:
            for each in lookers:
                each.seen(batch)

        load = Load(store, route, seen=seen if lookers else None)
        while load.step():
            if load.is_full(batch_bytes):
                load.commit_behind()
        load.finish()
        load.commit()
        for each in lookers:
            each.finish()
        used = time.process_time() - began
        load.close()
        events = load.events
    size = sum(file.stat().st_size for file in folder.glob(f"{mode}.db*"))
    return {"events": events, "cpu": used, "bytes": size, "records": len(lines)}


def main() -> None:
    """Run by turns, and print both and the difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", choices=MODES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        with tempfile.TemporaryDirectory() as name:
            print(json.dumps(_once(given.log, given.once, Path(name))))
        return
    best: dict[str, dict[str, float]] = {}
    for _ in range(given.rounds):
        for mode in MODES:
            command = [sys.executable, __file__, str(given.log), "--once", mode]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            best[mode] = min(best.get(mode, found), found, key=lambda each: each["cpu"])
    events = best["without"]["events"]
    without = best["without"]
    for mode, one in best.items():
        print(
            f"{mode:9} {one['cpu']:6.2f} s, {one['cpu'] / events * 1e6:5.2f} us an event"
            f" ({(one['cpu'] / without['cpu'] - 1) * 100:+5.1f} %),"
            f" {one['bytes'] / events:6.1f} bytes an event"
            f" ({(one['bytes'] - without['bytes']) / events:+5.1f}),"
            f" {one['records']:.0f} records of ours"
        )


if __name__ == "__main__":
    main()
