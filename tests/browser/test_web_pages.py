"""Each page of `auditsvc web` in a real browser: axe-core finds nothing, keys reach everything."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import ExitStack

import pytest
from fixtures.browser import AXE, axe, browser
from fixtures.logs import SECOND, load, opening, rows
from fixtures.repeats import pairs
from fixtures.waiting import until
from fixtures.web import web_log, web_program

SINCE = "since=2025-06-15&until=2025-06-20"
SQL = "/sql?q=SELECT+hour,sum(calls)+FROM+activity+GROUP+BY+hour&as="
KINDS = ("sqlite", "postgres")
PAGES = {
    "overview": f"/?{SINCE}",
    "events": f"/events?{SINCE}",
    "event": "/event/EVENT",
    "process": "/process?event=EVENT",
    "who": "/who",
    "user": f"/who?user=1000&{SINCE}",
    "session": f"/who?session=3&{SINCE}",
    "what": "/what",
    "program": f"/what?program=/usr/bin/cat&{SINCE}",
    "file": f"/what?file=/etc/shadow&{SINCE}",
    "address": f"/what?address=192.0.2.9&{SINCE}",
    "unit": f"/what?unit=none&{SINCE}",
    "compliance": "/compliance",
    "sql": f"{SQL}table",
    "plot": f"{SQL}plot",
    "ledger": "/ledger",
    "coverage": "/coverage",
    "error": "/events?pid=x",
}


@pytest.fixture(scope="module")
def chromium():
    """Give a browser's page."""
    with browser() as page:
        yield page


@pytest.fixture(scope="module")
def served(request, chromium, tmp_path_factory):
    """Give a function that begins a session with the pages of a kind of store."""
    with ExitStack() as stack:
        known = {}

        def begin(kind):
            if kind not in known:
                folder = tmp_path_factory.mktemp(f"web-{kind}")
                url = f"sqlite:///{folder}/store.db"
                if kind == "postgres":
                    server = request.getfixturevalue("postgres_server")
                    url = stack.enter_context(server.database())
                load(url, web_log())
                # All ports of one name have the same cookies.
                name = "localhost" if kind == "postgres" else "127.0.0.1"
                environment = os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(folder)}
                process = stack.enter_context(web_program(url, environment, name))
                link = process.stdout.readline().strip()
                chromium.show(link, width=1280)
                sql = "SELECT event_id FROM all_events WHERE serial = 8104"
                event = rows(url, sql)[0]["event_id"]
                known[kind] = (url, link.partition("/?")[0], str(event))
            return known[kind]

        yield begin


def show(chromium, base, event, page, **options):
    """Show a page and wait for what comes after it."""
    chromium.show(base + PAGES[page].replace("EVENT", event), width=1280, **options)
    chromium.wait_for_parts()


def test_axe_is_the_file_that_its_page_names():
    """Byte for byte."""
    page = (AXE.parent / "README.md").read_text()
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() in page


def check_all_has_come(chromium, page):
    """See that all of it has come, that nothing was stopped, and that no part of it has failed."""
    assert [each for each in chromium.messages if "400" not in each] == []
    failed = "document.querySelectorAll('.note.bad[role=alert], [hx-get] > p.note.bad').length"
    assert chromium.evaluate(failed) == (page == "error")
    assert chromium.evaluate("document.title").endswith(" - auditsvc")


EACH = [
    pytest.param(tuple(each.values), marks=each.marks, id="-".join(each.values))
    for each in pairs(KINDS, PAGES)
]
"""Kind and page: the short suite shows each page with one kind by turns."""
ONLY_HERE = {page for each in EACH if each.marks for kind, page in each.values if kind != KINDS[0]}
"""Pages that it does not show so on PostgreSQL."""


@pytest.fixture(scope="module", params=EACH)
def shown(request, chromium, served):
    """Show a page once, for the tests that look at it; gives its name."""
    kind, page = request.param
    _, base, event = served(kind)
    chromium.messages.clear()
    show(chromium, base, event, page)
    return page


def test_axe_finds_nothing(chromium, shown):
    """Names, roles, order of headings, contrast in both colours; and no name's code has run."""
    assert axe(chromium) == []
    check_all_has_come(chromium, shown)


