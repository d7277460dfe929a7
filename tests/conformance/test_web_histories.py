"""`auditsvc web`: who and what, compliance, and what the overview has of the week before."""

from __future__ import annotations

import re

import pytest
from fixtures.logs import SECOND, call, load, record, rows
from fixtures.web import Seen, client_of, has_no_code, link, web_log

from auditsvc.compliance.frameworks import FRAMEWORKS

SINCE = "since=2025-06-15&until=2025-06-20"
DAY = 86400
ID = "ab" * 32


@pytest.fixture(scope="module")
def url(common_url):
    """Give a store with something for every page."""
    load(common_url, web_log())
    return common_url


@pytest.fixture
def client(url, tmp_path):
    """Give a client with a session."""
    return client_of(url, tmp_path)


def count(url, condition, view="syscalls"):
    """Count rows."""
    return rows(url, f"SELECT count(DISTINCT event_id) AS n FROM {view} WHERE {condition}")[0]["n"]


@pytest.mark.parametrize(
    ("asked", "view", "condition"),
    [
        ("/who?user=1000", "syscalls", "auid = 1000"),
        ("/what?program=/usr/bin/cat", "syscalls", "exe = '/usr/bin/cat'"),
        ("/who?session=3", "all_events", "ses = 3"),
        ("/what?file=/etc/shadow", "paths", "name = '/etc/shadow'"),
        ("/what?address=192.0.2.9", "sockaddrs", "address = '192.0.2.9'"),
    ],
)
def test_a_history_has_all_its_events_by_hour(client, url, asked, view, condition):
    """As many as SQL counts, and the last ones first."""
    page = client.get(f"{asked}&{SINCE}").text
    seen = has_no_code(page)
    counts = re.findall(r'<td>2025-[^<]*</td><td class="number">([0-9,]+)</td>', page)
    wanted = count(url, condition, view)
    assert wanted > 0
    assert sum(int(each.replace(",", "")) for each in counts) == wanted
    # What has no call is of the user too, and not counted by hour.
    view = "all_events" if "user" in asked else view
    last = rows(url, f"SELECT max(event_id) AS id FROM {view} WHERE {condition}")[0]["id"]
    assert link(page.partition("Last events")[2], "^/event/") == f"/event/{last}"
    assert client.get(link(page, "^/events")).status_code == 200
    assert "data-hours" in {name for _, name, _ in seen.attributes}


@pytest.mark.one_database
def test_a_session_has_its_processes_and_a_user_its_logins(client):
    """They lead to the pages of these."""
    page = client.get(f"/who?session=3&{SINCE}").text
    assert client.get(link(page, "^/process")).status_code == 200
    page = client.get(f"/who?user=1000&{SINCE}").text
    part = next(value for _, name, value in Seen(page).attributes if name == "hx-get")
    assert client.get(part).status_code == 200


@pytest.mark.one_database
def test_an_event_leads_to_the_history_of_what_it_names(client, url):
    """User, session, program and file."""
    (row,) = rows(url, "SELECT event_id FROM syscalls WHERE serial = 8104")
    page = client.get(f"/event/{row['event_id']}").text
    for pattern in (r"^/who\?user", r"^/who\?session", r"^/what\?program", r"^/what\?file"):
        answer = client.get(link(page, pattern))
        assert answer.status_code == 200
        assert f"/event/{row['event_id']}" in answer.text


@pytest.mark.parametrize(
    "asked",
    ["/who?user=nobody-here", "/who?session=x", "/who?user=1&session=3", "/what?file=%00"],
)
def test_what_names_nothing(client, asked):
    """One line."""
    answer = client.get(asked)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text


def test_new_addresses_are_those_that_the_week_before_did_not_have(new_url, tmp_path):
    """One of nine days before is new again."""

    def connecting(serial, last, second):
        address = f"saddr=020001BBC00002{last:02X}0000000000000000"
        return call(serial, nr=42, exit=0, second=second) + record(
            "SOCKADDR", serial, address, second=second
        )

    log = connecting(1, 1, SECOND - 9 * DAY) + connecting(2, 2, SECOND - 3 * DAY)
    log += "".join(connecting(3 + n, 1 + n, SECOND) for n in range(3))
    load(new_url, log)
    client = client_of(new_url, tmp_path)
    part = client.get("/part/new-addresses").text
    assert re.findall(r"<td>(192[^<]*)</td>", part) == ["192.0.2.3", "192.0.2.1"]


def test_health_has_proof_and_alerts(client, tmp_path):
    """In words, for each part that this user may know."""
    text = Seen(client.get("/part/health").text).text
    assert "received" in text
    assert "none is active" in text
    (tmp_path / "alerts.json").write_text('{"lost": "7 records were lost"}')
    assert "lost: 7 records were lost" in Seen(client.get("/part/health").text).text


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_compliance_has_each_line_and_what_to_do(client, name):
    """As the command has it."""
    page = client.get("/compliance", params={"framework": name}).text
    part = next(value for _, attr, value in Seen(page).attributes if attr == "hx-get")
    if name != "pci":
        assert part.endswith(f"framework={name}")
        return
    seen = has_no_code(client.get(part).text)
    for line in FRAMEWORKS[name].lines:
        assert line.id in seen.text
        assert line.title in seen.text
    assert "To do:" in seen.text
    assert client.get("/compliance?framework=x").status_code == 400


@pytest.mark.parametrize(
    "asked", ["unit=mail.service", f"container={ID}", f"container={ID[:12]}", "container=post"]
)
def test_a_unit_and_a_container_have_their_processes(new_url, tmp_path, asked):
    """Those that the service saw in it first, with their last events."""
    body = f'op=cgroup cgroup="/x" unit=mail.service container={ID} runtime=docker name=post'
    ends = "auid=4294967295 pid=100 uid=0 ses=4294967295 subj=unconfined res=success"
    log = call(1, pid=100, ppid=1) + call(2, pid=200, ppid=1)
    log += record("DAEMON_CONFIG", 900, f"{body} {ends}", second=SECOND + 1)
    load(new_url, log, kind="spool")
    page = client_of(new_url, tmp_path).get(f"/what?{asked}&{SINCE}").text
    assert "cat[100]" in page
    assert "cat[200]" not in page
    (first,) = rows(new_url, "SELECT event_id FROM syscalls WHERE serial = 1")
    assert link(page.partition("Last events")[2], "^/event/") == f"/event/{first['event_id']}"
    page = client_of(new_url, tmp_path).get(f"/what?unit=none&{SINCE}").text
    assert "No event of it" in page
