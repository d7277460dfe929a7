"""From the stores of three hosts through a lake to its answers: SeaweedFS, pyiceberg, DuckDB."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from fixtures import answered, long_logs
from fixtures.certificates import certificates
from fixtures.commands import run
from fixtures.cookbook_log import cookbook_log
from fixtures.fleet_rows import InMemory, batch_row, wide_rows
from fixtures.lake import Lake, differences
from fixtures.logs import load, login, opening, rows
from fixtures.repeats import some
from fixtures.seaweed import lake
from fixtures.stores import new_store
from fixtures.web import client_of, has_no_code
from pyiceberg.io.pyarrow import PyArrowFileIO
from requests.certs import where

from auditsvc.arrow.reach import EVERYTHING, Reach
from auditsvc.config import load_settings
from auditsvc.errors import AuditsvcError, FleetError, QueryError
from auditsvc.evidence.store_facts import identity_in
from auditsvc.fleet import here, reader, views
from auditsvc.fleet import lake as lakes
from auditsvc.fleet.ask import asking, parse
from auditsvc.fleet.commit import Committer
from auditsvc.fleet.here import compare_store
from auditsvc.fleet.inbox import Inbox
from auditsvc.fleet.lake import create_table, open_table
from auditsvc.fleet.names import object_of
from auditsvc.fleet.query import run_fleet_query
from auditsvc.fleet.scan import Scan
from auditsvc.fleet.schema import schema
from auditsvc.fleet.ship import Shipper
from auditsvc.fleet.verify import Report, verify_lake
from auditsvc.host.addresses import own_addresses
from auditsvc.search import sources
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.migrate import revisions
from auditsvc.store.partitions import DAY
from auditsvc.store.read.time_span import Span

DATA = Path(__file__).parents[1] / "data"
HOSTS = ("alpha", "beta", "gamma")
SECOND_DAY = 1_795_132_800
COUNTS = "SELECT host, count(*) AS n FROM all_events GROUP BY host"


class Fleet:
    """Three hosts and their lake."""

    def __init__(self, folder, settings):
        self.folder, self.lake = folder, settings
        self.urls = {host: f"sqlite:///{folder}/{host}.db" for host in HOSTS}
        for host in HOSTS:
            new_store(folder / f"{host}.db")

    def settings(self, host, **fleet):
        """Give the settings of a host."""
        state = self.folder / host
        state.mkdir(exist_ok=True)
        return load_settings(
            store=self.urls[host], host=host, state_directory=state, fleet=self.lake | fleet
        )

    def ship(self, host, **fleet):
        """Ship all that its store has."""
        with open_store(self.urls[host]) as store:
            for _ in Shipper(store, self.settings(host, **fleet)).steps(only_due=False):
                pass

    def commit(self):
        """Commit all that waits, by two committers in turn."""
        both = [Committer(self.settings("alpha").fleet) for _ in range(2)]
        while both[0].step() | both[1].step():
            pass

    def run(self, *words, host="alpha", **changed):
        """Run `auditsvc fleet`, as on a host."""
        given = {f"AUDITSVC_FLEET__{name.upper()}": value for name, value in self.lake.items()}
        given |= {"AUDITSVC_STORE": self.urls[host], "AUDITSVC_HOST": host}
        given |= {"AUDITSVC_STATE_DIRECTORY": str(self.folder / host)}
        given |= {"AUDITSVC_RUNTIME_DIRECTORY": str(self.folder / "run")}
        return run("fleet", *words, environment=os.environ | given | changed, text=True)

    def identity(self, host):
        """Give the identity of its store."""
        with open_store(self.urls[host]) as store, reading(store.database) as connection:
            return identity_in(connection)

    def ask(self, sql):
        """Give the rows of a query."""
        with run_fleet_query(self.settings("alpha"), sql) as result:
            return [dict(zip(result.columns, row, strict=True)) for row in result]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Give a lake that has all of three hosts: in many batches, and in one."""
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "lake").mkdir()
    with lake(folder / "lake") as settings:
        made = Fleet(folder, settings)
        load(made.urls["alpha"], cookbook_log()[0], kind="spool", host="alpha")
        load(made.urls["beta"], (DATA / "mixed.log").read_bytes(), host="beta")
        other = opening(9, node="node=other ") + login(10, node="node=other ")
        load(made.urls["gamma"], other, host="gamma")
        create_table(made.settings("alpha").fleet)
        for host, events in zip(HOSTS, (16, 90, 64_000), strict=True):
            made.ship(host, batch_events=events)
        made.commit()
        yield made


