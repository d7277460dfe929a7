"""What the archive reads of a day costs in proportion to the day's events."""

from __future__ import annotations

import pytest
from fixtures.days import TODAY
from fixtures.logs import call, end, load, login, path
from fixtures.stores import new_store

from auditsvc.archive.rows import columns_by_view, read_view
from auditsvc.archive.views import LASTING, OF_EVENTS, ids_of_days
from auditsvc.arrow.view_rows import Views
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.partitions import DAY

VIEWS = (*OF_EVENTS, *LASTING)
_FEW, _MORE = 300, 1200
_STEPS = 100
"""Of SQLite's machine, between two calls."""


def log(events):
    """Give calls, each of a process and a file of its own, execs among them, and logins."""
    parts = []
    for serial in range(1, events + 1):
        when = {"second": TODAY * DAY + serial % 9000}
        about = {"pid": 100 + serial, "ppid": 99 + serial, "nr": 59 if serial % 3 else 231}
        parts.append(call(serial, **about, **when) + path(serial, f"/f{serial}", **when))
        parts.append(end(serial, **when))
        if serial % 4 == 0:
            parts.append(login(events + serial, **when))
    return "".join(parts)


def steps(folder, events):
    """Give the steps that each view takes for a day of so many events.

    Of few columns: what finds the rows is asked, not what is looked up for each.
    """
    file = folder / f"{events}.db"
    new_store(file)
    url = f"sqlite:///{file}"
    load(url, log(events))
    found = {}
    with open_store(url, create=False, read=True) as store, reading(store.database) as connection:
        driver = connection.connection.driver_connection
        for view, columns in columns_by_view(connection, VIEWS).items():
            seen = []
            driver.set_progress_handler(lambda seen=seen: seen.append(1), _STEPS)
            read_view(Views(connection), view, columns[:3], ids_of_days(TODAY, TODAY))
            driver.set_progress_handler(None, 0)
            found[view] = len(seen)
    return found


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Give the steps for few and for more events."""
    folder = tmp_path_factory.mktemp("growth")
    return steps(folder, _FEW), steps(folder, _MORE)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_read_in_proportion_to_the_events(counted, view):
    """Four times the events: not six times the steps."""
    few, more = (each[view] for each in counted)
    assert more < 6 * (few + 20)
