"""The views over the fleet's rows say what each host's own store says, row for row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fixtures.cookbook_log import cookbook_log
from fixtures.fleet_rows import InMemory, batch_row, wide_rows
from fixtures.logs import Pipe, login, opening, record, rows
from fixtures.stores import new_store

from auditsvc.errors import QueryError
from auditsvc.fleet import views
from auditsvc.store.read.time_span import END

DATA = Path(__file__).parents[1] / "data"
STORES = {"alpha": "a" * 32, "beta": "b" * 32, "gamma": "c" * 32}
DECODER = {"alpha": "reference", "beta": "auto", "gamma": "reference"}
SAME = 1_795_000_000
OTHER = "node=other "


def put(host, url, text, name="log", **options):
    """Load a log by the host's decoder."""
    pipe = Pipe(url, name, host=host, **options)
    pipe.decoder = DECODER[host]
    try:
        pipe.load(text)
    finally:
        pipe.close()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """Give the stores of three hosts by name: a cookbook's log, a recorded one, small ones."""
    urls = {}
    for host in STORES:
        folder = tmp_path_factory.mktemp(host)
        urls[host] = f"sqlite:///{folder}/store.db"
        new_store(folder / "store.db")
        put(host, urls[host], opening(7, second=SAME) + record("USER_CMD", 8, "x=1", second=SAME))
    put("alpha", urls["alpha"], cookbook_log()[0], kind="spool")
    put("beta", urls["beta"], (DATA / "mixed.log").read_bytes())
    put("beta", urls["beta"], opening(9, node=OTHER) + login(10, node=OTHER), name="other")
    for each in sorted((DATA / "records").glob("*.log")):
        put("gamma", urls["gamma"], each.read_bytes(), name=each.name)
    return urls


@pytest.fixture(scope="module")
def fleet(hosts):
    """Give the table with the rows of all three."""
    made = [row for host, url in hosts.items() for row in wide_rows(url, host, STORES[host])]
    return InMemory(made)


def plain(row):
    """Give a row in a form in which it can be compared; JSON as what it says."""
    return {
        name: json.loads(value)
        if name in ("argv", "parent_argv", "fields") and isinstance(value, str)
        else value
        for name, value in row.items()
    }


@pytest.mark.parametrize("view", views.VIEWS)
def test_each_view_is_that_of_the_hosts_stores(hosts, fleet, view):
    """All rows and columns, of three hosts, each found under its host and store."""
    wanted = []
    for host, url in hosts.items():
        for row in rows(url, f"SELECT * FROM {view}"):
            node = row.pop("host", None)
            if view == "access":
                row["asked_store"] = row.pop("store")
            wanted.append({**row, "host": host, "store": STORES[host], "node": node})
    found = fleet.ask(f"SELECT * FROM {view}")
    assert wanted or view in ("tamper", "coverage", "access")
    if wanted and wanted[0]["node"] is None:
        wanted = [{**row, "node": None} for row in wanted]
        found = [{**row, "node": None} for row in found]
    assert sorted(repr(sorted(plain(r).items())) for r in found) == sorted(
        repr(sorted(plain(r).items())) for r in wanted
    )


@pytest.fixture(scope="module")
def twins(hosts):
    """Give the rows of one store as two hosts would have them, if all their ids were equal."""
    first = wide_rows(hosts["alpha"], "alpha", STORES["alpha"])
    return InMemory(first), InMemory([*first, *({**row, "host": "twin"} for row in first)])


JOINED = {
    "using": "SELECT s.exe FROM paths p JOIN syscalls s USING (event_id)",
    "using-of-three": "SELECT 1 FROM paths p JOIN syscalls s USING (event_id)"
    " JOIN story USING (event_id)",
    "on": "SELECT s.exe FROM paths p JOIN syscalls s ON p.event_id = s.event_id",
    "where": "SELECT s.exe FROM paths p, syscalls s WHERE s.event_id = p.event_id AND s.pid > 0",
    "exists": "SELECT 1 FROM syscalls s WHERE EXISTS (SELECT 1 FROM paths p"
    " WHERE p.event_id = s.event_id)",
    "in": "SELECT 1 FROM syscalls WHERE event_id IN (SELECT event_id FROM paths)",
    "not-in": "SELECT 1 FROM syscalls s WHERE s.event_id NOT IN (SELECT p.event_id FROM paths p)",
    "grouped": "SELECT event_id, count(*) FROM paths GROUP BY event_id",
    "having": "SELECT event_id FROM paths GROUP BY event_id HAVING count(*) > 1",
    "partition": "SELECT 1 FROM (SELECT row_number() OVER (PARTITION BY event_id) AS n FROM paths)"
    " WHERE n = 1",
    "query": "SELECT 1 FROM (SELECT * FROM paths) p JOIN syscalls s ON s.event_id = p.event_id",
    "cte": "WITH f AS (SELECT host, store, event_id FROM files) SELECT 1 FROM f"
    " JOIN syscalls USING (event_id)",
    "said": "SELECT 1 FROM paths JOIN syscalls USING (host, store, event_id)",
    "said-on": "SELECT 1 FROM paths p JOIN syscalls s"
    " ON p.host = s.host AND p.event_id = s.event_id",
    "logins": "SELECT 1 FROM logins l JOIN events e ON e.event_id = l.user_login_event_id",
    "process": "SELECT a.pid FROM syscalls a JOIN syscalls b ON a.process_id = b.process_id",
    "since": "SELECT 1 FROM paths p JOIN syscalls s USING (event_id) WHERE s.time > '2026-01-01'",
}


