"""`auditsvc web --fleet`: the pages of all hosts, whose events can have equal ids."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from fixtures.commands import run
from fixtures.fleet_pages import EVENTS, OTHER, STORES, source_of, table_in
from fixtures.fleet_rows import InMemory
from fixtures.logs import SECOND
from fixtures.web import Seen, client_of, has_no_code

from auditsvc.arrow.reach import Reach
from auditsvc.config import load_settings
from auditsvc.errors import FleetError, QueryError
from auditsvc.fleet import reader as reader_module
from auditsvc.fleet.lake import Mark
from auditsvc.fleet.names import watermark_of
from auditsvc.store.read.limits import Limits, Stop
from auditsvc.store.read.time_span import END, Span

SINCE = {"since": "2025-01-01", "until": "2027-01-01"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Give a store, and the table of two hosts that have the same events by the same ids."""
    return table_in(tmp_path_factory.mktemp("fleet"))


@pytest.fixture
def fleet(table, monkeypatch):
    """Give the source of the pages."""
    return source_of(table[1], monkeypatch)


@pytest.fixture
def client(table, fleet, tmp_path):
    """Give a client of pages over the fleet; the store is that of the first host."""
    return client_of(table[0], tmp_path, source=fleet)


def all_events(client, address):
    """Give the addresses of all events, page by page, each once or more."""
    found = []
    while address:
        page = client.get(address)
        assert page.status_code == 200
        seen = has_no_code(page.text)
        links = [v for tag, name, v in seen.attributes if (tag, name) == ("a", "href")]
        found += [each for each in links if each.startswith("/event/")]
        further = [v for _, name, v in seen.attributes if name == "hx-get" and "before=" in v]
        address = further[0] if further else None
    return found


def test_the_pages_are_of_all_hosts(client, monkeypatch):
    """Counts by host; events page by page though ids are equal; an event of the host it names."""
    text = has_no_code(client.get("/", params=SINCE).text).text
    assert re.search(r"\b18 calls\b", text)
    assert "9\n" in text[text.index("Hosts") :]
    monkeypatch.setattr("auditsvc.web.events.PAGE", 7)
    found = all_events(client, "/events?since=2025-01-01&until=2027-01-01")
    assert len(found) == len(set(found)) == 2 * EVENTS
    hosts = [parse_qs(urlsplit(each).query)["host"][0] for each in found]
    assert sorted(hosts) == sorted([*STORES] * EVENTS)
    page = client.get(next(each for each in found if "alpha" not in each))
    seen = has_no_code(page.text)
    assert "b/<script>alert(1)" in seen.text
    assert "type=USER_LOGIN" in seen.text
    assert STORES[OTHER] in seen.text
    assert "the fleet is not asked" in Seen(client.get("/ledger").text).text
    assert client.get("/part/new-programs?alone=1").status_code == 404  # the store has no such list


@pytest.mark.long
def test_the_overview_shows_its_hosts_and_its_lists(client):
    """Who is silent and whose ledger does not add up comes first; what no host had before."""
    seen = has_no_code(client.get("/part/hosts").text)
    assert "1 store not well" in seen.text
    assert "silent; its ledger does not add up" in seen.text
    assert seen.text.index("alpha") < seen.text.index("b/<script>")
    assert "All hosts" not in seen.text
    assert '"/part/hosts"' in client.get("/").text
    week = {"since": "2025-06-14", "until": "2025-06-17"}
    shown = has_no_code(client.get("/part/new-programs", params=week).text).text
    assert "/bin/new" in shown
    assert "/bin/old" not in shown
    assert "192.0.2.9" in has_no_code(client.get("/part/new-addresses", params=week).text).text
    logins = has_no_code(client.get("/part/logins", params=week).text)
    assert logins.text.count("192.0.2.7") == 2
    links = [v for _, name, v in logins.attributes if name == "href"]
    assert {parse_qs(urlsplit(each).query)["store"][0] for each in links} == set(STORES.values())
    assert "mount" in has_no_code(client.get("/part/changes", params=week).text).text
    narrowed = Seen(client.get("/", params={**SINCE, "host": OTHER, "exe": "/bin/old"}).text).text
    assert re.search(r"\b3 calls\b", narrowed)


