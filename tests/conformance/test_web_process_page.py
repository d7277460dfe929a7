"""`auditsvc web`, the page of a process: its tree, its picture, and what it did."""

from __future__ import annotations

import re

import pytest
from fixtures.logs import load, rows
from fixtures.web import SHOWN, Seen, client_of, has_no_code, link, tree_log


@pytest.fixture(scope="module")
def url(common_url):
    """Give a store with a shell and two children."""
    load(common_url, tree_log())
    return common_url


@pytest.fixture
def client(url, tmp_path):
    """Give a client with a session."""
    return client_of(url, tmp_path)


def event_of(url, serial):
    """Give the id of an event."""
    return rows(url, f"SELECT event_id FROM all_events WHERE serial = {serial}")[0]["event_id"]


def test_an_event_leads_to_its_process_with_parents_and_children(client, url):
    """Each with user, outcome and time; the page of the parent has the other child too."""
    event = client.get(f"/event/{event_of(url, 8104)}").text
    page = client.get(link(event, "^/process")).text
    text = Seen(page).text
    assert "exited 2" in text
    assert "sh -l" in text
    parent = client.get(link(page, "^/process.*id=")).text
    text = Seen(parent).text
    assert re.search(r"\[402\].*killed by SIGSEGV, 200 ms", text, re.DOTALL)
    assert "exited 2, 100 ms" in text
    # The picture: a bar within the time of the root for each, the parent's first.
    bars = [value for tag, name, value in Seen(parent).attributes if (tag, name) == ("rect", "x")]
    assert bars == ["0", "111", "555"]


def test_what_it_did(client, url):
    """What it ran, wrote, read and connected to, each with its last event."""
    page = client.get(f"/process?event={event_of(url, 8104)}").text
    did = next(value for _, name, value in Seen(page).attributes if name == "hx-get")
    parts = re.split(r"<h3>(\w+)</h3>", client.get(did).text)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert list(told) == ["Ran", "Wrote", "Read", "Connected"]
    assert "/tmp/out" in told["Wrote"]
    assert "1 failed" in told["Wrote"]
    assert "/etc/shadow" in told["Read"]
    assert "192.0.2.9 port 443" in told["Connected"]
    assert link(told["Read"], "^/event/") == f"/event/{event_of(url, 8104)}"


def test_it_says_of_which_calls_that_is(client, url):
    """Of process 402 the log has one call, of 401 more; "all its 1 call" is nobody's language."""
    told = {}
    for serial in (8104, 8109):
        page = client.get(f"/process?event={event_of(url, serial)}").text
        did = next(value for _, name, value in Seen(page).attributes if name == "hx-get")
        told[serial] = Seen(client.get(did).text).text
    assert re.search(r"Of all its [2-9] calls\.", told[8104])
    assert "Of its only call." in told[8109]


def test_events_lead_to_it(client):
    """Each row of the list has the link of its process."""
    page = client.get("/events?file=shadow").text
    assert client.get(link(page, "^/process")).status_code == 200


def test_hostile_programs_are_text(client, url):
    """Name and arguments of a program."""
    seen = has_no_code(client.get(f"/process?event={event_of(url, 8103)}").text)
    assert SHOWN in seen.text


@pytest.mark.parametrize("asked", ["", "?id=x", "?event=1&id=1", "?event=7", "?host=no&id=5"])
def test_what_is_no_process(client, asked):
    """One line that says so."""
    for at in ("/process", "/process/did"):
        answer = client.get(at + asked)
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text
