"""Hosts, committers, compaction, the object store killed at random moments: the lake is exact."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fixtures import days
from fixtures.days import TODAY
from fixtures.lake import Lake, differences
from fixtures.seaweed import lake
from fixtures.waiting import until

from auditsvc.errors import FleetError
from auditsvc.fleet import lake as tables
from auditsvc.fleet.compact import compact
from auditsvc.fleet.sweep import sweep
from auditsvc.fleet.verify import verify_lake
from auditsvc.store.partitions import DAY

TESTS = Path(__file__).parents[1]
_CODE = "from fixtures.fleet_kills import main; main()"


@pytest.mark.parametrize(
    ("kills", "events", "pause"),
    [
        pytest.param(9, 12, 0.25, id="9"),  # each process once, and the volume
        pytest.param(100, 400, 1.5, id="100", marks=pytest.mark.long),
    ],
)
def test_rows_of_the_lake_equal_the_stores_event_for_event(tmp_path, kills, events, pause):
    """Hosts, committers, compaction, its sweeping, the object store; then all come to their end."""
    made = days.log(days.chance(kills), range(TODAY - 2, TODAY + 1), each=events)
    log = tmp_path / "events.json"
    log.write_text(json.dumps([text for _, text in made]))
    volume = {}
    with lake(tmp_path, told=volume) as given:
        fleet = Lake(given, "kills")
        hosts = [fleet.host(tmp_path, name, batch_events=7) for name in ("web1", "web2", "db1")]
        plan = {
            "hosts": [_given(each, fleet.given) for each in hosts],
            "lake": fleet.given,
            "shard": fleet.settings.shard,
            "kills": kills,
            "pause": pause,
            "seed": kills,
            "log": str(log),
            "volume": volume,
        }
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CODE, json.dumps(plan)],
            capture_output=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(TESTS)},
        )
        assert (done.returncode, done.stderr) == (0, b"")
        killed = json.loads(done.stdout)
        assert sum(killed.values()) == kills
        assert killed.keys() == {"host", "committer", "compaction", "sweep", "volume"}
        until(lambda: _answers(fleet), 60)
        for settings in hosts:
            fleet.ship(settings)
        assert fleet.commit().refused == []
        late = time.time() + 3 * DAY
        assert all(each.is_done for each in compact(fleet.settings, now=late))
        sweep(fleet.settings, snapshots=0, files=0, now=late)
        assert differences(fleet, hosts) == []
        assert fleet.waiting() == []
        marks = tables.watermarks(tables.open_table(fleet.settings)).values()
        assert [mark.events for mark in marks] == [len(made)] * 3
        assert all(mark.events == mark.told for mark in marks)
        assert verify_lake(fleet.settings).findings == []


def _given(settings, fleet):
    return {
        "store": settings.store,
        "host": settings.host,
        "state_directory": str(settings.state_directory),
        "fleet": fleet | {"batch_events": settings.fleet.batch_events},
    }


def _answers(fleet):
    """Whether the object store takes objects and the catalog answers again."""
    try:
        fleet.inbox.delete([f"probe/{fleet.inbox.put('probe/x', b'x')}", "probe/x"])
        tables.open_table(fleet.settings)
    except FleetError:
        return False
    return True
