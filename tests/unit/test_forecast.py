"""When a store will be full, from how it grew; how many rows a step takes."""

from __future__ import annotations

import pytest

from auditsvc.config import RetentionSettings, load_settings
from auditsvc.errors import ConfigError
from auditsvc.retention import pace
from auditsvc.retention.forecast import Room, Size, forecast
from auditsvc.retention.job import first_kept

DAY = 86_400
ROOM = Room(used=500, most=1500, what="its disk")


def test_the_rate_is_of_what_arrives():
    """What deletions freed is added to what is there."""
    told = forecast([Size(0, 400, 70), Size(DAY, 500, 0), Size(2 * DAY, 500, 100)], ROOM)
    assert told.bytes_a_day == 100
    assert told.full_in_days == 10
    assert told.says == "full in 10 days: then its disk"


@pytest.mark.parametrize(
    ("sizes", "room", "says"),
    [
        ([], ROOM, "unknown until"),
        ([Size(0, 1, 0), Size(3599, 9, 0)], ROOM, "unknown until"),
        ([Size(0, 9, 0), Size(DAY, 9, 0)], ROOM, "never: it does not grow"),
        ([Size(0, 9, 0), Size(DAY, 99, 0)], None, "unknown: its disk"),
        ([Size(0, 0, 0), Size(DAY, 100, 0)], Room(500, 1500, "x", days=9), "about 1000 bytes"),
        ([Size(0, 0, 0), Size(DAY, 100, 0)], Room(500, 1500, "x", days=90), "full in 10 days"),
        ([Size(0, 0, 0), Size(DAY, 100, 0)], Room(1600, 1500, "x"), "full in 0 days"),
    ],
)
def test_what_is_told(sizes, room, says):
    """Nothing without an hour's growth; never, where days go before it is full."""
    assert says in forecast(sizes, room).says


def test_a_step_takes_as_many_rows_as_its_time_allows(monkeypatch):
    """More from step to step while it is quick, fewer at once where it is slow, not very few."""
    now = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    made, taken = pace.Pace(0.05), []
    for a_row in (0.0001, 0.0001, 0.0001, 0.0002, 0.01, 9.0):
        with made.timed("events") as rows:
            now[0] += rows * a_row
        taken.append(rows)
    assert taken == [200, 300, 450, 500, 250, 100]
    with made.timed("pages") as rows:
        assert rows == 200


def test_days_are_whole_and_before_today():
    """`1d` keeps today and yesterday, at any time of the day."""
    for now in (20_400 * DAY, 20_401 * DAY - 1):
        assert first_kept(RetentionSettings(keep="1d"), now) == 20_399
    assert first_kept(RetentionSettings(), now) is None


@pytest.mark.parametrize("keep", ["90", "0d", "d", "-1d", "90 d", "1y", ""])
def test_what_is_no_number_of_days_is_refused(keep, monkeypatch):
    """The line says how it is written."""
    monkeypatch.setenv("AUDITSVC_RETENTION__KEEP", keep)
    with pytest.raises(ConfigError, match="90d") as caught:
        load_settings()
    assert "AUDITSVC_RETENTION__KEEP" in str(caught.value)