@pytest.mark.parametrize("name", JOINED)
def test_equal_ids_of_two_hosts_are_two_events(twins, name):
    """A query with event_id gives each host its own rows, and none that mixes them."""
    one, two = twins
    alone, both = len(one.ask(JOINED[name])), len(two.ask(JOINED[name]))
    assert alone
    assert both == 2 * alone


def test_different_events_are_counted_by_host(twins):
    """count(DISTINCT event_id) counts events, also those of two hosts with one id."""
    one, two = twins
    sql = "SELECT count(DISTINCT event_id) AS n FROM paths"
    assert two.ask(sql)[0]["n"] == 2 * one.ask(sql)[0]["n"] > 0


UNKNOWN = {
    "using": "WITH f AS (SELECT event_id FROM files) SELECT 1 FROM f"
    " JOIN syscalls USING (event_id)",
    "on": "SELECT 1 FROM (SELECT event_id FROM files) f JOIN syscalls s ON s.event_id = f.event_id",
    "in": "SELECT 1 FROM syscalls WHERE event_id IN (SELECT event_id FROM paths"
    " UNION SELECT event_id FROM files)",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_id_whose_host_is_not_known_is_refused(twins, name):
    """The message says how to write it."""
    with pytest.raises(QueryError, match=r"host.*USING \(host, store, event_id\)"):
        twins[1].ask(UNKNOWN[name])


def test_of_the_versions_of_an_event_the_last_counts(hosts):
    """An event that was completed later has its last row alone; one taken back has none."""
    first = wide_rows(hosts["alpha"], "alpha", STORES["alpha"])
    event, gone = first[0], first[1]
    later = {**event, "version": 3, "batch": 3, "exe": "/later"}
    between = {**event, "version": 2, "batch": 2, "exe": "/between"}
    taken = {**gone, "version": 3, "batch": 3, "type": "FLEET_GONE"}
    fleet = InMemory([*first, later, between, taken, batch_row("alpha", STORES["alpha"], 3, 1.0)])
    found = fleet.ask("SELECT event_id, type, exe FROM all_events JOIN (SELECT 1)")
    by_id = {row["event_id"]: row for row in found}
    assert len(found) == len(by_id) == len(first) - 1
    assert by_id[event["event_id"]]["exe"] == "/later"
    assert gone["event_id"] not in by_id
    assert not [each for each in by_id if each < 0]


def test_columns_without_a_name_are_called_as_on_sqlite(fleet):
    """Also where a join of several hosts has other columns than SQLite knows."""
    (row,) = fleet.ask("SELECT count(*), max( pid ), sum(pid) AS s FROM syscalls")
    assert list(row) == ["count(*)", "max( pid )", "s"]
    both = "SELECT *, count(*) OVER () FROM syscalls JOIN story USING (event_id) LIMIT 1"
    assert {"host", "store", "event_id", "sentence"} < set(fleet.ask(both)[0])


def test_conditions_on_time_leave_out_days(fleet):
    """A query reads only the seconds that it asks for; a login's end may come at any time."""
    fleet.asked.clear()
    day = "time >= '2026-11-20' AND time < '2026-11-21'"
    assert fleet.ask(f"SELECT host, count(*) FROM syscalls WHERE {day} GROUP BY host")
    fleet.ask(f"SELECT * FROM logins WHERE {day}")
    (calls, logins) = fleet.asked
    first = 1_795_132_800
    assert (calls.low, calls.high) == (first, first + 86_399)
    assert (logins.low, logins.high) == (first - 86_400, END)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM syscalls",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('http://127.0.0.1/')",
        "COPY (SELECT 1) TO '/tmp/x'",
        "SELECT 1; SELECT 2",
        "INSTALL httpfs",
        "SELECT nothing FROM syscalls",
        "",
    ],
)
def test_a_query_only_reads_the_views(fleet, sql):
    """It reaches no file and no address."""
    with pytest.raises(QueryError):
        fleet.ask(sql)