def test_the_lake_says_what_the_stores_say(fleet):
    """All rows of all views: through files, bucket, table and catalog as in memory."""
    identity = {host: fleet.identity(host) for host in HOSTS}
    whole = InMemory([r for h in HOSTS for r in wide_rows(fleet.urls[h], h, identity[h])])
    for view in some(views.VIEWS, "lake", 8):
        wanted = sorted(map(repr, whole.ask(f"SELECT * FROM {view}")))
        assert sorted(map(repr, fleet.ask(f"SELECT * FROM {view}"))) == wanted, view
    count = "SELECT count(*) AS n FROM all_events"
    stored = sum(rows(url, count)[0]["n"] for url in fleet.urls.values())
    assert fleet.ask(count) == [{"n": stored}]


def test_days_that_are_not_asked_for_are_not_read(fleet):
    """The table's metadata leaves out their files."""
    scan = Scan(open_table(fleet.settings("alpha").fleet))
    day = Reach(Span(SECOND_DAY, SECOND_DAY + DAY - 1))
    assert 0 < len(scan.files(day)) < len(scan.files(EVERYTHING))
    assert 0 < len(scan.files(Reach(host="gamma"))) < len(scan.files(EVERYTHING))
    assert scan.files(Reach(Span(0, 1000))) == []
    assert fleet.ask("SELECT count(*) AS n FROM syscalls WHERE time < '1971-01-01'") == [{"n": 0}]


