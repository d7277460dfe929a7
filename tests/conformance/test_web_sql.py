"""`auditsvc web`, the page of SQL: cancelled questions, plots, the cookbook."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from fixtures.logs import load, opening, rows
from fixtures.waiting import until
from fixtures.web import Seen, client_of, serving

from auditsvc.access import pending
from auditsvc.store import open_store
from auditsvc.store.read.limits import Limits, Stop
from auditsvc.store.read.sql import run_query
from auditsvc.web.asking import Table
from auditsvc.web.sql import cookbook, plot_of

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture(scope="module")
def url(common_url):
    """Give a store with some events."""
    load(common_url, "".join(opening(n, f"/etc/f{n}") for n in range(5)))
    return common_url


@pytest.mark.one_database
def test_a_question_ends_when_its_client_goes_away(url, tmp_path):
    """Cancel and leaving the page both close the request: the record says so."""
    with serving(url, tmp_path) as (base, _, cookie):
        host, port = base.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            asked = f"GET /sql?q={ENDLESS.replace(' ', '+').replace('+1', '%2B1')} HTTP/1.1"
            head = f"{asked}\r\nHost: {host}:{port}\r\nCookie: {cookie['cookie']}\r\n\r\n"
            connection.sendall(head.encode())
            until(lambda: accesses(url)[-1:] == [None])
        until(lambda: accesses(url)[-1] is not None)
        assert "cancelled" in accesses(url)[-1]


def accesses(url):
    """Give how the recorded questions ended, the last one last; None: it goes on."""
    with open_store(url) as store:
        pending.load(store, url)
    sql = "SELECT ended FROM access WHERE command = 'web' ORDER BY event_id"
    return [row["ended"] for row in rows(url, sql)]


def test_a_stop_ends_what_runs_and_what_begins(url):
    """From another thread, and before the question was begun."""
    stop = Stop()
    stop.set()
    with (
        pytest.raises(Exception, match="cancelled"),
        run_query(url, ENDLESS, Limits(30, stop=stop)) as result,
    ):
        list(result)


@pytest.mark.parametrize(
    ("columns", "found", "names", "is_time"),
    [
        (("hour", "n"), [("2026-01-31 12:00:00", 2), ("2026-01-31 11:00:00", 1)], ("hour", "n"), 1),
        (("nr", "n", "exe"), [(2, 5, "x"), (1, None, "y")], ("nr", "n"), 0),
    ],
)
def test_rows_as_lines(columns, found, names, is_time):
    """Over a time or a number, in its order; a column of text is left out."""
    plot = plot_of(Table(columns, found))
    assert plot.names == names
    assert plot.is_time == bool(is_time)
    assert plot.data[0] == sorted(plot.data[0])
    assert plot.data[1] in ([1.0, 2.0], [None, 5.0])


def test_names_are_bars_and_the_rest_is_no_plot():
    """What cannot be drawn is said."""
    assert plot_of(Table(("exe", "n"), [("a", 4), (None, 1)])).bars == [("a", 4, 100), ("-", 1, 25)]
    for found in ([], [("a", "b")], [(1,)]):
        assert plot_of(Table(("x", "y")[: len(found[0]) if found else 2], found)) is None


def test_the_plot_is_in_the_address(url, tmp_path):
    """The same link shows a colleague the same."""
    client = client_of(url, tmp_path)
    asked = {"q": "SELECT hour, sum(calls) AS n FROM activity GROUP BY hour", "as": "plot"}
    seen = Seen(client.get("/sql", params=asked).text)
    (data,) = [value for _, name, value in seen.attributes if name == "data-chart"]
    assert json.loads(data)[1] == [5]
    part = client.get("/sql", params=asked, headers={"hx-request": "true"}).text
    assert "<html" not in part
    assert "data-chart" in part
    whole = {"hx-request": "true", "hx-history-restore-request": "true"}
    assert "<html" in client.get("/sql", params=asked, headers=whole).text


def test_the_cookbook_is_that_of_the_documentation(url, tmp_path):
    """Each question, with the SQL that its link asks."""
    page = (Path(__file__).parents[2] / "docs/cookbook.md").read_text()
    asked = [each["sql"] for each in cookbook()]
    assert asked == re.findall(r"```sql\n(.*?)\n```", page, re.DOTALL)
    assert [each["question"] for each in cookbook()] == re.findall(r"## \d+\. (.+)", page)
    text = Seen(client_of(url, tmp_path).get("/sql").text).text
    assert cookbook()[0]["question"] in text
    assert "at most 30.0 s" in text
