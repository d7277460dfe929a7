"""`auditsvc web` in a real browser: its policy stops nothing of ours, it fits, keys work."""

from __future__ import annotations

import os
import re

import pytest
from fixtures.browser import Heard, session_by_link
from fixtures.logs import load, opening
from fixtures.repeats import pairs
from fixtures.web import web_program
from playwright.sync_api import expect

HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
PAGES = ("/", "/events", "/sql?q=SELECT+*+FROM+story", "/ledger", "/coverage")


@pytest.fixture(scope="module")
def session(chromium, tmp_path_factory):
    """Begin a session with the pages of a store."""
    folder = tmp_path_factory.mktemp("web")
    url = f"sqlite:///{folder}/store.db"
    key = HOSTILE.encode().hex().upper()
    load(url, "".join(opening(n, f"/etc/f{n}", key=key) for n in range(5)))
    environment = os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(folder)}
    with web_program(url, environment) as process:
        yield session_by_link(chromium, process.stdout.readline().strip())


@pytest.mark.parametrize(("dark", "width"), pairs([False, True], [1280, 390]))
def test_fits_and_nothing_is_stopped(new_page, session, width, dark):
    """No window is scrolled sideways; no file is missing, no code of a name runs."""
    page = new_page(width=width, dark=dark, cookies=session.cookies)
    heard = Heard(page)
    for address in PAGES:
        heard.clear()
        page.goto(session.base + address)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert heard.messages == []
        assert heard.requests
        assert all(each.startswith(session.base) for each in heard.requests)
        assert page.title().endswith(" - auditsvc")


def test_the_overview_has_its_plot_and_its_parts(new_page, session):
    """Its plot is drawn, and htmx brings what comes later."""
    page = new_page(width=1280, cookies=session.cookies)
    page.goto(f"{session.base}/")
    expect(page.locator("#plot canvas")).to_have_count(1)
    expect(page.locator("[hx-get] > p > a")).to_have_count(0)


def test_an_event_by_keys_alone(new_page, session):
    """`j` goes to the first row, Enter opens it; `/` goes to the search, `?` shows the keys."""
    page = new_page(width=1280, cookies=session.cookies)
    page.goto(f"{session.base}/events")
    page.keyboard.press("?")
    assert page.evaluate("document.getElementById('keys').open")
    page.evaluate("document.getElementById('keys').close()")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/event/"))
    page.keyboard.press("/")
    expect(page.locator("#words")).to_be_focused()
