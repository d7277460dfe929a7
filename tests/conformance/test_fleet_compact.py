"""Compaction and sweeping of the lake: no row is lost or doubled, whoever does what meanwhile."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pytest
from fixtures import days
from fixtures.commands import run
from fixtures.days import NOW, TODAY, text_of
from fixtures.fleet_rows import wide_rows
from fixtures.lake import Stop, differences
from fixtures.logs import load
from fixtures.repeats import some
from fixtures.stores import new_store
from pyarrow import fs, parquet
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.table import Table
from pyiceberg.types import StringType

from auditsvc.errors import FleetError
from auditsvc.fleet import commit, compact, merge
from auditsvc.fleet import lake as tables
from auditsvc.fleet.prune import prune
from auditsvc.fleet.schema import schema
from auditsvc.fleet.sweep import Swept, sweep
from auditsvc.fleet.verify import verify_lake
from auditsvc.store.partitions import DAY

LATER = time.time() + 2 * DAY
"""When all days of the rows are over, and that of the batches' own."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Give wide rows of two days of a host, in the order of their times."""
    url = f"sqlite:///{tmp_path_factory.mktemp('made')}/store.db"
    new_store(Path(url.removeprefix("sqlite:///")))
    load(url, text_of(days.log(days.chance(1), (TODAY - 1, TODAY), each=6)))
    return pa.Table.from_pylist(wide_rows(url, "web1", "a" * 32), schema()).sort_by("time")


@pytest.fixture
def table(lake, made):
    """Give a table with these rows in three files a day."""
    for place in range(3):
        lake.open().append(made.take([*range(place, len(made), 3)]))
    return lake.open()


@pytest.fixture
def host(lake, tmp_path, monkeypatch):
    """Give a host whose events of two days are in the table, in some commits."""
    monkeypatch.setattr(commit, "_MOST_FILES", 1)
    found = lake.host(tmp_path, "web1", batch_events=2)
    load(found.store, text_of(days.log(days.chance(1), (TODAY - 1, TODAY), each=3)))
    lake.ship(found, now=lambda: NOW)
    assert lake.commit().done.commits > 2
    return found


def files(lake):
    """Give the files of the table."""
    return [task.file for task in lake.open().scan().plan_files()]


def rows(lake):
    """Give the rows, in one order."""
    return sorted(lake.rows().to_pylist(), key=repr)


def done(lake):
    """Compact; gives how many files of which groups became one."""
    made = compact.compact(lake.settings, now=LATER)
    return [len(each.group.files) for each in made if each.is_done]


def sweep_all(lake):
    """Remove all that the newest state of the table has not."""
    return sweep(lake.settings, snapshots=0, files=0, now=time.time() + 60)


def stored(lake):
    """Give the data files that the object store has."""
    table = lake.open()
    place = table.location_provider().data_path.removeprefix("s3://")
    found = table.io.fs_by_scheme("s3", "lake").get_file_info(
        fs.FileSelector(place, recursive=True)
    )
    return {each.path for each in found if each.path.endswith(".parquet")}


def test_rows_are_the_same_in_fewer_files(lake, host):
    """Watermarks and evidence too; each file is in the table's order; a second time is nothing."""
    before, marks = rows(lake), tables.watermarks(lake.open())
    many = len(files(lake))
    groups = compact.list_groups(lake.settings, now=LATER)
    assert done(lake) == [len(each.files) for each in groups]
    assert len(groups) > 1
    assert len(files(lake)) == many - sum(len(each.files) - 1 for each in groups)
    assert rows(lake) == before
    assert differences(lake, [host]) == []
    assert tables.watermarks(lake.open()) == marks
    assert verify_lake(lake.settings).findings == []
    for each in lake.open().scan().to_arrow_batch_reader():
        keys = list(zip(*(each[name].to_pylist() for name in ("host", "event_id")), strict=True))
        assert keys == sorted(keys)
    assert done(lake) == []
    assert lake.commit().done.batches == 0