_FOCUS = (
    "a[href], button:not([hidden]), input:not([type=hidden]), textarea, summary, [tabindex='0']"
)
_SEEN = (
    f"[...document.querySelectorAll(`{_FOCUS}`)].filter((each) => each.checkVisibility()"
    " && !each.closest('dialog') && (each.type !== 'radio' || each.checked))"
)


@pytest.mark.usefixtures("shown")
def test_each_page_by_keys_alone(chromium):
    """Tab reaches everything that can be used, each once, in its order; nothing holds it."""
    wanted = chromium.evaluate(f"window.wanted = {_SEEN}; window.wanted.length")
    for n in range(wanted):
        chromium.press("Tab", 9)
        at = "window.wanted.indexOf(document.activeElement)"
        assert chromium.evaluate(at) == n, chromium.evaluate("document.activeElement.outerHTML")
    # The first is the way round the navigation.
    chromium.evaluate("document.activeElement.blur(); window.wanted[0].focus()")
    chromium.press("Enter", 13, "\r")
    assert chromium.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=() if page in ONLY_HERE else pytest.mark.long) for page in PAGES],
)
def test_each_page_on_postgresql(chromium, served, page):
    """All of it comes, nothing is stopped, and no part of it has failed."""
    _, base, event = served("postgres")
    chromium.messages.clear()
    show(chromium, base, event, page)
    check_all_has_come(chromium, page)


@pytest.mark.one_database
@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_by_keys(chromium, served, kind):
    """`j` goes along the processes, Enter opens one."""
    _, base, event = served(kind)
    show(chromium, base, event, "process")
    chromium.press("j", text="j")
    chromium.press("Enter", 13, "\r")
    until(lambda: "id=" in chromium.evaluate("location.search"))
    until(
        lambda: chromium.evaluate("document.querySelectorAll('.tree .tree, .tree li').length") > 2
    )


@pytest.mark.one_database
@pytest.mark.parametrize("kind", KINDS)
def test_follow_shows_what_arrives_and_stops_when_it_is_not_seen(chromium, served, kind):
    """By keys; a hidden page closes its stream, and goes on where it stopped."""
    url, base, _ = served(kind)
    chromium.show(f"{base}/events", width=1280)
    chromium.evaluate("document.getElementById('follow').focus()")
    chromium.press(" ", 32, " ")
    said = "document.getElementById('live').textContent"
    until(lambda: chromium.evaluate(said).startswith("Following"))
    second = SECOND + 5 * 86400
    load(url, opening(20001, "/etc/arrived", second=second), f"{kind}-first")
    first = "document.querySelector('#rows td.sentence').textContent"
    until(lambda: "/etc/arrived" in chromium.evaluate(first))
    hide = "Object.defineProperty(document, 'hidden', {{value: {0}, configurable: true}});"
    tell = "document.dispatchEvent(new Event('visibilitychange'))"
    chromium.evaluate(hide.format("true") + tell)
    load(url, opening(20002, "/etc/hidden", second=second + 60), f"{kind}-second")
    chromium.evaluate(hide.format("false") + tell)
    until(lambda: "/etc/hidden" in chromium.evaluate(first))
    assert chromium.evaluate("document.querySelectorAll('#rows tr').length") > 2
    chromium.press(" ", 32, " ")
    assert chromium.evaluate(said) == "Stopped."


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_is_cancelled_by_a_key(chromium, served, kind):
    """Escape ends what runs, and the page says so; then the editor is of use again."""
    _, base, _ = served(kind)
    chromium.show(f"{base}/sql", width=1280)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT count(*) FROM n"
    chromium.evaluate(f"document.getElementById('q').value = '{endless}'")
    chromium.evaluate("document.getElementById('ask').requestSubmit()")
    said = "document.getElementById('running').textContent"
    until(lambda: chromium.evaluate(said).startswith("Running"))
    chromium.press("Escape", 27)
    until(lambda: chromium.evaluate(said) == "Cancelled.")
    chromium.evaluate("document.getElementById('q').value = 'SELECT 41 + 1 AS n'")
    chromium.evaluate("document.getElementById('ask').requestSubmit()")
    result = "document.getElementById('result').textContent"
    until(lambda: re.search(r"\b42\b", chromium.evaluate(result)))
    assert "SELECT" in chromium.evaluate("decodeURIComponent(location.search)")