@pytest.mark.long
def test_a_search_is_of_all_hosts_or_of_one(client):
    """As `search` has it; exported, too; and not what a fleet cannot answer."""
    for what, count in (
        ("executable=/bin/old", 6),
        ("file=g1", 2),
        ("path=/etc&node=alpha", 7),
        ("host=192.0.2.9", 2),
        ("message=USER_LOGIN&success=no", 2),
        ("session=3&node=alpha", 5),
        ("where=exe%20LIKE%20'%25/old'%20AND%20unit%20IS%20NULL", 6),
    ):
        at = f"{what}&since=2025-01-01&until=2027-01-01"
        assert len(set(all_events(client, f"/events?{at}"))) == count, what
        assert len(client.get(f"/events.json?{at}").json()) == count, what
    refused = client.get("/events?unit=ssh.service")
    assert refused.status_code == 400
    assert "do not go with --fleet" in Seen(refused.text).text
    assert 'id="follow"' not in client.get("/events").text
    assert client.get("/events/live").status_code == 404
    assert client.get("/events?before=7/x").status_code == 400


@pytest.mark.long
def test_an_event_is_known_by_its_host_and_store(client):
    """With its neighbours of that host alone; by its id alone it is the store's."""
    found = all_events(client, "/events?file=g1&since=2025-01-01&until=2027-01-01")
    for address in found:
        page = client.get(address).text
        assert "/etc/g1" in Seen(page).text
        assert "/process?" not in page
        near = has_no_code(client.get(address.replace("?", "/around?")).text)
        links = [v for _, name, v in near.attributes if name == "href"]
        assert address in links
        assert {urlsplit(each).query for each in links} == {urlsplit(address).query}
        alone = client.get(urlsplit(address).path)
        assert "the fleet is not asked" in Seen(alone.text).text
    nobody = found[0].replace("store=", "store=9")
    assert client.get(nobody).status_code == 404
    assert "The fleet has no event" in Seen(client.get(nobody).text).text


