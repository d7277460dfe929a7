"""`auditsvc web`: each page on both databases, and all that must be refused."""

from __future__ import annotations

import csv
import io
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from fixtures.logs import SECOND, load, opening, rows
from fixtures.waiting import until
from fixtures.web import (
    BASE,
    HOSTILE,
    OPENED,
    SHOWN,
    Seen,
    accesses,
    client_of,
    has_no_code,
    link,
    web_log,
)
from pyarrow import parquet
from starlette.testclient import TestClient

from auditsvc.errors import UsageError
from auditsvc.search import slices
from auditsvc.store import open_store
from auditsvc.web import events
from auditsvc.web.gate import COOKIE

DAY = 86400
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture(scope="module")
def url(common_url):
    """Give a store with something for every page."""
    load(common_url, web_log())
    return common_url


@pytest.fixture
def client(url, tmp_path):
    """Give a client with a session."""
    return client_of(url, tmp_path)


# --- the pages -------------------------------------------------------------------------------


@pytest.mark.one_database
def test_the_overview_counts_what_sql_counts(client, url):
    """Calls, failures, and each list with its links to the same page of that value."""
    page = client.get("/", params={"since": "2025-06-15", "until": "2025-06-20"}).text
    count = "SELECT count(*) AS n FROM syscalls"
    calls = rows(url, count)[0]["n"]
    false = "0" if url.startswith("sqlite") else "false"
    failed = rows(url, f"{count} WHERE success = {false}")[0]["n"]
    text = Seen(page).text
    assert re.search(rf"\b{calls} calls\b", text)
    assert re.search(rf"\b{failed} of them failed\b", text)
    narrowed = client.get(link(page, r"^/\?.*exe=%2Fusr%2Fbin%2Fcat")).text
    of_cat = rows(url, "SELECT count(*) AS n FROM syscalls WHERE exe = '/usr/bin/cat'")[0]["n"]
    assert re.search(rf"\b{of_cat} calls\b", Seen(narrowed).text)
    hours = next(v for _, name, v in Seen(page).attributes if name == "data-hours")
    assert sum(json.loads(hours)[1]) == calls


@pytest.mark.parametrize(
    ("part", "words"),
    [("logins", "client.example"), ("denials", "selinux"), ("changes", "added-audit-rule")],
)
def test_lists_of_the_overview(client, part, words):
    """Each is a part of a page, whose rows lead to their events."""
    page = client.get(f"/part/{part}").text
    assert words in Seen(page).text
    assert client.get(link(page, "^/event/")).status_code == 200


def test_health_says_that_nothing_runs(client):
    """Also to a user who may read nothing of it."""
    assert "not running" in client.get("/part/health").text


@pytest.mark.one_database
def test_events_page_by_page(client, url):
    """The pages together are all events of the search, newest first, each once."""
    at, found = "/events?syscall=open&since=2025-06-15&until=2025-06-20", []
    while at:
        page = client.get(at, headers={"hx-request": "true"}).text
        found += [int(each) for each in re.findall(r'href="/event/([0-9]+)"', page)]
        at = link(page, "before=") if "before=" in page else None
    sql = "SELECT event_id FROM syscalls WHERE syscall = 'open' ORDER BY event_id DESC"
    assert found == [row["event_id"] for row in rows(url, sql)]
    assert len(found) > events.PAGE


@pytest.mark.one_database
@pytest.mark.parametrize(("asked", "is_known"), [("syscall=open", True), ("file=nothing", False)])
def test_a_search_that_takes_long_goes_on(client, url, monkeypatch, asked, is_known):
    """Each page ends after one slice, says back to when it has looked, and leads on from there."""
    monkeypatch.setattr(slices, "FIRST", 12)
    monkeypatch.setattr(events, "SECONDS", 0.0)
    at, found, said = f"/events?{asked}&since=2025-06-15&until=2025-06-20", [], []
    page = client.get(at).text
    assert "No event meets" not in page
    while True:
        found += [int(each) for each in re.findall(r'data-row href="/event/([0-9]+)"', page)]
        said += re.findall(r'Looked back to <time datetime="([^"]+)"', page)
        if "before=" not in page:
            break
        page = client.get(link(page, "before="), headers={"hx-request": "true"}).text
    sql = "SELECT event_id FROM syscalls WHERE syscall = 'open' ORDER BY event_id DESC"
    assert found == ([row["event_id"] for row in rows(url, sql)] if is_known else [])
    assert len(said) > 2
    assert said == sorted(said, reverse=True)
    assert ("No older event" in page) != (is_known and "data-row" in page)