@pytest.mark.usefixtures("table")
def test_files_that_are_large_enough_or_of_this_hour_stay(lake, monkeypatch):
    """Of a day that is not over only hours that are, and only where there are many files."""
    size = min(each.file_size_in_bytes for each in files(lake))
    assert compact.list_groups(lake.settings, now=LATER, target=size) == []
    whole = compact.list_groups(lake.settings, now=LATER)
    assert [(each.day, len(each.files)) for each in whole] == [(TODAY - 1, 3), (TODAY, 3)]
    two = compact.list_groups(lake.settings, now=LATER, target=size * 5 // 2)
    assert [len(each.files) for each in two] == [2, 2]
    end = (TODAY + 1) * DAY - 1
    assert [each.day for each in compact.list_groups(lake.settings, now=end)] == [TODAY - 1]
    monkeypatch.setattr(compact, "_FEW", 3)
    of_today = compact.list_groups(lake.settings, now=end)[1:]
    assert [(each.day, len(each.files)) for each in of_today] == [(TODAY, 3)]
    first = min(row["time"] for row in rows(lake) if row["time"].timestamp() >= TODAY * DAY)
    now = first.timestamp() // 3600 * 3600 + 3599
    assert [each.day for each in compact.list_groups(lake.settings, now=now)] == [TODAY - 1]


def test_a_committer_that_is_faster_costs_only_a_second_try(lake, host, tmp_path, monkeypatch):
    """What it commits while the new file is written stays, and the file is written once."""
    other = lake.host(tmp_path, "db1")
    load(other.store, text_of(days.log(days.chance(2), [TODAY - 1], each=4)))
    lake.ship(other, now=lambda: NOW)
    written, whole = [], compact.merged

    def merged(table, group):
        written.append(whole(table, group))
        lake.commit()
        return written[-1]

    groups = len(compact.list_groups(lake.settings, now=LATER))
    monkeypatch.setattr(compact, "merged", merged)
    monkeypatch.setattr(compact, "_PAUSE", 0)
    assert len(done(lake)) == len(written) == groups
    assert differences(lake, [host, other]) == []
    assert verify_lake(lake.settings).findings == []


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("step", some(["before its commit", "after its commit"], "killed", 1))
def test_a_killed_compaction_leaves_the_rows_and_a_file_that_is_swept(lake, monkeypatch, step):
    """Before its commit the table is as it was."""
    before, exchange = rows(lake), compact._exchange

    def stop(*given):
        if step == "after its commit":
            exchange(*given)
        raise Stop

    monkeypatch.setattr(compact, "_exchange", stop)
    with pytest.raises(Stop):
        done(lake)
    monkeypatch.undo()
    assert len(files(lake)) == (6 if step == "before its commit" else 4)
    assert len(stored(lake)) == 7
    sweep_all(lake)
    assert len(stored(lake)) == len(files(lake))
    assert rows(lake) == before
    assert len(done(lake)) >= 1
    assert rows(lake) == before


@pytest.mark.usefixtures("table")
def test_what_retention_took_out_meanwhile_does_not_come_back(lake, monkeypatch):
    """The group of that day is given up, and its new file is deleted."""
    whole = compact.merged

    def merged(table, group):
        made = whole(table, group)
        prune(lake.settings, TODAY)
        return made

    monkeypatch.setattr(compact, "merged", merged)
    made = list(compact.compact(lake.settings, now=LATER))
    assert [each.is_done for each in made] == [False, True]
    assert [each.partition[0] for each in files(lake)] == [TODAY]
    assert len(stored(lake)) == 7


@pytest.mark.usefixtures("table")
def test_a_sweep_takes_no_file_that_is_about_to_be_committed(lake, made, monkeypatch):
    """A compaction gives its own up; a committer's commit fails, and it writes its rows anew."""
    before, whole = rows(lake), compact.merged

    def merged(table, group):
        found = whole(table, group)
        sweep_all(lake)
        return found

    monkeypatch.setattr(compact, "merged", merged)
    assert done(lake) == []
    assert rows(lake) == before
    committing, swept = Table._do_commit, []

    def sweep_first(self, *arguments, **named):
        monkeypatch.undo()
        swept.append(sweep_all(lake))
        return committing(self, *arguments, **named)

    table = lake.open()
    table.metadata.properties.update(tables.NO_RETRY)
    monkeypatch.setattr(Table, "_do_commit", sweep_first)
    with pytest.raises(CommitFailedException):
        table.append(made)
    assert swept[0].files > 0
    assert rows(lake) == before


@pytest.mark.usefixtures("table")
def test_young_files_and_states_stay(lake):
    """A question that has begun can end, and so can another program's job."""
    assert sweep(lake.settings, snapshots=3600, files=3600) == Swept()
    assert len(lake.open().metadata.snapshots) == 3
    assert done(lake) == [3, 3]
    late = time.time() + 60
    assert sweep(lake.settings, snapshots=0, files=3600, now=late) == Swept(snapshots=4)
    assert len(stored(lake)) == 8
    sweep_all(lake)
    assert len(stored(lake)) == 2


def test_each_column_has_its_number_so_that_other_engines_find_it(lake, table):
    """Those of structs and lists too: as in a file of a committer, and in the table."""
    old = _shape(table, files(lake)[0])
    assert done(lake) == [3, 3]
    made = [_shape(table, each) for each in files(lake)]
    assert made == [old, old]
    assert [pyarrow_to_schema(each) for each in made] == [table.schema()] * 2


def _shape(table, file):
    with table.io.new_input(file.file_path).open() as stream:
        return parquet.ParquetFile(pa.BufferReader(stream.read())).schema_arrow


@pytest.mark.usefixtures("table")
def test_a_column_of_a_newer_program_stays(lake):
    """And rows from before it have NULL in it."""
    with lake.open().update_schema() as change:
        change.add_column("newer", StringType())
    row = rows(lake)[0] | {"newer": "kept"}
    kind = schema().append(pa.field("newer", pa.string()))
    lake.open().append(pa.Table.from_pylist([row], kind))
    before = rows(lake)
    assert done(lake) == [4, 3]
    assert rows(lake) == before
    assert [row["newer"] for row in before if row["newer"]] == ["kept"]


@pytest.mark.usefixtures("table")
def test_rows_that_are_not_all_there_are_not_committed(lake, monkeypatch):
    """The count of the new file is held to that of the old ones."""
    parts = merge._parts
    monkeypatch.setattr(merge, "_GROUP", 2)
    monkeypatch.setattr(merge, "_parts", lambda of: parts(of)[:-1])
    before = rows(lake)
    with pytest.raises(FleetError, match="another number"):
        done(lake)
    monkeypatch.undo()
    assert rows(lake) == before
    assert len(stored(lake)) == len(files(lake))


@pytest.mark.usefixtures("table")
def test_the_commands(lake):
    """As an administrator has them."""
    environment = os.environ | {
        **{f"AUDITSVC_FLEET__{name.upper()}": str(value) for name, value in lake.given.items()},
    }

    def said(*arguments, status=0):
        done = run("fleet", *arguments, environment=environment)
        assert done.returncode == status, done.stderr
        return done.stdout.decode() or done.stderr.decode()

    planned = json.loads(said("compact", "--dry-run"))
    assert [each["files"] for each in planned] == [3, 3]
    assert said("compact", "--format", "table").count("-> 1 file") == 2
    assert said("prune") == "removed: 0 snapshots; 0 files in none, 0 bytes\n"
