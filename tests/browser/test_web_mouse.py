"""Each page of `auditsvc web` by mouse alone, as it is printed, and in the zone of its reader."""

from __future__ import annotations

import os

import pytest
from fixtures.browser import browser
from fixtures.logs import load
from fixtures.waiting import until
from fixtures.web import web_log, web_program

SINCE = "since=2025-06-15&until=2025-06-20"
PAGES = ("Overview", "Events", "Who", "What", "SQL", "Ledger", "Coverage", "Compliance")


@pytest.fixture(scope="module")
def chromium():
    """Give a browser's page."""
    with browser() as page:
        yield page


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def base(request, chromium, tmp_path_factory):
    """Begin a session; give the beginning of the addresses."""
    folder = tmp_path_factory.mktemp("web")
    environment = os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(folder)}

    def begin(url):
        load(url, web_log())
        with web_program(url, environment) as process:
            link = process.stdout.readline().strip()
            chromium.show(link, width=1280)
            yield link.partition("/?")[0]

    if request.param == "sqlite":
        yield from begin(f"sqlite:///{folder}/store.db")
    else:
        with request.getfixturevalue("postgres_server").database() as url:
            yield from begin(url)


def click(chromium, selector, n=0):
    """Click in the middle of an element that can be seen there."""
    place = chromium.evaluate(
        f"(() => {{ const each = document.querySelectorAll({selector!r})[{n}];"
        " if (!each) return null;"
        " each.scrollIntoView({block: 'center', inline: 'nearest'});"
        " const box = each.getClientRects()[0];"
        " const at = [box.left + box.width / 2, box.top + box.height / 2];"
        " return each.contains(document.elementFromPoint(...at)) ? at : null; })()"
    )
    assert place, f"nothing to click at: {selector}"
    chromium.mouse("mousePressed", *place)
    chromium.mouse("mouseReleased", *place)


def arrived(chromium, path, words=""):
    """Wait until a page with this path, and these words in its address, is there."""
    where = "location.pathname + '|' + decodeURIComponent(location.search)"
    until(
        lambda: (
            chromium.evaluate("document.readyState") == "complete"
            and chromium.evaluate(where).startswith(f"{path}|")
            and words in chromium.evaluate(where)
        )
    )


def test_the_navigation_leads_to_each_page(chromium, base):
    """From one to the next."""
    chromium.show(f"{base}/?{SINCE}", width=1280)
    for n, name in reversed(list(enumerate(PAGES))):
        click(chromium, "nav a", n)
        until(lambda name=name: chromium.evaluate("document.title") == f"{name} - auditsvc")
        arrived(chromium, "/" if name == "Overview" else f"/{name.lower()}")


def test_a_drag_over_the_plot_narrows_all_of_it(chromium, base):
    """To whole hours; a value then narrows further, and its number leads to its events."""
    chromium.show(f"{base}/?{SINCE}", width=1280)
    over = "document.querySelector('#plot .u-over')"
    until(lambda: chromium.evaluate(f"!!{over}"))
    calls = "document.querySelector('.figures b').textContent"
    before = chromium.evaluate(calls)
    left, top, width = chromium.evaluate(
        f"(() => {{ const box = {over}.getBoundingClientRect();"
        " return [box.left, box.top + 40, box.width]; })()"
    )
    first, last = left + 0.55 * width, left + 0.99 * width
    chromium.mouse("mousePressed", first, top)
    for part in range(1, 5):
        chromium.mouse("mouseMoved", first + (last - first) * part / 4, top, button="left")
    chromium.mouse("mouseReleased", last, top)
    arrived(chromium, "/", "since=2025-06-1")
    until(lambda: ":00:00" in chromium.evaluate("decodeURIComponent(location.search)"))
    arrived(chromium, "/")
    assert chromium.evaluate(calls) != before
    click(chromium, ".top a[data-row]")
    arrived(chromium, "/", "exe=")
    click(chromium, ".top .count a")
    arrived(chromium, "/events")
    assert chromium.evaluate("document.querySelectorAll('#rows [data-row]').length") > 0


def test_from_the_events_to_a_process_and_its_user(chromium, base):
    """Older events, an event, its process; filters by their fields."""
    chromium.show(f"{base}/events?{SINCE}", width=1280)
    rows = "document.querySelectorAll('#rows [data-row]').length"
    before = chromium.evaluate(rows)
    click(chromium, "#more a")
    until(lambda: chromium.evaluate(rows) > before)
    click(chromium, "#rows [data-row]")
    until(lambda: chromium.evaluate("location.pathname").startswith("/event/"))
    chromium.show(f"{base}/events?{SINCE}&pid=401", width=1280)
    click(chromium, "details.filters summary")
    click(chromium, "details.filters summary")
    click(chromium, "#rows [data-row]")
    until(lambda: chromium.evaluate("location.pathname").startswith("/event/"))
    until(lambda: chromium.evaluate("document.readyState") == "complete")
    click(chromium, "main a[href^='/process']")
    arrived(chromium, "/process")
    click(chromium, "main a[href^='/who?user']")
    arrived(chromium, "/who", "user=")


def test_a_question_by_mouse(chromium, base):
    """One of the cookbook is in the editor, and runs; then as a plot."""
    chromium.show(
        f"{base}/sql?q=SELECT+hour,sum(calls)+AS+n+FROM+activity+GROUP+BY+hour", width=1280
    )
    click(chromium, "input[name=as][value=plot]")
    until(lambda: chromium.evaluate("document.querySelectorAll('.chart canvas').length") == 1)
    click(chromium, "aside li a")
    arrived(chromium, "/sql", "SELECT")
    click(chromium, "#ask button")
    until(lambda: chromium.evaluate("document.querySelectorAll('#result table, #result p').length"))


@pytest.mark.parametrize("page", [f"/?{SINCE}", f"/events?{SINCE}", "/ledger", "/compliance"])
def test_what_is_printed_fits_and_has_no_controls(chromium, base, page):
    """On a width as of paper; what one only clicks at is left out."""
    chromium.show(base + page, width=700, media="print")
    assert chromium.evaluate("document.documentElement.scrollWidth") == 700
    each = "[...document.querySelectorAll('body > header nav, header input, footer button')]"
    assert chromium.evaluate(f"{each}.filter((each) => each.checkVisibility()).length") == 0


def test_times_are_of_the_reader_s_zone(chromium, base):
    """With UTC in the title, and a word of it at the foot of the page."""
    try:
        chromium.ask("Emulation.setTimezoneOverride", timezoneId="Asia/Kolkata")
        chromium.show(f"{base}/events?{SINCE}", width=1280)
        shown, title, given = chromium.evaluate(
            "(() => { const each = document.querySelector('#rows time');"
            " return [each.textContent, each.title, each.dateTime]; })()"
        )
        assert title.endswith(" UTC")
        assert given.replace("T", " ")[:16] == title[:16]
        hours = (int(shown[11:13]) * 60 + int(shown[14:16])) - (
            int(title[11:13]) * 60 + int(title[14:16])
        )
        assert hours % 1440 == 330
        assert "Kolkata" in chromium.evaluate("document.getElementById('zone').textContent") or (
            "Calcutta" in chromium.evaluate("document.getElementById('zone').textContent")
        )
    finally:
        chromium.ask("Emulation.setTimezoneOverride", timezoneId="")