def test_how_a_search_goes_on_is_checked(client):
    """An address is what anybody writes."""
    for step in ("1", "1/2", "a/1/1", "1/2/3/4", "-1/1/1"):
        assert client.get(f"/events?step={step}").status_code == 400
    assert client.get(f"/events?step={1 << 62}/0/0").status_code == 200


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ("syscall=open&success=no", OPENED // 5),
        ("file=f119", 1),
        ("path=/etc/f7", 1),
        ("pid=70&exit=EACCES", OPENED // 10),
        ("syscall=open&since=2025-06-17&until=2025-06-18", 0),
    ],
)
def test_filters_are_those_of_search(client, asked, count):
    """With their names in the address; the exports have the same events."""
    since = "" if "since" in asked else "&since=2025-06-15&until=2025-06-20"
    page = client.get(f"/events?{asked}{since}")
    assert page.text.count("<tr><td class") + page.text.count('<tr class="failed"') == count
    assert len(client.get(f"/events.json?{asked}{since}").json()) == count
    text = client.get(f"/events.csv?{asked}{since}").text
    assert len(list(csv.reader(io.StringIO(text)))) == count + 1
    file = client.get(f"/events.parquet?{asked}{since}").content
    assert parquet.read_table(io.BytesIO(file)).num_rows == count


@pytest.mark.one_database
def test_columns_are_chosen_in_the_address(client):
    """Each of them is a column of the page and of its further pages; another is refused."""
    chosen = "column=auid&column=how"
    page = client.get(f"/events?syscall=open&since=2025-06-15&{chosen}").text
    heads = re.findall(r'<th scope="col">([^<]*)</th>', page)
    assert heads == ["time", "what happened", "login user", "program"]
    assert "<td>/usr/bin/cat</td>" in page
    further = link(page, "before=")
    assert chosen in further
    assert "<td>/usr/bin/cat</td>" in client.get(further, headers={"hx-request": "true"}).text
    assert client.get("/events?column=nothing").status_code == 400


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("failed user=mia /etc", {"success": "no", "loginuid": "mia", "path": "/etc"}),
        ("call=open exe='/a b'", {"syscall": "open", "executable": "/a b"}),
        ("shadow", {"file": "shadow"}),
    ],
)
def test_words_become_an_address(client, typed, found):
    """What is typed is in the address, so that it can be passed on."""
    answer = client.get("/events", params={"words": typed})
    assert answer.status_code == 303
    asked = {
        name: value
        for name, (value,) in parse_qs(urlsplit(answer.headers["location"]).query).items()
    }
    assert {name: asked[name] for name in found} == found


@pytest.mark.parametrize("typed", ["x=1", "'open", "store=sqlite:///x"])
def test_words_that_are_no_condition(typed):
    """They are told, and ignored never."""
    with pytest.raises(UsageError):
        events.from_words(typed)


@pytest.mark.one_database
def test_an_event_whole(client, url):
    """The sentence, the records in words and as written, its neighbours, and the same in SQL."""
    sql = "SELECT event_id FROM syscalls WHERE serial = 9050"
    ((event_id,),) = [row.values() for row in rows(url, sql)]
    page = Seen(client.get(f"/event/{event_id}").text).text
    assert "opened file /etc/f50" in page
    assert "type=SYSCALL msg=audit(" in page
    assert "O_RDONLY" in page
    near = Seen(client.get(f"/event/{event_id}/around").text).text
    for neighbour in (42, 44, 46, 48, 52, 54, 56, 58):
        assert f"/etc/f{neighbour} " in near
    told = re.search(r"SELECT \* FROM story WHERE event_id = [0-9]+", page)[0]
    assert [row["event_id"] for row in rows(url, told)] == [event_id]


@pytest.mark.one_database
def test_an_event_says_what_proves_it(new_url, tmp_path):
    """Of the log of a service of ours, a command; of a log of others, that there is nothing."""
    load(new_url, opening(1, "/etc/ours", second=SECOND), "ours", kind="spool")
    load(new_url, opening(2, "/etc/theirs", second=SECOND + 60), "theirs")
    client = client_of(new_url, tmp_path)
    for row in rows(new_url, "SELECT event_id, serial FROM syscalls"):
        text = Seen(client.get(f"/event/{row['event_id']}").text).text
        assert ("auditsvc verify --since" in text) == (row["serial"] == 1)
        assert ("nothing of ours proves it" in text) == (row["serial"] == 2)


def test_sql_shows_rows_and_gives_them_as_csv(client):
    """Only reading; an error is one line above the editor, which keeps the text."""
    asked = "SELECT key,\n count(*) AS n FROM syscalls WHERE syscall = 'open' GROUP BY key"
    page = client.get("/sql", params={"q": asked})
    assert asked in Seen(page.text).text
    assert "files" in Seen(page.text).text
    assert "key,n" in client.get("/sql.csv", params={"q": asked}).text
    refused = client.get("/sql", params={"q": "DELETE FROM syscall"})
    assert refused.status_code == 400
    assert "DELETE FROM syscall" in Seen(refused.text).text
    for page in ("/sql", "/sql.csv"):
        slip = client.get(page, params={"q": "SELECT * FROM syscall"})
        assert slip.status_code == 400
        assert "the view is `syscalls`" in slip.text


