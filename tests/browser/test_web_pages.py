"""Each page of `auditsvc web` in a real browser: axe-core finds nothing, keys reach everything."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import ExitStack
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
from fixtures.browser import AXE, Heard, Session, axe, page_in, session_by_link, wait_for_parts
from fixtures.logs import SECOND, load, opening, rows
from fixtures.repeats import pairs
from fixtures.web import web_log, web_program
from playwright.sync_api import expect

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


class Served(NamedTuple):
    """The pages of a store."""

    url: str
    """Of the store."""
    session: Session
    page: Any
    """A page with the session, in which one is shown after the other: a new context for each
    would be a tenth of the time of this file."""
    heard: Heard
    event: str
    """An event's number."""


class Shown(NamedTuple):
    """One of them, all of which has come."""

    name: str
    page: Any
    heard: Heard


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
                environment = os.environ | {"AUDITSVC_RUNTIME_DIRECTORY": str(folder)}
                process = stack.enter_context(web_program(url, environment))
                session = session_by_link(chromium, process.stdout.readline().strip())
                sql = "SELECT event_id FROM all_events WHERE serial = 8104"
                event = rows(url, sql)[0]["event_id"]
                cookies = session.cookies
                page = stack.enter_context(page_in(chromium, width=1280, cookies=cookies))
                known[kind] = Served(url, session, page, Heard(page), str(event))
            return known[kind]

        yield begin


def show(served, name):
    """Show a page and wait for what comes after it."""
    page = served.page
    # Without what the test before has left there.
    page.emulate_media(media="screen", color_scheme="light")
    page.goto("about:blank")
    served.heard.clear()
    page.goto(served.session.base + PAGES[name].replace("EVENT", served.event))
    wait_for_parts(page)
    return Shown(name, page, served.heard)


def test_axe_is_the_file_that_its_page_names():
    """Byte for byte."""
    page = (AXE.parent / "README.md").read_text()
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() in page


def check_all_has_come(shown):
    """See that all of it has come, that nothing was stopped, and that no part of it has failed."""
    assert [each for each in shown.heard.messages if "400" not in each] == []
    failed = shown.page.locator(".note.bad[role=alert], [hx-get] > p.note.bad")
    assert failed.count() == (shown.name == "error")
    assert shown.page.title().endswith(" - auditsvc")


EACH = [
    pytest.param(tuple(each.values), marks=each.marks, id="-".join(each.values))
    for each in pairs(KINDS, PAGES)
]
"""Kind and page: the short suite shows each page with one kind by turns."""
ONLY_HERE = {page for each in EACH if each.marks for kind, page in each.values if kind != KINDS[0]}
"""Pages that it does not show so on PostgreSQL."""


@pytest.fixture(scope="module", params=EACH)
def shown(request, served):
    """Show a page once, for the tests that look at it."""
    kind, name = request.param
    return show(served(kind), name)


def test_axe_finds_nothing(shown):
    """Names, roles, order of headings, contrast in both colours; and no name's code has run."""
    assert axe(shown.page) == []
    check_all_has_come(shown)


_FOCUS = (
    "a[href], button:not([hidden]), input:not([type=hidden]), textarea, summary, [tabindex='0']"
)
_SEEN = (
    f"[...document.querySelectorAll(`{_FOCUS}`)].filter((each) => each.checkVisibility()"
    " && !each.closest('dialog') && (each.type !== 'radio' || each.checked))"
)


def test_each_page_by_keys_alone(shown):
    """Tab reaches everything that can be used, each once, in its order; nothing holds it."""
    page = shown.page
    wanted = page.evaluate(
        f"window.wanted = {_SEEN}; window.reached = []; addEventListener('focusin',"
        " (event) => window.reached.push(event.target)); window.wanted.length"
    )
    for _ in range(wanted):
        page.keyboard.press("Tab")
    reached, said = page.evaluate(
        "[window.reached.map((each) => window.wanted.indexOf(each)),"
        " window.reached.map((each) => each.outerHTML.slice(0, 200))]"
    )
    assert reached == [*range(wanted)], said
    # The first is the way round the navigation.
    page.evaluate("document.activeElement.blur(); window.wanted[0].focus()")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ONLY_HERE else pytest.mark.long) for name in PAGES],
)
def test_each_page_on_postgresql(served, name):
    """All of it comes, nothing is stopped, and no part of it has failed."""
    check_all_has_come(show(served("postgres"), name))


@pytest.mark.one_database
@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_by_keys(served, kind):
    """`j` goes along the processes, Enter opens one."""
    page = show(served(kind), "process").page
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"\?.*id="))
    expect(page.locator(".tree .tree, .tree li").nth(2)).to_be_attached()


@pytest.mark.one_database
@pytest.mark.parametrize("kind", KINDS)
def test_follow_shows_what_arrives_and_stops_when_it_is_not_seen(new_page, served, kind):
    """By keys; a hidden page closes its stream, and goes on where it stopped."""
    url, session = served(kind)[:2]
    page = new_page(width=1280, cookies=session.cookies)
    page.goto(f"{session.base}/events")
    page.locator("#follow").focus()
    page.keyboard.press("Space")
    said = page.locator("#live")
    expect(said).to_have_text(re.compile("^Following"))
    second = SECOND + 5 * 86400
    load(url, opening(20001, "/etc/arrived", second=second), f"{kind}-first")
    first = page.locator("#rows td.sentence").first
    expect(first).to_contain_text("/etc/arrived")
    hide = "Object.defineProperty(document, 'hidden', {{value: {0}, configurable: true}});"
    tell = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(hide.format("true") + tell)
    load(url, opening(20002, "/etc/hidden", second=second + 60), f"{kind}-second")
    page.evaluate(hide.format("false") + tell)
    expect(first).to_contain_text("/etc/hidden")
    assert page.locator("#rows tr").count() > 2
    page.keyboard.press("Space")
    assert said.text_content() == "Stopped."


@pytest.mark.one_database
@pytest.mark.parametrize("kind", KINDS)
def test_a_question_is_cancelled_by_a_key(new_page, served, kind):
    """Escape ends what runs, and the page says so; then the editor is of use again."""
    session = served(kind).session
    page = new_page(width=1280, cookies=session.cookies)
    page.goto(f"{session.base}/sql")
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT count(*) FROM n"
    page.locator("#q").fill(endless)
    page.evaluate("document.getElementById('ask').requestSubmit()")
    said = page.locator("#running")
    expect(said).to_have_text(re.compile("^Running"))
    page.keyboard.press("Escape")
    expect(said).to_have_text("Cancelled.")
    page.locator("#q").fill("SELECT 41 + 1 AS n")
    page.evaluate("document.getElementById('ask').requestSubmit()")
    expect(page.locator("#result")).to_contain_text(re.compile(r"\b42\b"))
    assert "SELECT" in unquote(page.url)
