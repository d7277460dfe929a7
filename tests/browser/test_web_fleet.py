"""Pages of `auditsvc web --fleet` in a real browser: whole, and axe-core finds nothing."""

from __future__ import annotations

import pytest
from fixtures.browser import axe, browser
from fixtures.fleet_pages import OTHER, STORES, source_of, table_in
from fixtures.web import COOKIE, serving

pytestmark = pytest.mark.long
SINCE = "since=2025-06-14&until=2025-06-17"
PAGES = {
    "overview": f"/?{SINCE}",
    "events": f"/events?{SINCE}",
    "event": "",
    "sql": "/sql?q=SELECT+*+FROM+programs",
    "ledger": "/ledger",
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Give a browser's page with a session, and the beginning of the addresses."""
    folder = tmp_path_factory.mktemp("fleet")
    url, table = table_in(folder)
    with (
        pytest.MonkeyPatch.context() as patch,
        serving(url, folder, source_of(table, patch)) as (base, _, cookie),
        browser() as page,
    ):
        value = cookie["cookie"].partition("=")[2]
        page.ask("Network.setCookie", name=COOKIE, value=value, url=base)
        yield page, base


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_comes_whole_and_axe_finds_nothing(shown, page, width):
    """Its parts, too; no window is scrolled sideways; no code of a host's name runs."""
    chromium, base = shown
    address = PAGES[page]
    if page == "event":
        chromium.show(f"{base}/events?{SINCE}&node=alpha", width=width)
        row = "document.querySelector('#rows a[data-row]').getAttribute('href')"
        address = chromium.evaluate(row)
        assert STORES["alpha"] in address
    chromium.messages.clear()
    chromium.show(base + address, width=width)
    chromium.wait_for_parts()
    assert chromium.evaluate("document.documentElement.scrollWidth") == width
    assert axe(chromium) == []
    assert chromium.messages == []
    if page == "overview":
        text = chromium.evaluate("document.getElementById('health').innerText")
        assert "1 store not well" in text
        assert OTHER[:30] in text