def test_ledger_and_coverage(client, url):
    """What the reports say of it, and the rows of the views."""
    received = rows(url, "SELECT sum(count) AS n FROM ledger WHERE cause = 'received'")[0]["n"]
    text = Seen(client.get("/ledger").text).text
    assert f"{int(received):,} received" in text
    assert "not known" in Seen(client.get("/coverage").text).text


@pytest.mark.one_database
def test_each_page_with_rows_is_a_row_of_access(client, url):
    """With its address, its SQL if it has some, and the rows that it gave; no token."""
    before = len(accesses(url))
    client.get("/events?file=f119&since=2025-06-15")
    client.get("/sql", params={"q": "SELECT 1 AS x"})
    client.get("/sql", params={"q": "SELECT nothing"})
    client.get("/static/web.css")
    found = accesses(url)
    assert len(found) == before + 3
    named = {row["sql"] or row["options"]: (row["rows"], row["ended"][:6]) for row in found}
    assert named["/events?file=f119&since=2025-06-15"] == (1, "done")
    assert named["SELECT 1 AS x"] == (1, "done")
    assert named["SELECT nothing"] == (0, "failed")
    assert not any("token" in row["options"] for row in accesses(url))


@pytest.mark.one_database
def test_an_empty_store_says_what_to_do(new_url, tmp_path):
    """No page of it is empty without a word."""
    open_store(new_url).close()
    client = client_of(new_url, tmp_path)
    for page in ("/", "/events"):
        assert "auditsvc run" in client.get(page).text
    for page in ("/sql", "/ledger", "/coverage"):
        assert client.get(page).status_code == 200


def test_a_store_that_is_not_there(tmp_path):
    """One line, and status 503."""
    client = client_of(f"sqlite:///{tmp_path}/none.db", tmp_path)
    for page in ("/", "/events", "/sql?q=SELECT+1", "/ledger"):
        answer = client.get(page)
        assert answer.status_code == 503
        assert "none.db" in answer.text


def test_a_slow_question_ends(url, tmp_path):
    """After the time of a page, with a word that says so; the next page is answered."""

    def is_answered(client):
        return client.get("/sql", params={"q": "SELECT 1 AS x"}).status_code == 200

    # The least time in which this host answers any page.
    times = (client_of(url, tmp_path, seconds=0.3 * 4**n) for n in range(6))
    client = next(filter(is_answered, times))
    answer = client.get("/sql", params={"q": ENDLESS})
    assert answer.status_code == 400
    assert "took longer than" in answer.text
    until(lambda: is_answered(client))


# --- what must be refused --------------------------------------------------------------------


PAGES = [
    "/",
    "/events",
    "/event/1",
    "/sql",
    "/ledger",
    "/coverage",
    "/part/health",
    "/static/web.js",
]


@pytest.fixture
def door(made, tmp_path):
    """Give a client with a session on an empty SQLite store: the gate is the same for all."""
    return client_of(f"sqlite:///{made}", tmp_path)


@pytest.fixture
def stranger(door):
    """Give a client of the same server without a session."""
    return TestClient(door.app, BASE, follow_redirects=False)


@pytest.mark.parametrize("page", PAGES)
def test_no_page_without_a_session(stranger, page):
    """Neither without a cookie nor with one that is guessed."""
    for guessed in (None, b"", b"x", b"\xe9"):
        headers = {} if guessed is None else {b"cookie": COOKIE.encode() + b"=" + guessed}
        answer = stranger.get(page, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_a_token_works_once(door, stranger):
    """Then there is a new one; a wrong one gives nothing."""
    token = door.sessions.token
    assert stranger.get("/", params={"token": token[:-1]}).status_code == 403
    first = stranger.get("/events", params={"token": token, "success": "no"})
    assert (first.status_code, first.headers["location"]) == (303, "/events?success=no")
    said = first.headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict"} <= {each.strip() for each in said.split(";")}
    assert stranger.get("/events").status_code == 200
    stranger.cookies.clear()
    assert stranger.get("/", params={"token": token}).status_code == 403
    assert door.sessions.token != token


def test_a_token_leads_nowhere_else(door):
    """A path that a browser takes for another host stays a path."""
    for path in ("//evil.example/", "/\\evil.example", "///evil.example"):
        answer = door.get(f"{BASE}{path}?token={door.sessions.token}")
        assert re.match(r"/[^/\\]", answer.headers["location"])


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8181",
        "",
        "127.0.0.1:x",
        "10.0.0.1:8181",
        "[::2]",
        "localhost:8181@evil.example",
    ],
)
def test_a_wrong_host_is_refused(door, host):
    """A name that resolves to this host would make pages of others ours."""
    assert door.get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8181", "[::1]:9"])