@pytest.mark.long
def test_a_question_reads_what_it_is_of(client, monkeypatch):
    """An event's page the seconds and the files of its host, a narrowed one those of its host."""
    found = all_events(client, "/events?file=g1&since=2025-01-01&until=2027-01-01")
    asked = []
    rows = InMemory.rows
    monkeypatch.setattr(
        InMemory, "rows", lambda of, within: asked.append(within) or rows(of, within)
    )
    client.get(found[0])
    second = SECOND + 60
    host = parse_qs(urlsplit(found[0]).query)["host"][0]
    assert set(asked) == {Reach(Span(second, second), host)}
    assert len(asked) == 1  # one session, in which rows are looked for once
    for page in ("/", "/events", "/part/changes"):
        asked.clear()
        name = "node" if page == "/events" else "host"
        client.get(page, params={name: "alpha", "since": "2025-06-14", "until": "2025-06-17"})
        assert {each.host for each in asked} == {"alpha"}
        assert {(each.span.high + 1 - each.span.low) // 86400 for each in asked} <= {0, 3}


@pytest.mark.long
def test_sql_has_the_views_of_the_fleet(client):
    """Those over all hosts too; a row leads to an event only if it says whose it is."""
    sql = "SELECT hosts, times FROM programs WHERE exe = '/bin/old'"
    assert client.get("/sql.csv", params={"q": sql}).text.splitlines() == ["hosts,times", "2,6"]
    page = client.get("/sql").text
    for view in ("clock_skew", "ways", "syscalls"):
        assert f"<summary>{view}</summary>" in page
    for columns, links in (("event_id, time", 0), ("event_id, time, host, store", 2)):
        asked = f"SELECT {columns} FROM events WHERE type = 'USER_LOGIN'"
        page = client.get("/sql", params={"q": asked}).text
        assert page.count('href="/event/') == links
    refused = client.get("/sql", params={"q": "SELECT * FROM read_text('/etc/passwd')"})
    assert refused.status_code == 400


@pytest.mark.long
def test_each_page_of_rows_is_recorded_with_the_fleet_as_its_place(table, fleet, tmp_path, caplog):
    """By the store of this host; where there is none a page says so, and so does stderr, once."""
    client_of(table[0], tmp_path, source=fleet).get("/events?file=g1")
    file = Path(f"{table[0].removeprefix('sqlite:///')}-access")
    said = [json.loads(line)[1] for line in file.read_text().splitlines()]
    options = [each["options"] for each in said if each.get("command") == "web"]
    assert options[-1] == "--fleet /events?file=g1"
    nowhere = client_of(f"sqlite:///{tmp_path}/none/x.db", tmp_path, source=fleet)
    for _ in range(2):
        text = Seen(nowhere.get("/events").text).text
        assert "not recorded: no service runs here, and there is no store" in text
    assert caplog.text.count("pages are not recorded") == 1
    answer = nowhere.get("/ledger")
    assert answer.status_code == 503
    text = Seen(answer.text).text
    assert "there is no store" in text
    assert "the fleet is not asked" in text


@pytest.mark.long
def test_a_question_ends_with_its_time_or_when_it_is_left(table, fleet, tmp_path, monkeypatch):
    """Also if it is left before the engine has begun."""
    long = "SELECT count(*) FROM " + ", ".join(f"all_events e{n}" for n in range(9))
    client = client_of(table[0], tmp_path, seconds=0.3, source=fleet)
    late = client.get("/sql", params={"q": long})
    assert late.status_code == 400
    assert "took longer than 0.3 s" in Seen(late.text).text
    stop = Stop()
    rows = InMemory.rows

    def leave(memory, span):
        stop.set()
        return rows(memory, span)

    monkeypatch.setattr(InMemory, "rows", leave)
    with (
        fleet.open() as session,
        pytest.raises(QueryError, match="cancelled"),
        session.ask(long, Limits(stop=stop)) as result,
    ):
        list(result)


@pytest.mark.long
def test_a_fleet_that_is_empty_or_away_says_what_to_do(table, fleet, tmp_path):
    """In the words of the fleet."""
    empty = client_of(table[0], tmp_path, source=replace(fleet, newest_second=lambda: None))
    for page in ("/", "/events"):
        assert "auditsvc fleet commit" in Seen(empty.get(page).text).text
    report = {"hosts": [], "events": 0, "waiting": 0, "unseen": ""}
    nobody = client_of(table[0], tmp_path, source=replace(fleet, report=lambda _: report))
    assert "No host has shipped yet" in Seen(nobody.get("/part/hosts").text).text

    def away(_=None):
        raise FleetError("fleet http://127.0.0.1:9: refused", "see fleet.catalog")

    gone = client_of(table[0], tmp_path, source=replace(fleet, newest_second=away, report=away))
    for page in ("/", "/events", "/part/hosts"):
        answer = gone.get(page)
        assert answer.status_code == 503
        assert "see fleet.catalog" in Seen(answer.text).text


@pytest.mark.long
def test_catalog_and_snapshot_are_kept_until_one_is_old_or_an_error(monkeypatch):
    """So most pages ask the catalog nothing; after an error it is opened anew."""
    told = []

    def load(*_):
        told.append("load")
        if told.count("load") == 3:
            raise FleetError("away", "")
        return SimpleNamespace(properties={}, current_snapshot=lambda: None)

    monkeypatch.setattr(reader_module, "open_catalog", lambda _: told.append("open") or object())
    monkeypatch.setattr(reader_module, "load_table", load)
    monkeypatch.setattr(reader_module, "_FRESH", 1000.0)
    reader = reader_module.Reader(load_settings(fleet={"catalog": "http://127.0.0.1:9"}))
    assert [reader.newest_second() for _ in range(3)] == [None] * 3
    assert told == ["open", "load"]
    monkeypatch.setattr(reader, "_until", 0.0)
    reader.newest_second()
    assert told == ["open", "load", "load"]
    monkeypatch.setattr(reader, "_until", 0.0)
    with pytest.raises(FleetError):
        reader.newest_second()
    assert reader.report(60.0)["hosts"] == []
    assert told == ["open", "load", "load", "load", "open", "load"]


def test_a_host_whose_clock_is_ahead_does_not_move_the_pages(monkeypatch):
    """The newest event is one that can have been."""
    marks = [Mark(newest=SECOND * 1000), Mark(newest=END * 1000), Mark()]
    told = {watermark_of(f"h{n}", "a" * 32): mark.text() for n, mark in enumerate(marks)}
    reader = reader_module.Reader(load_settings(fleet={"catalog": "http://127.0.0.1:9"}))
    table = SimpleNamespace(table=SimpleNamespace(properties=told))
    monkeypatch.setattr(reader_module.Reader, "_newest", lambda _: table)
    assert SECOND < reader.newest_second() <= time.time()


@pytest.mark.parametrize(
    ("words", "says"), [(["--fleet"], "fleet.catalog"), (["--fleet", "--archive"], "together")]
)
@pytest.mark.long
def test_what_is_missing_is_said_before_it_listens(tmp_path, words, says):
    """With exit status 2."""
    done = run("web", *words, "--store", f"sqlite:///{tmp_path}/x.db", text=True)
    assert done.returncode == 2
    assert says in done.stderr
