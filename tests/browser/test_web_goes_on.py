"""Older events in a real browser: by their link, and of a search that takes long by themselves."""

from __future__ import annotations

import threading

import pytest
from fixtures.logs import load, rows
from fixtures.web import serving, web_log
from playwright.sync_api import expect

from auditsvc.search import slices
from auditsvc.web import events
from auditsvc.web.gate import COOKIE

SINCE = "since=2025-06-15&until=2025-06-20"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Give the beginning of the addresses, a session's cookies, and how many opens there are."""
    folder = tmp_path_factory.mktemp("goes-on")
    url = f"sqlite:///{folder}/store.db"
    load(url, web_log())
    with serving(url, folder) as (base, _, cookie):
        value = cookie["cookie"].partition("=")[2]
        opened = rows(url, "SELECT count(*) AS n FROM syscalls WHERE syscall = 'open'")[0]["n"]
        yield base, [{"name": COOKIE, "value": value, "url": base}], opened


@pytest.fixture
def page(new_page, served):
    """Give a page with the session."""
    return new_page(width=1280, cookies=served[1])


@pytest.fixture
def short(monkeypatch):
    """Have each answer end after a slice of few events."""
    monkeypatch.setattr(slices, "FIRST", 3)
    monkeypatch.setattr(events, "SECONDS", 0.0)


def test_who_asks_for_older_events_by_key_is_at_the_first_of_them(page, served):
    """Not at the beginning of the page: `k` then goes to the last of the ones before."""
    page.goto(f"{served[0]}/events?syscall=open&{SINCE}")
    shown = page.locator("#rows [data-row]")
    page.locator("#more a").focus()
    page.keyboard.press("Enter")
    expect(shown.nth(events.PAGE)).to_be_focused()
    page.keyboard.press("k")
    expect(shown.nth(events.PAGE - 1)).to_be_focused()


@pytest.mark.usefixtures("short")
def test_a_search_that_takes_long_goes_on_by_itself(page, served, monkeypatch):
    """Until a page is full or all was looked through, and says what it came to."""
    monkeypatch.setattr(events, "PAGE", 500)
    page.goto(f"{served[0]}/events?syscall=open&{SINCE}")
    expect(page.locator("#rows [data-row]")).to_have_count(served[2])
    expect(page.locator("#more a")).to_have_count(0)
    page.goto(f"{served[0]}/events?file=nothing&{SINCE}")
    expect(page.locator("#more")).to_contain_text("No older event meets")


@pytest.mark.usefixtures("short")
def test_escape_stops_a_search_and_its_link_goes_on(page, served, monkeypatch):
    """What the browser waits for is dropped; nothing goes on by itself then."""
    may_go_on, look = threading.Event(), events.page

    def wait(asking, criteria, before, step=None):
        assert before is None or may_go_on.wait(60)
        return look(asking, criteria, before, step)

    monkeypatch.setattr(events, "page", wait)
    page.goto(f"{served[0]}/events?file=nothing&{SINCE}")
    said = page.locator("#more [role=status]")
    expect(said).to_contain_text("looking further")
    page.keyboard.press("Escape")
    expect(said).to_have_text("Stopped.")
    may_go_on.set()
    expect(said).to_have_text("Stopped.")
    page.locator("#more a").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#more")).to_contain_text("No older event meets")