def test_any_port_of_loopback(door, host):
    """That of `ssh -L` is another than ours."""
    assert door.get("/", headers={"host": host, "cookie": cookie(door)}).status_code == 200


def cookie(door):
    """Give the header of a client's session."""
    return f"{COOKIE}={door.cookies[COOKIE]}"


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://127.0.0.1:8181"},
    ],
    ids=str,
)
def test_other_origins_are_refused_with_the_cookie_too(door, headers):
    """Another port of this host is the same site, and would have it sent."""
    assert door.get("/sql?q=SELECT+1", headers=headers).status_code == 403
    token = door.sessions.token
    assert door.get("/", params={"token": token}, headers=headers).status_code == 403
    assert door.sessions.token == token


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_reading(door, method):
    """No other method has an effect."""
    assert door.request(method, "/sql").status_code == 405


@pytest.mark.parametrize(
    "page",
    ["/events?pid=x", "/events?before=x", "/events?since=never", "/?auid=1+OR+1", "/event/x",
     "/events?where=1)+OR+(1", "/events?key=%00", "/?exe=%00", "/events?syscall=nothing",
     "/events.xml", "/part/none", "/static/..%2fapp.py", "/event/99999999999999999999"],
)  # fmt: skip
def test_what_is_no_question(client, page):
    """One line, never a page of SQL or of Python."""
    answer = client.get(page)
    assert answer.status_code in (400, 404)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("address", ["/nothing", "/event/", "/static/", "/part/", "/a/<b>"])
def test_an_address_without_a_page_is_told_on_one(client, address):
    """Not in bare words: from it the others can be reached."""
    answer = client.get(address)
    assert answer.status_code == 404
    assert 'href="/events"' in answer.text
    assert "<b>" not in answer.text
    assert "There is no" in answer.text


# --- hostile names ---------------------------------------------------------------------------


HOSTILE_PAGES = [
    *("/", "/part/logins", "/part/denials", "/part/changes", "/events?since=2025-06-15"),
    *("EVENT", "SQL", "KEY", "/ledger", "WORDS", "FIELD", "ERROR", "PROGRAM", "FILE"),
    *("PROCESS", "/who?session=3&since=2025-06-15", "PLOT", "COLUMNS"),
]


PLOTTED = "SELECT exe, sum(calls) AS calls FROM activity GROUP BY exe"


def hostile_page(client, url, name):
    """Give a page that has the hostile text, or is asked for with it."""
    sql = "SELECT * FROM syscalls WHERE serial = 8000"
    if name == "EVENT":
        return client.get(f"/event/{rows(url, sql)[0]['event_id']}")
    if name == "PROCESS":
        return client.get(f"/process?event={rows(url, sql)[0]['event_id']}")
    if name == "SQL":
        return client.get("/sql", params={"q": f"{sql} --{HOSTILE}"})
    asked = {
        "KEY": ("/", {"key": HOSTILE}),
        "WORDS": ("/events", {"key": HOSTILE, "word": "1", "since": "2025-06-15"}),
        "FIELD": ("/events", {"file": HOSTILE}),
        "PROGRAM": ("/what", {"program": HOSTILE, "since": "2025-06-15"}),
        "FILE": ("/what", {"file": HOSTILE, "since": "2025-06-15"}),
        "PLOT": ("/sql", {"q": PLOTTED, "as": "plot"}),
        "COLUMNS": ("/events", {"since": "2025-06-15"} | {"column": ["how", "object", "key"]}),
        "ERROR": ("/events", {"pid": HOSTILE}),
    }
    address, params = asked.get(name, (name, {}))
    return client.get(address, params=params or None)


@pytest.mark.parametrize("name", HOSTILE_PAGES)
def test_hostile_names_are_text(client, url, name):
    """Nothing of them is an element, an attribute, an escape, or turns the text round."""
    answer = hostile_page(client, url, name)
    seen = has_no_code(answer.text)
    if name != "/ledger":
        assert SHOWN in seen.text or any(SHOWN in value for *_, value in seen.attributes)


def test_every_answer_has_the_headers(door, stranger):
    """Pages, files, parts, errors and refusals; nothing of a store is kept by the browser."""
    answers = [door.get(page) for page in [*PAGES, "/nothing", "/events?pid=x", "/sql.csv?q=x"]]
    for answer in [*answers, stranger.get("/")]:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        kept = (
            "immutable"
            if "/static/" in str(answer.url) and answer.status_code == 200
            else "no-store"
        )
        assert kept in answer.headers["cache-control"]
