"""Space: stages and forecast without I/O, then each action on a disk that is really small."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from fixtures.disk import small_disk
from fixtures.logs import login, opening

from auditsvc.collect.collector import RecordCollector
from auditsvc.config import load_settings
from auditsvc.errors import ConfigError, SpoolError
from auditsvc.record.daemon import DaemonRecords
from auditsvc.retention.stages import Stages, Trend
from auditsvc.service.run import Service
from auditsvc.service.space import SpaceWatch
from auditsvc.spool.room import Room
from auditsvc.spool.segments import Place
from auditsvc.spool.sink import Sink
from auditsvc.spool.writer import SpoolWriter


@pytest.mark.parametrize(
    ("used", "stages"),
    [
        ([10, 74.9, 75, 74.1, 73.9, 74.5], "enough enough warn warn enough enough"),
        ([96, 94.5, 93.9, 94.9, 95], "act act warn warn act"),
        ([96, 10, 96], "act enough act"),
        ([75, 95, 94, 74, 73], "warn act act warn enough"),
    ],
)
def test_a_stage_ends_below_where_it_begins(used, stages):
    """One percent, so that it does not change with each record."""
    watch = Stages(warn=75, act=95)
    assert " ".join(watch.step(each) for each in used) == stages


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ([], "unknown"),
        ([(0, 50), (599, 60)], "unknown"),
        ([(0, 50), (600, 50)], "never"),
        ([(0, 50), (600, 40)], "never"),
        ([(0, 50), (3600, 55)], "95 % in 8.0 hours"),
        ([(0, 50), (30, 90), (86400, 55)], "95 % in 8 days"),
        ([(0, 50), (3600, 97)], "95 % in 0.0 hours"),
    ],
)
def test_the_forecast_goes_on_at_the_mean_rate(seen, says):
    """After ten minutes of watching; values of the same minute do not count."""
    trend = Trend()
    for now, used in seen:
        trend.note(now, used)
    assert trend.says(95).startswith(says)


@pytest.fixture
def disk(tmp_path):
    """Give a disk of 16 MiB with a spool."""
    with small_disk(tmp_path / "small", 16384) as folder:
        yield folder


SMALL = {
    "reserve_bytes": 1 << 10,
    "segment_bytes": 1 << 12,
    "keep_bytes": 1 << 19,
    "limit_bytes": 1 << 20,
}


def watching(disk, tmp_path, spool=None, **space):
    """Make a watch over a spool on the disk."""
    spool = spool or {"reserve_bytes": 1 << 20, "segment_bytes": 1 << 20}
    settings = load_settings(
        spool=spool | {"directory": disk / "spool"},
        runtime_directory=tmp_path / "run",
        space=space,
    )
    writer = SpoolWriter(
        disk / "spool", segment_bytes=1 << 20, fsync="none", room=Room(1 << 20, None)
    )
    sink = Sink(writer, DaemonRecords())
    return SpaceWatch(settings, SimpleNamespace(sink=sink, collector=None))


def fill(disk, percent):
    """Fill the disk by a file of somebody else."""
    (disk / "ballast").unlink(missing_ok=True)
    have = os.statvfs(disk)
    used = (have.f_blocks - have.f_bfree) * have.f_frsize
    wanted = have.f_blocks * have.f_frsize * percent // 100
    (disk / "ballast").write_bytes(bytes(max(0, wanted - used)))


def test_a_program_is_told_each_stage(disk, tmp_path):
    """And when there is room again."""
    out = tmp_path / "out"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$AUDITSVC_ALERT_STATE" >> {out}\n')
    program.chmod(0o755)
    watch = watching(disk, tmp_path, warn_actions=["exec"], exec=[str(program)])
    for at, percent in enumerate((50, 85, 99, 50)):
        fill(disk, percent)
        watch.look(at * 2.0)
        assert bool(watch.text) == (percent > 75)
    watch.finish()
    assert out.read_text().split() == ["warn", "act", "enough"]


def test_ordinary_records_are_dropped_and_counted_until_there_is_room(disk, tmp_path):
    """Logins are written; the sum of what is written and what is counted is all."""
    watch = watching(disk, tmp_path, act_actions=["drop"])
    sink = watch._parts.sink
    event = opening(1, auid=1000).encode()
    lines = event.count(b"\n")

    def put(count):
        for _ in range(count):
            sink.put(event, lines)

    put(100)
    assert sink.dropped == 0
    fill(disk, 97)
    watch.look(2.0)
    written = sink.records
    put(2000)  # 1.2 MB: more than its share of the reserve
    assert sink.dropped > 0
    assert sink.records - written + sink.dropped == 2000 * lines
    dropped = sink.dropped
    sink.put(login(2).encode(), 1)
    assert sink.dropped == dropped
    fill(disk, 50)
    watch.look(4.0)
    sink.sync()
    put(10)
    assert sink.dropped == dropped
    sink.close()
    log = b"".join(path.read_bytes() for path in sorted((disk / "spool").glob("*.log")))
    counts = [
        int(line.split(b"spool=")[1].split()[0]) for line in log.splitlines() if b"op=lost" in line
    ]
    assert sum(counts) == dropped


def test_segments_that_are_in_the_store_go_first_if_it_is_set(disk, tmp_path):
    """Only while the stage lasts, and never one that is not in the store."""
    watch = watching(disk, tmp_path, act_actions=["drop-loaded"])
    sink = watch._parts.sink
    for _ in range(4):
        sink.put(b"x" * 1000 + b"\n", 1)
        sink.rotate()
    service = Service(watch._settings, [])
    service._space = watch
    place = Place(3, 0)
    fill(disk, 50)
    watch.look(2.0)
    service._discard.step(watch._settings, place, watch.keep)
    assert len(list((disk / "spool").glob("*.log"))) == 5
    fill(disk, 97)
    watch.look(4.0)
    service._discard.step(watch._settings, place, watch.keep)
    assert [path.name[-5] for path in sorted((disk / "spool").glob("*.log"))] == ["3", "4", "5"]


def test_the_reader_is_slowed_and_let_go(disk, tmp_path):
    """Its buffer becomes as small as possible, and what it was again."""
    watch = watching(disk, tmp_path, act_actions=["hold"])
    did = []
    source = SimpleNamespace(
        overflows=0,
        forged=0,
        receive_buffer=7,
        block=lambda: did.append("block"),
        unblock=did.append,
    )
    collector = RecordCollector(source, watch._parts.sink)
    watch._parts.collector = collector
    for at, percent in enumerate((97, 98, 50, 97)):
        fill(disk, percent)
        watch.look(at * 2.0)
    watch.finish()
    assert did == ["block", 7, "block", 7]
    collector.close()


def test_the_service_stops_or_the_host_is_switched_off_if_that_is_set(disk, tmp_path):
    """Once."""
    out = tmp_path / "out"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho halt >> {out}\n")
    program.chmod(0o755)
    watch = watching(disk, tmp_path, act_actions=["stop", "halt"], halt=[str(program)])
    fill(disk, 80)
    watch.look(2.0)
    assert not watch.stops
    for at in (4.0, 6.0):
        fill(disk, 97)
        watch.look(at)
    assert watch.stops
    watch.finish()
    assert out.read_text() == "halt\n"
    service = Service(watch._settings, [])
    service._space, service._tick = watch, lambda: None
    reason, _ = service._wait(SimpleNamespace(wait=lambda _: None), None)
    assert reason == "space"


def test_the_limit_counts_like_a_disk(disk, tmp_path):
    """What is kept on purpose is not counted: else a full `keep_bytes` would always warn."""
    watch = watching(disk, tmp_path, spool=SMALL)
    sink = watch._parts.sink
    sink.put((b"x" * 1023 + b"\n") * 512, 512)
    watch.look(2.0)
    assert watch.stage == "enough"
    sink.put((b"x" * 1023 + b"\n") * 410, 410)
    watch.look(4.0)
    assert (watch.stage, round(watch.used)) == ("warn", 80)


@pytest.mark.parametrize(("keep", "used"), [(1 << 18, 84), (1 << 20, 88), (1 << 30, 88)])
def test_the_limit_counts_from_what_a_reload_keeps(disk, tmp_path, keep, used):
    """Also if that is the limit, or more: then all counts."""
    watch = watching(disk, tmp_path, spool=SMALL)
    watch._parts.sink.put((b"x" * 1023 + b"\n") * 900, 900)
    watch.look(2.0)
    new = watch._settings.spool.model_copy(update={"keep_bytes": keep})
    service = Service(watch._settings, [], read=lambda: (_with_spool(watch, new), [], []))
    service._space = watch
    service._use_new()
    watch.look(4.0)
    assert round(watch.used) == used


def _with_spool(watch, spool):
    return watch._settings.model_copy(update={"spool": spool})


def test_a_folder_that_cannot_be_listed_ends_no_run(disk, tmp_path, monkeypatch):
    """It is the spool's error: it is shown, and the next look is another one."""
    watch = watching(disk, tmp_path, spool=SMALL, act_actions=["drop"])
    with monkeypatch.context() as patch:
        patch.setattr("auditsvc.service.space.sizes", _refuse)
        watch.look(2.0)
    assert watch.used == 0.0
    fill(disk, 97)
    with monkeypatch.context() as patch:
        patch.setattr("auditsvc.spool.sink.sizes", _refuse)
        watch.look(4.0)
    assert watch._parts.sink.refused == "spool: no"
    assert watch.stage == "act"


def _refuse(*_):
    raise SpoolError("spool: no")


@pytest.mark.parametrize(
    "wrong",
    [
        {"warn": 90, "act": 80},
        {"warn_actions": ["exec"]},
        {"act_actions": ["pray"]},
        {"exec": ["x"]},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong):
    """An action without its program would do nothing."""
    with pytest.raises(ConfigError):
        load_settings(space=wrong)
