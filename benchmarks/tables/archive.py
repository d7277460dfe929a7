"""The archive: bytes and time an event, and ten questions over a made year beside a small store.

A day is archived as `auditsvc archive` does it; the other days of the year are copies of its files,
with ids and times of their own.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import recorded
from fixtures import long_logs
from live.service import AUDITSVC
from measure import run
from pyarrow import parquet
from report import Table, seconds

from auditsvc.archive.ask import run_archive_query
from auditsvc.archive.job import Job
from auditsvc.archive.manifest import file_name, listing, parse
from auditsvc.archive.part import make_writer
from auditsvc.archive.place import open_place
from auditsvc.config import load_settings
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store import open_store
from auditsvc.store.partitions import DAY, date_of

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures.long_logs import Log

    from auditsvc.config import Settings

_YEAR, _MONTH = 365, 30
_RECORDS: Final = {True: 30_000, False: 700_000}
"""Of the recorded log, by `quick`."""
_FIRST: Final = long_logs.BEGIN // DAY
_IDS: Final = ("event_id", "process_id", "began_event_id", "parent_id", "end_event_id")
_DAY: Final = f"time >= '{date_of(_FIRST + 20)}' AND time < '{date_of(_FIRST + 21)}'"
QUESTIONS: Final = {
    "programs of a day": f"SELECT exe, count(*) FROM syscalls WHERE {_DAY} GROUP BY exe",
    "failed opens of a day": "SELECT exe, errno, count(*) FROM syscalls"
    f" WHERE success = 0 AND {_DAY} GROUP BY 1, 2",
    "a process of a day": f"SELECT * FROM story WHERE pid = 1040 AND {_DAY}",
    "a file of a day": f"SELECT * FROM files WHERE name = '/usr/share/doc/file77' AND {_DAY}",
    "all calls of the year": "SELECT count(*) FROM syscalls",
    "programs of the year": "SELECT exe, count(*) FROM syscalls GROUP BY exe",
    "first time of each program": "SELECT exe, min(event_id) FROM syscalls GROUP BY exe",
    "failed calls by user, year": "SELECT auid, count(*) FROM syscalls"
    " WHERE success = 0 GROUP BY 1",
    "who touched a file, year": "SELECT auid, exe, count(*) FROM files"
    " WHERE name = '/usr/share/doc/file77' GROUP BY 1, 2",
    "addresses of the year": "SELECT address, port, count(*) FROM connections GROUP BY 1, 2",
}


def table(*, quick: bool, folder: Path, events: int | None = None) -> Table:
    """Archive a day of so many events, make a year of it, and ask."""
    wanted = events or (5_000 if quick else 100_000)
    log = long_logs.make("mixed", wanted * 4, folder / "archive.log", max(1, wanted // 80_000))
    settings, made_mix = _archived(log, folder / "mixed", (_FIRST + 3) * DAY)
    real = recorded.make(_RECORDS[quick], folder / "archive-recorded.log")
    _, of_real = _archived(real, folder / "recorded", time.time() + 3 * DAY)
    days = _MONTH if quick else _YEAR
    total = made_mix.events + _make_days(settings, days)
    made = Table(
        "The archive",
        ["", "s", "rows"],
        f"{of_real.said} a recorded log, {made_mix.said} a mixed one (aim: 15 bytes of a real"
        f" log). Questions to {total:,} events in {days} days.",
    )
    for name, sql in QUESTIONS.items():
        begin = time.perf_counter()
        with run_archive_query(settings, sql) as result:
            count = sum(1 for _ in result)
        made.add(name, seconds(time.perf_counter() - begin), f"{count:,}")
    return made


class _Took(NamedTuple):
    events: int
    bytes: int
    cpu: float

    @property
    def said(self) -> str:
        each = f"{self.bytes / self.events:.1f} bytes and {self.cpu * 1e6 / self.events:.0f} µs"
        return f"{each} of CPU an event to archive {self.events:,} events of"


def _archived(log: Log, folder: Path, now: float) -> tuple[Settings, _Took]:
    """Load a log, and archive it as at a later time."""
    folder.mkdir()
    url = f"sqlite:///{folder / 'store.db'}"
    run(AUDITSVC, "ingest", log.path, "--store", url)
    settings = load_settings(
        store=url, state_directory=folder / "state", archive={"to": str(folder / "archive")}
    )
    with open_store(url, create=False) as store:
        job = Job(store.database, settings, now=lambda: now)
        began = time.process_time()
        for _ in job.steps():
            pass
        took = time.process_time() - began
    return settings, _Took(sum(job.events.values()), job.bytes, took)


def _make_days(settings: Settings, days: int) -> int:
    """Copy the fullest day of an archive to the days after its last; gives the events."""
    place = open_place(settings.archive)
    names = listing(place.sizes())
    assert names.last is not None
    last = parse(place.read(names.last.name))
    parts = {entry.day: parse(place.read(entry.name)) for entry in names.entries if entry.part}
    day, model = max(parts.items(), key=lambda each: each[1].events)
    digest, n, made = last.digest(), last.n, 0
    assert place.folder is not None
    temporary = place.folder / "day.parquet"
    for to in range(max(parts) + 1, min(parts) + days):
        files = []
        for each in model.files:
            rows = _shifted(parquet.read_table(place.folder / each.name), to - day)
            with make_writer(temporary, rows.schema) as writer:
                writer.write_table(rows, row_group_size=1 << 17)
            data = temporary.read_bytes()
            name = file_name(to, 1, each.view)
            sum_ = hashlib.sha256(data).hexdigest()
            files.append(replace(each, name=name, bytes=len(data), sha256=sum_))
            (place.folder / name).parent.mkdir(exist_ok=True)
            (place.folder / name).write_bytes(data)
        n += 1
        manifest = replace(
            last, n=n, previous=digest, day=date_of(to), through=date_of(to), part=1,
            events=model.events, files=tuple(files),
        )  # fmt: skip
        (place.folder / manifest.name).write_text(manifest.text())
        digest = manifest.digest()
        made += model.events
    temporary.unlink()
    return made


def _shifted(rows: pa.Table, days: int) -> pa.Table:
    """Give the rows as of so many days later."""
    for index, field in enumerate(rows.schema):
        if field.name in _IDS:
            later = pc.add(rows[field.name], pa.scalar((days * DAY) << SERIAL_BITS, pa.int64()))
        elif field.name == "time":
            later = pc.add(rows["time"], pa.scalar(days * DAY * 1000, pa.duration("ms")))
        else:
            continue
        rows = rows.set_column(index, field, later.cast(field.type))
    return rows
