"""Pages of `auditsvc web --fleet` in a real browser: whole, and axe-core finds nothing."""

from __future__ import annotations

import pytest
from fixtures.browser import Heard, axe, broken_words, wait_for_parts
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
def served(tmp_path_factory):
    """Give the beginning of the addresses, and a session's cookies."""
    folder = tmp_path_factory.mktemp("fleet")
    url, table = table_in(folder)
    with (
        pytest.MonkeyPatch.context() as patch,
        serving(url, folder, source_of(table, patch)) as (base, _, cookie),
    ):
        value = cookie["cookie"].partition("=")[2]
        yield base, [{"name": COOKIE, "value": value, "url": base}]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_comes_whole_and_axe_finds_nothing(new_page, served, name, width):
    """Its parts, too; no window is scrolled sideways; no code of a host's name runs."""
    base, cookies = served
    page = new_page(width=width, cookies=cookies)
    heard = Heard(page)
    address = PAGES[name]
    if name == "event":
        page.goto(f"{base}/events?{SINCE}&node=alpha")
        address = page.locator("#rows a[data-row]").first.get_attribute("href")
        assert STORES["alpha"] in address
    heard.clear()
    page.goto(base + address)
    wait_for_parts(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert axe(page) == []
    assert heard.messages == []
    if name == "overview":
        text = page.locator("#health").inner_text()
        assert "1 store not well" in text
        assert OTHER[:30] in text


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["overview", "events"])
def test_a_short_word_stands_on_one_line(new_page, served, name, width):
    """However long a host's name is that stands beside it."""
    base, cookies = served
    page = new_page(width=width, cookies=cookies)
    page.goto(base + PAGES[name])
    wait_for_parts(page)
    assert page.locator("td").count() > 10
    assert broken_words(page, "td", 9) == []


def test_on_paper_a_time_is_broken_between_date_and_clock(new_page, served):
    """And nothing goes over the edge of the paper."""
    base, cookies = served
    page = new_page(width=800, cookies=cookies)
    page.emulate_media(media="print")
    page.goto(base + PAGES["events"])
    assert page.locator("td time").count() > 10
    assert broken_words(page, "td time", 99) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 800
