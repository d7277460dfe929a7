"""`auditsvc web` in a real browser: its policy stops nothing of ours, it fits, keys work."""

from __future__ import annotations

import os

import pytest
from fixtures.browser import browser
from fixtures.logs import load, opening
from fixtures.repeats import pairs
from fixtures.waiting import until
from fixtures.web import web_program

HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
PAGES = ("/", "/events", "/sql?q=SELECT+*+FROM+story", "/ledger", "/coverage")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Give a browser's page with a session, and the beginning of the addresses."""
    folder = tmp_path_factory.mktemp("web")
    url = f"sqlite:///{folder}/store.db"
    key = HOSTILE.encode().hex().upper()
    load(url, "".join(opening(n, f"/etc/f{n}", key=key) for n in range(5)))
    environment = os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(folder)}
    with browser() as chromium, web_program(url, environment) as process:
        link = process.stdout.readline().strip()
        chromium.show(link, width=1280)
        yield chromium, link.partition("/?")[0]


@pytest.mark.parametrize(("dark", "width"), pairs([False, True], [1280, 390]))
def test_fits_and_nothing_is_stopped(shown, width, dark):
    """No window is scrolled sideways; no file is missing, no code of a name runs."""
    chromium, base = shown
    for page in PAGES:
        chromium.messages.clear()
        chromium.requests.clear()
        chromium.show(base + page, width=width, dark=dark)
        assert chromium.evaluate("document.documentElement.scrollWidth") == width
        assert chromium.messages == []
        assert all(each.startswith(base) for each in chromium.requests)
        assert chromium.evaluate("document.title").endswith(" - auditsvc")


def test_the_overview_has_its_plot_and_its_parts(shown):
    """Its plot is drawn, and htmx brings what comes later."""
    chromium, base = shown
    chromium.show(f"{base}/", width=1280)
    until(lambda: chromium.evaluate("document.querySelectorAll('#plot canvas').length") == 1)
    until(lambda: chromium.evaluate("document.querySelectorAll('[hx-get] > p > a').length") == 0)


def test_an_event_by_keys_alone(shown):
    """`j` goes to the first row, Enter opens it; `/` goes to the search, `?` shows the keys."""
    chromium, base = shown
    chromium.show(f"{base}/events", width=1280)

    def press(key, **more):
        for kind in ("keyDown", "keyUp"):
            chromium.ask("Input.dispatchKeyEvent", type=kind, key=key, **more)

    press("?", text="?")
    assert chromium.evaluate("document.getElementById('keys').open")
    chromium.evaluate("document.getElementById('keys').close()")
    press("j", text="j")
    press("Enter", text="\r", windowsVirtualKeyCode=13)
    until(lambda: "/event/" in chromium.evaluate("location.pathname"))
    until(lambda: chromium.evaluate("document.readyState") == "complete")
    press("/", text="/")
    assert chromium.evaluate("document.activeElement.id") == "words"
