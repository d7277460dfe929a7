"""The fleet: what hosts ship is in the lake once, event for event, whatever ends whom."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fixtures.lake import Lake, ship
from fixtures.seaweed import lake as run_lake
from fixtures.logs import load, login, opening

from auditsvc.fleet.lake import watermarks, open_table

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Run one object store and catalog for all tests."""
    with run_lake(tmp_path_factory.mktemp("lake")) as found:
        yield found


@pytest.fixture
def lake(server, request):
    """Give a new table and inbox."""
    return Lake(server, request.node.name.split("[")[0])


def test_a_store_comes_whole(lake, tmp_path):
    settings = lake.host(tmp_path, "web1", batch_events=500)
    load(settings.store, (DATA / "mixed.log").read_bytes())
    ship(settings)
    c = lake.commit()
    print(c.done, c.refused)
    print(watermarks(open_table(lake.settings)))
    r = lake.rows()
    print(len(r), r["type"].value_counts())
