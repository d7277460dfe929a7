"""The fleet: what an event costs a host and the committer, and how many bytes it has.

A recorded log and a made one, in batches of 64,000, through a SeaweedFS with its catalog.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import recorded
from fixtures import long_logs
from fixtures.lake import Lake
from fixtures.seaweed import lake
from live.service import AUDITSVC
from measure import run
from report import Table

from auditsvc.config import load_settings
from auditsvc.fleet.commit import _rows_of
from auditsvc.fleet.packed import written
from auditsvc.fleet.ship import Shipper
from auditsvc.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fixtures.long_logs import Log

_RECORDS: Final = 700_000


def table(*, quick: bool, folder: Path) -> Table:
    """Ship and commit both logs."""
    records = 30_000 if quick else _RECORDS
    made = Table(
        "The fleet",
        ["", "events", "batches", "read, µs", "encode, µs", "ship, µs", "B", "commit, µs", "s"],
        "CPU and bytes of an event: read from the store's views as wide rows, encoded as Parquet,"
        " shipped (both, and PUT), in a batch; CPU of the committer. Last: seconds from the first"
        " event that is shipped to the last that is in the table, one after the other.",
    )
    logs = {
        "recorded": recorded.make(records, folder / "fleet.log"),
        "made mix": long_logs.make("mixed", records, folder / "mixed.log"),
    }
    (folder / "lake").mkdir()
    with lake(folder / "lake") as given:
        for number, (name, log) in enumerate(logs.items()):
            made.add(name, *_cells(Lake(given, f"bench{number}"), log, folder / f"fleet{number}"))
    return made


def _cells(fleet: Lake, log: Log, folder: Path) -> Iterator[str]:
    """Ship a log and commit it; gives the cells of its row."""
    folder.mkdir()
    url = f"sqlite:///{folder / 'store.db'}"
    run(AUDITSVC, "ingest", log.path, "--store", url)
    settings = load_settings(store=url, state_directory=folder, host="box", fleet=fleet.given)
    begun, cpu = time.perf_counter(), time.process_time()
    with open_store(url, create=False) as store:
        shipper = Shipper(store, settings, inbox=fleet.inbox)
        for _ in shipper.steps(only_due=False):
            pass
    shipped = time.process_time() - cpu
    events, size = shipper.events, shipper.bytes
    encode = _encode([fleet.inbox.get(name) or b"" for name in fleet.waiting()])
    committer = fleet.committer()
    cpu = time.process_time()
    while committer.step():
        pass
    committed = time.process_time() - cpu
    took = time.perf_counter() - begun - encode
    yield from (f"{events:,}", str(shipper.batches))
    for each in (shipped - encode, encode, shipped):
        yield f"{each / events * 1e6:.1f}"
    yield f"{size / events:.1f}"
    yield f"{committed / events * 1e6:.1f}"
    yield f"{took:.0f}"


def _encode(batches: list[bytes]) -> float:
    """Give the CPU that coding the rows of batches takes, in seconds."""
    took = 0.0
    for data in batches:
        rows = _rows_of(data)
        cpu = time.process_time()
        written(rows, {})
        took += time.process_time() - cpu
    return took
