"""`auditsvc web`, live follow: what arrives is sent, once, and holds nothing up."""

from __future__ import annotations

import sqlite3

import httpx2
import pytest
from fixtures.logs import SECOND, load, opening, rows
from fixtures.waiting import until
from fixtures.web import HOSTILE, SHOWN, Stream, hexed, serving

from auditsvc.web.live import CLIENTS, message_of

HEADERS = {"accept": "text/event-stream"}


@pytest.fixture
def server(url, tmp_path):
    """Serve a store that has one event."""
    load(url, opening(1, "/etc/first", second=SECOND), "first")
    with serving(url, tmp_path) as (base, live, cookie):
        yield url, base, live, cookie


@pytest.mark.one_database
def test_what_arrives_is_sent_once(server):
    """Newest first, with its sentence; what was there, and what other filters want, is not."""
    url, base, live, cookie = server
    stream = Stream(f"{base}/events/live?key=files&word=1", HEADERS | cookie)
    until(lambda: "retry" in stream.text)
    name = hexed(HOSTILE)
    load(url, opening(2, "/etc/second", second=SECOND + 1), "second")
    load(url, opening(3, "/etc/third", second=SECOND + 2, comm=name, exe=name), "third")
    load(url, opening(4, "/etc/other", second=SECOND + 2, key='"other"'), "fourth")
    until(lambda: "/etc/third" in stream.text)
    # One that began earlier, and ended only now.
    load(url, opening(5, "/etc/late", second=SECOND - 3), "fifth")
    until(lambda: "/etc/late" in stream.text)
    assert stream.text.count("/etc/second ") == stream.text.count("/etc/third ") == 1
    assert "/etc/first" not in stream.text
    assert "/etc/other" not in stream.text
    assert SHOWN in stream.text
    assert "<script" not in stream.text
    stream.close()
    until(lambda: live.clients == 0)


@pytest.mark.one_database
def test_a_page_goes_on_where_it_stopped(server):
    """What arrived while it was hidden comes first."""
    url, base, _, cookie = server
    load(url, opening(2, "/etc/second", second=SECOND + 100), "second")
    load(url, opening(3, "/etc/third", second=SECOND + 200), "third")
    (found,) = rows(url, "SELECT event_id FROM syscalls WHERE serial = 2")
    after = found["event_id"]
    stream = Stream(f"{base}/events/live?after={after}", HEADERS | cookie)
    until(lambda: "/etc/third" in stream.text)
    assert "/etc/second" not in stream.text
    last = stream.text.partition("id: ")[2].partition("\n")[0]
    again = Stream(f"{base}/events/live?after=1", HEADERS | cookie | {"last-event-id": last})
    load(url, opening(4, "/etc/fourth", second=SECOND + 201), "fourth")
    until(lambda: "/etc/fourth" in again.text)
    assert "/etc/third" not in again.text


def test_more_than_can_be_read_is_said(server):
    """The newest are sent, and a line that says that there are more."""
    url, base, _, cookie = server
    stream = Stream(f"{base}/events/live", HEADERS | cookie)
    until(lambda: "retry" in stream.text)
    log = "".join(opening(10 + n, f"/etc/f{n}", second=SECOND + 1) for n in range(80))
    load(url, log, "many")
    until(lambda: "More events arrive" in stream.text and "/etc/f79 " in stream.text)
    assert "/etc/f1 " not in stream.text


@pytest.mark.one_database
def test_clients_are_bounded_and_end_with_their_page(server):
    """One more is told so; a place is free again when a page has gone."""
    _, base, live, cookie = server
    streams = [Stream(f"{base}/events/live", HEADERS | cookie) for _ in range(CLIENTS)]
    until(lambda: live.clients == CLIENTS)
    assert httpx2.get(f"{base}/events/live", headers=cookie).status_code == 503
    for each in streams:
        each.close()
    until(lambda: live.clients == 0)
    last = Stream(f"{base}/events/live", HEADERS | cookie)
    assert last.status == 200


def test_without_a_session_there_is_no_stream(server):
    """It passes the same gate as each page."""
    _, base, live, cookie = server
    assert httpx2.get(f"{base}/events/live").status_code == 403
    for header in ({"origin": "http://evil.example"}, {"sec-fetch-site": "same-site"}):
        assert httpx2.get(f"{base}/events/live", headers=cookie | header).status_code == 403
    assert live.clients == 0


def test_conditions_that_are_none_are_told(server):
    """As on the page."""
    _, base, live, cookie = server
    for asked in ("pid=x", "after=x", "syscall=nothing"):
        assert httpx2.get(f"{base}/events/live?{asked}", headers=cookie).status_code == 400
    assert live.clients == 0


def test_a_stream_holds_no_transaction_open(made, tmp_path):
    """A checkpoint of SQLite can empty the whole log of changes while a page follows."""
    url = f"sqlite:///{made}"
    with serving(url, tmp_path) as (base, _, cookie):
        stream = Stream(f"{base}/events/live", HEADERS | cookie)
        until(lambda: "retry" in stream.text)
        load(url, opening(2, "/etc/second", second=SECOND + 1), "second")
        until(lambda: "/etc/second" in stream.text)
        with sqlite3.connect(made, timeout=60) as connection:
            # Busy 0: no reader was in the way of restarting the log.
            until(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
        load(url, opening(3, "/etc/third", second=SECOND + 2), "third")
        until(lambda: "/etc/third" in stream.text)


def test_a_message_has_no_line_that_begins_another():
    """Whatever is in a value: each line of it is data."""
    text = message_of("rows", "a\nevent: x\n\nid: 7\r\rdata: y", 5)
    head, _, rest = text.partition("id: 5\n")
    assert head == "event: rows\n"
    assert all(line.startswith("data: ") for line in rest.rstrip("\n").split("\n"))
    assert "\r" not in rest
