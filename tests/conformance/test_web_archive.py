"""`auditsvc web --archive`: what the store has forgotten is on the pages that can ask for it."""

from __future__ import annotations

import re

import pytest
from fixtures import archived as made
from fixtures.commands import run
from fixtures.days import TODAY, prune
from fixtures.logs import Pipe, call, load, opening, record, rows
from fixtures.web import Seen, client_of, has_no_code

from auditsvc.archive import place
from auditsvc.search import sources

DAY = 86400
SINCE = {"since": "2025-01-01", "until": "2027-01-01"}


def log():
    """Give events of four days, a change and a login among them, and one program on each day."""
    lines = ""
    for n in range(12):
        where = {"second": (TODAY - 3 + n // 3) * DAY + 600 * n, "exe": f'"/bin/day{n // 3}"'}
        lines += opening(100 + n, f"/etc/f{n}", auid=1000, **where)
    second = (TODAY - 3) * DAY + 60
    lines += call(200, nr=165, exit=0, second=second)
    said = "pid=9 uid=0 auid=1000 ses=3 msg='op=login acct=\"mia\" addr=192.0.2.7 res=failed'"
    return lines + record("USER_LOGIN", 201, said, second=second)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def forgotten(request, store_of_kind, tmp_path_factory):
    """Give settings of a store that has the last day alone, and of an archive with all others."""
    common_url = store_of_kind(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, "_sync", lambda *_: None)
        load(common_url, log())
        settings = made.settings_of(common_url, tmp_path_factory.mktemp("archive"))
        made.archive(settings)
        pipe = Pipe(common_url)
        prune(pipe.store.database, keep="1d")
        pipe.close()
    assert rows(common_url, "SELECT count(*) AS n FROM syscalls")[0]["n"] < 7
    return settings


@pytest.fixture
def client(forgotten, tmp_path):
    """Give a client of pages over both."""
    return client_of(forgotten.store, tmp_path, source=sources.archive(forgotten))


def test_the_overview_counts_both(client):
    """Calls of all days, each program with its link; narrowed, too; and the lists after it."""
    text = Seen(client.get("/", params=SINCE).text).text
    assert re.search(r"\b13 calls\b", text)
    for n in range(4):
        assert f"/bin/day{n}" in text
    text = has_no_code(client.get("/", params=SINCE | {"exe": "/bin/day0"}).text).text
    assert re.search(r"\b3 calls\b", text)
    assert "mount" in client.get("/part/changes", params=SINCE).text
    assert "192.0.2.7" in client.get("/part/logins", params=SINCE).text
    assert client.get("/part/new-addresses", params=SINCE).status_code == 200


def test_events_of_both_page_by_page(client, monkeypatch):
    """Newest first; each leads to a page with its records, though the store has it no more."""
    monkeypatch.setattr("auditsvc.web.events.PAGE", 8)
    found, address = [], "/events?since=2025-01-01&until=2027-01-01"
    while address:
        page = client.get(address).text
        found += re.findall(r'href="/event/(\d+)"', page)
        further = re.search(r'hx-get="(/events\?[^"]*before=[^"]+)"', page)
        address = further[1].replace("&amp;", "&") if further else ""
    ids = list(dict.fromkeys(map(int, found)))
    assert len(ids) == 14
    assert ids == sorted(ids, reverse=True)
    behind = client.get(f"/events?before={ids[-2]}/{'a' * 32}/alpha&since=2025-01-01")
    assert set(re.findall(r'href="/event/(\d+)"', behind.text)) == {str(ids[-1])}  # the id says all
    page = client.get(f"/event/{ids[-1]}").text
    assert "/etc/f0" in page
    assert "type=SYSCALL" in Seen(page).text
    near = re.findall(r'href="/event/(\d+)"', client.get(f"/event/{ids[-2]}/around").text)
    assert str(ids[-2]) in near
    assert len(near) > 1
    narrowed = client.get("/events?executable=day1&since=2025-01-01&until=2027-01-01").text
    assert len(set(re.findall(r'href="/event/(\d+)"', narrowed))) == 3
    exported = client.get("/events.csv?executable=day1&since=2025-01-01&until=2027-01-01").text
    assert len(exported.splitlines()) == 4


@pytest.mark.parametrize("page", ["/events", "/events.csv"])
@pytest.mark.parametrize("what", ["unit=ssh.service", "container=1234"])
def test_a_place_without_events(client, page, what):
    """Nothing was there, as `search --archive` says (`test_search_places`)."""
    answer = client.get(f"{page}?{what}&since=2025-01-01&until=2027-01-01")
    assert answer.status_code == 200
    assert "/bin/day" not in Seen(answer.text).text


def test_sql_asks_both(client):
    """In SQLite's words, whatever the store is."""
    sql = "SELECT exe, count(*) AS n FROM syscalls WHERE exe LIKE '/bin/day%' GROUP BY exe"
    table = client.get("/sql.csv", params={"q": sql}).text
    assert sorted(table.splitlines()[1:]) == [f"/bin/day{n},3" for n in range(4)]


@pytest.mark.parametrize("page", ["/who?user=1000", "/what?file=/etc/f0", "/ledger", "/coverage"])
def test_a_page_of_the_store_alone_says_so(client, forgotten, tmp_path, page):
    """And says nothing where there is no archive, or the page has asked it."""
    said = "the archive is not asked"
    assert said in Seen(client.get(page).text).text
    assert said not in Seen(client.get("/").text).text
    assert said not in client_of(forgotten.store, tmp_path).get(page).text


def test_without_an_archive_it_says_what_to_set(tmp_path):
    """Before it listens."""
    done = run("web", "--archive", "--store", f"sqlite:///{tmp_path}/x.db", text=True)
    assert done.returncode == 2
    assert "archive.to" in done.stderr
