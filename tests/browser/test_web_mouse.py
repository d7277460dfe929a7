"""Each page of `auditsvc web` by mouse alone, as it is printed, and in the zone of its reader."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

import pytest
from fixtures.browser import session_by_link
from fixtures.logs import load
from fixtures.web import web_log, web_program
from playwright.sync_api import expect

SINCE = "since=2025-06-15&until=2025-06-20"
PAGES = ("Overview", "Events", "Who", "What", "SQL", "Ledger", "Coverage", "Compliance")


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def session(request, chromium, tmp_path_factory):
    """Begin a session with the pages of a store."""
    folder = tmp_path_factory.mktemp("web")
    environment = os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(folder)}

    def begin(url):
        load(url, web_log())
        with web_program(url, environment) as process:
            yield session_by_link(chromium, process.stdout.readline().strip())

    if request.param == "sqlite":
        yield from begin(f"sqlite:///{folder}/store.db")
    else:
        with request.getfixturevalue("postgres_server").database() as url:
            yield from begin(url)


@pytest.fixture
def shown(new_page, session):
    """Give a function that opens an address in a page; `options` as for `page_in`."""

    def show(address, width=1280, media="screen", **options):
        page = new_page(width=width, cookies=session.cookies, **options)
        page.emulate_media(media=media)
        page.goto(session.base + address)
        return page

    return show


def click(page, selector, n=0):
    """Click in the middle of an element, when the mouse hits it there and it is at rest."""
    page.locator(selector).nth(n).click()


def arrived(page, path, words=""):
    """Wait until a page with this path, and these words in its address, has been loaded."""

    def is_there(url):
        parts = urlsplit(url)
        return parts.path.startswith(path) and words in unquote(parts.query)

    page.wait_for_url(is_there)


def test_the_navigation_leads_to_each_page(shown):
    """From one to the next."""
    page = shown(f"/?{SINCE}")
    for n, name in reversed(list(enumerate(PAGES))):
        click(page, "nav a", n)
        expect(page).to_have_title(f"{name} - auditsvc")
        arrived(page, "/" if name == "Overview" else f"/{name.lower()}")


def test_a_drag_over_the_plot_narrows_all_of_it(shown):
    """To whole hours; a value then narrows further, and its number leads to its events."""
    page = shown(f"/?{SINCE}")
    below = page.locator("#plot").bounding_box()["y"]
    page.locator("#health .parts").wait_for()
    assert page.locator("#plot").bounding_box()["y"] == below  # it did not move under the mouse
    over = page.locator("#plot .u-over")
    calls = page.locator(".figures b").first
    before = calls.text_content()
    width = over.bounding_box()["width"]
    first, last = ({"x": part * width, "y": 40} for part in (0.55, 0.99))
    over.drag_to(over, source_position=first, target_position=last, steps=4)
    arrived(page, "/", ":00:00")  # of a bar; the time asked for is of whole days
    assert calls.text_content() != before
    click(page, ".top a[data-row]")
    arrived(page, "/", "exe=")
    click(page, ".top .count a")
    arrived(page, "/events")
    assert page.locator("#rows [data-row]").count() > 0


def test_from_the_events_to_a_process_and_its_user(shown):
    """Older events, an event, its process; filters by their fields."""
    page = shown(f"/events?{SINCE}")
    rows = page.locator("#rows [data-row]")
    before = rows.count()
    click(page, "#more a")
    expect(rows.nth(before)).to_be_attached()
    click(page, "#rows [data-row]")
    arrived(page, "/event/")
    page = shown(f"/events?{SINCE}&pid=401")
    click(page, "details.filters summary")
    click(page, "details.filters summary")
    click(page, "#rows [data-row]")
    arrived(page, "/event/")
    click(page, "main a[href^='/process']")
    arrived(page, "/process")
    click(page, "main a[href^='/who?user']")
    arrived(page, "/who", "user=")


def test_a_question_by_mouse(shown):
    """One of the cookbook is in the editor, and runs; then as a plot."""
    page = shown("/sql?q=SELECT+hour,sum(calls)+AS+n+FROM+activity+GROUP+BY+hour")
    click(page, "input[name=as][value=plot]")
    expect(page.locator(".chart canvas")).to_have_count(1)
    click(page, "aside li a")
    arrived(page, "/sql", "SELECT")
    click(page, "#ask button")
    expect(page.locator("#result").locator("table, p").first).to_be_attached()


@pytest.mark.parametrize("address", [f"/?{SINCE}", f"/events?{SINCE}", "/ledger", "/compliance"])
def test_what_is_printed_fits_and_has_no_controls(shown, address):
    """On a width as of paper; what one only clicks at is left out."""
    page = shown(address, width=700, media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == 700
    each = "[...document.querySelectorAll('body > header nav, header input, footer button')]"
    assert page.evaluate(f"{each}.filter((each) => each.checkVisibility()).length") == 0


def test_times_are_of_the_reader_s_zone(shown):
    """With UTC in the title, and a word of it at the foot of the page."""
    page = shown(f"/events?{SINCE}", timezone_id="Asia/Kolkata")
    time = page.locator("#rows time").first
    told, title, given = (
        time.text_content(),
        *(time.get_attribute(name) for name in ("title", "datetime")),
    )
    assert title.endswith(" UTC")
    assert given.replace("T", " ")[:16] == title[:16]
    hours = (int(told[11:13]) * 60 + int(told[14:16])) - (
        int(title[11:13]) * 60 + int(title[14:16])
    )
    assert hours % 1440 == 330
    assert re.search("Kolkata|Calcutta", page.locator("#zone").text_content())
