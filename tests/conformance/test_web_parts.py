"""Lists of the overview that are asked of the newest part of the time first."""

from __future__ import annotations

import re

import pytest
from fixtures.logs import SECOND, load, login, rows
from fixtures.web import accesses, client_of

SHOWN = 12


@pytest.mark.each_database
@pytest.mark.parametrize("until", ["&until=2100-01-01", ""])
@pytest.mark.parametrize("gap", [1, 3600], ids=["many in the newest part", "few there"])
def test_the_newest_logins(url, tmp_path, gap, until):
    """The same dozen as of the whole time; what was asked in vain does not count as shown."""
    lines = [login(n, second=SECOND + n * 60) for n in range(20)]
    lines += [login(100 + n, second=SECOND + 90_000 + n * gap) for n in range(15)]
    load(url, "".join(lines))
    sql = f"SELECT event_id FROM logins ORDER BY event_id DESC LIMIT {SHOWN}"
    newest = [row["event_id"] for row in rows(url, sql)]
    page = client_of(url, tmp_path).get(f"/part/logins?since=2000-01-01{until}").text
    assert [int(each) for each in re.findall(r"/event/([0-9]+)", page)] == newest
    assert accesses(url)[-1]["rows"] == SHOWN