def test_the_command_asks_all_hosts(fleet):
    """One line of SQL; that it was asked is recorded where there is a store."""
    sql = "SELECT host, count(*) AS n FROM syscalls GROUP BY host ORDER BY host"
    done = fleet.run("query", sql, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [each["host"] for each in json.loads(done.stdout)] == list(HOSTS)
    assert not done.stderr
    (line, _) = (fleet.folder / "alpha.db-access").read_text().splitlines()
    assert (json.loads(line)[1]["command"], json.loads(line)[1]["sql"]) == ("fleet_query", sql)
    nowhere = fleet.run("query", sql, AUDITSVC_STORE="sqlite:////nowhere/x.db")
    assert nowhere.returncode == 0
    assert nowhere.stderr == (
        "auditsvc: not recorded: no service runs here, and there is no store\n"
    )


def test_pages_show_the_lake(fleet, tmp_path, monkeypatch):
    """The hosts by what the table says of them, events and one event; the table is loaded once."""
    loaded = []
    load_table = reader.load_table
    monkeypatch.setattr(reader, "load_table", lambda *of: loaded.append(1) or load_table(*of))
    monkeypatch.setattr(reader, "_FRESH", 1000)
    settings = fleet.settings("alpha", bucket=None)
    client = client_of(fleet.urls["alpha"], tmp_path, source=sources.fleet(settings))
    hosts = has_no_code(client.get("/part/hosts").text).text
    assert "All hosts are well" in hosts
    assert "Not known to this user what waits for a committer: there is no inbox" in hosts
    counts = {row["host"]: row["n"] for row in fleet.ask(COUNTS)}
    for host, count in counts.items():
        assert re.search(rf"\b{host}well\S+ s\S+ [0-9:]{{8}}{count}not known", hosts), hosts
    found = client.get("/events?node=gamma&since=2025-01-01").text
    links = re.findall(r'href="(/event/[^"]+)"', found)
    assert len(links) == counts["gamma"]
    event = client.get(links[0].replace("&amp;", "&"))
    assert "USER_LOGIN" in has_no_code(event.text).text
    assert loaded == [1]


def test_pages_ask_copies_of_the_files_and_have_the_same_rows(fleet):
    """As DuckDB reads them there and as Arrow does from the object store; no other file."""
    settings = fleet.settings("alpha", bucket=None)
    pages = reader.Reader(settings)
    scan = Scan(open_table(settings.fleet))
    with pages.open() as asked, asking(scan) as questions:
        for view in ("syscalls", "story", "files", "all_events", "logins", "batches", "programs"):
            sql = f"SELECT * FROM {view}"
            with asked.ask(sql) as result:
                ours = sorted(map(repr, result))
            with questions.ask(parse(sql)) as result:
                assert ours == sorted(map(repr, result)), view
        refused = pytest.raises(QueryError, match="file system operations are disabled")
        with refused, asked.ask("SELECT * FROM read_text('/etc/hostname')"):
            pass


def test_a_batch_tells_the_addresses_of_its_host(fleet):
    """They are by what a login's way from host to host is known."""
    told = fleet.ask("SELECT address FROM host_addresses WHERE host = 'beta' ORDER BY address")
    assert [each["address"] for each in told] == own_addresses()


@pytest.mark.parametrize(
    ("sql", "changed", "says"),
    [
        ("DELETE FROM syscalls", {}, "only reads"),
        ("SELECT x FROM syscalls", {}, "x"),
        ("SELECT 1", {"catalog": "http://127.0.0.1:1"}, "see fleet.catalog"),
        ("SELECT 1", {"table": "no.table"}, "auditsvc fleet init"),
        ("SELECT 1", {"credentials": "/nowhere"}, "fleet.credentials"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(fleet, sql, changed, says):
    """The query, the catalog, the table, the keys."""
    settings = fleet.settings("alpha", **changed)
    with pytest.raises(AuditsvcError) as refused, run_fleet_query(settings, sql) as result:
        list(result)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_catalog_that_does_not_answer_is_not_waited_for(fleet, monkeypatch):
    """It takes the connection, and says nothing."""
    monkeypatch.setattr(lakes, "_PATIENCE", (1.0, 0.2))
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        where = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(FleetError, match="timed out"):
            open_table(fleet.settings("alpha", catalog=where).fleet)


def test_what_was_shipped_is_proved(fleet):
    """The batches of all hosts, and each event of the store of this one."""
    done = fleet.run("verify", "--here", "--format", "table", host="beta")
    assert done.returncode == 0, done.stdout
    stored = rows(fleet.urls["beta"], "SELECT count(*) AS n FROM all_events")[0]["n"]
    *_, whole, compared, last = done.stdout.splitlines()
    assert whole.startswith("3 stores, ")
    assert (compared, last) == (f"{stored} events compared with the store of this host", "proved")


def test_a_store_that_was_altered_is_not_what_the_lake_has(fleet):
    """The event is named; also one that is no more in the store."""
    file = fleet.folder / "gamma.db"
    before = file.read_bytes()
    report = Report()
    try:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("UPDATE syscall SET exit = 77")
            connection.execute("DELETE FROM event")
            connection.commit()
        compare_store(fleet.settings("gamma"), report)
    finally:
        file.write_bytes(before)
    altered, absent = report.findings
    assert "has another exit in the lake than in the store" in altered
    assert "is in the lake and not in the store" in absent


def test_a_batch_that_was_made_anew_shows(fleet):
    """Whoever puts another batch under a number that the table has."""
    settings = fleet.settings("gamma").fleet
    name = object_of("0", "gamma", fleet.identity("gamma"), 1)
    inbox = Inbox(settings)
    assert inbox.put(name, b"not what it was")
    try:
        (found,) = verify_lake(settings).findings
        assert f"batch 1 was made anew, and is another one: {name}" in found
        assert verify_lake(settings, ["beta"]).is_proved
        assert fleet.run("verify").returncode == 1
    finally:
        inbox.delete([name])


@pytest.mark.long
def test_a_table_of_an_older_program_gets_the_columns_that_it_lacks(fleet, monkeypatch):
    """By `fleet init`; its rows have NULL there, and new ones come beside them."""
    older = pa.schema(
        [
            pa.field("story", pa.struct([f for f in each.type if f.name != "how"]))
            if each.name == "story"
            else each
            for each in schema()
            if each.name != "unit"
        ]
    )
    given = {"table": "auditsvc.older", "shard": "older"}
    settings = fleet.settings("gamma", **given)
    with monkeypatch.context() as patched:
        patched.setattr(lakes, "schema", lambda: older)
        assert create_table(settings.fleet)
    (row, *_) = wide_rows(fleet.urls["gamma"], "gamma", fleet.identity("gamma"))
    old = {name: value for name, value in row.items() if name != "unit"} | {"host": "older"}
    old["story"] = {name: value for name, value in old["story"].items() if name != "how"}
    open_table(settings.fleet).append(pa.Table.from_pylist([old], older))
    assert not create_table(settings.fleet)
    new = {"unit": "x.service", "event_id": row["event_id"] + 1}
    open_table(settings.fleet).append(pa.Table.from_pylist([row | new], schema()))
    sql = "SELECT s.host, s.unit, t.how FROM syscalls s JOIN story t USING (event_id) ORDER BY 1"
    with run_fleet_query(settings, sql) as result:
        assert list(result) == [
            ("gamma", "x.service", row["story"]["how"]),
            ("older", None, None),
        ]


@pytest.mark.long
def test_an_authority_of_ones_own_is_that_of_inbox_catalog_and_table(tmp_path, monkeypatch):
    """All of them go by TLS, whatever others believe; without the authority nothing is believed."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", where())
    tls = certificates(tmp_path)
    (tmp_path / "lake").mkdir()
    with lake(tmp_path / "lake", tls=tls) as given:
        assert all(given[each].startswith("https://") for each in ("endpoint", "catalog"))
        made = Lake(given, "tls")
        host = made.host(tmp_path, "alpha")
        load(host.store, opening(1))
        made.ship(host)
        assert made.commit().done.rows == 2
        assert differences(made, [host]) == []
        with run_fleet_query(host, COUNTS) as result:
            assert list(result) == [("alpha", 1)]
        found = open_table(made.settings)
        plain = PyArrowFileIO({k: v for k, v in found.io.properties.items() if k != "py-io-impl"})
        file = min(task.file.file_path for task in found.scan().plan_files())
        with pytest.raises(OSError, match=r"(?i)ssl|certificate|curl"):
            plain.new_input(file).open().read()
        other = load_settings(fleet=given | {"ca": None}).fleet
        with pytest.raises(FleetError, match=r"(?is)certificate.*fleet\.ca names"):
            open_table(other)
        with pytest.raises(FleetError, match=r"(?is)certificate.*fleet\.ca names"):
            list(Inbox(other).names())


@pytest.mark.long
def test_what_a_host_is_given_is_soon_in_an_answer(tmp_path):
    """Real programs at the quickest settings; how soon, the benchmarks measure."""
    log = long_logs.make("mixed", 3_000, tmp_path / "mixed.log")
    took = answered.measure(tmp_path, log, *answered.QUICKEST)
    assert took.given < took.answered


@pytest.mark.parametrize(
    ("told", "is_proved", "notes"),
    [
        ({}, True, 1),  # as programs before revision 0019 shipped it
        ({"revision": "0018"}, True, 1),
        ({"revision": revisions()[-1]}, False, 0),
    ],
)
def test_rows_of_an_older_program_are_proved_by_their_records(fleet, told, is_proved, notes):
    """What views said of them then is another thing than now, and told; not so of this version."""
    name = f"earlier_{len(told)}{notes}"
    settings = fleet.settings("beta", table=f"auditsvc.{name}")
    identity = fleet.identity("beta")
    create_table(settings.fleet)
    made = wide_rows(fleet.urls["beta"], "beta", identity)
    changed = next(row for row in made if row["story"] and row["story"]["sentence"] is None)
    changed["story"] |= {"sentence": "0 successfully said it in other words"}
    who = next(row for row in reversed(made) if row["story"] and row["story"]["as_user"])
    who["story"] |= {"actor": "not known yet", "as_user": "not known yet"}  # nor its sentence
    own = batch_row("beta", identity, 1, SECOND_DAY, **told)
    table = open_table(settings.fleet)
    table.append(pa.Table.from_pylist([own, *made], schema()))
    report = Report()
    compare_store(settings, report)
    assert (report.is_proved, len(report.notes)) == (is_proved, notes)
    assert report.compared == len(made) - (not is_proved)


def test_a_name_that_became_known_later_is_no_finding():
    """Nor a sentence with it, which another word than `to` keeps in the lake."""
    row = {"actor": "1000", "as_user": "0", "sentence": "1000 as 0 renamed /a with /b"}
    later = {"actor": "mia", "as_user": "root", "sentence": "mia as root renamed /a with /b"}
    column = schema().field("story")
    assert here._plain(row, column) == here._plain(later, column)
    altered = later | {"sentence": "mia as root renamed /c with /b"}
    assert here._plain(row, column) != here._plain(altered, column)
