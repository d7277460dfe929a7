"""The daily report's page in a real browser: nothing asked for, nothing wider than the window."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fixtures.browser import assert_asks_for_nothing
from fixtures.repeats import pairs

from auditsvc.report.daily import Daily, Hours, Section
from auditsvc.report.page import daily_page
from auditsvc.report.proof import Coverage, Proof
from auditsvc.store.read.time_span import Span

LONG = "x" * 300
NOON = 1_750_000_000
MADE = datetime(2025, 6, 16, tzinfo=UTC)


def write(path):
    """Write a page whose every text is one long word."""
    rows = tuple((n**5, LONG, f"/{LONG}", None) for n in range(25, 0, -1))
    sections = (
        Section("one", LONG, ("total", "user", "file", "host"), rows, 7**9, 7**10, alarms=True),
        Section("two", "Nothing", ("total",), ()),
    )
    hours = tuple((NOON // 3600 - n, n * 37 % 101) for n in range(24))
    made = Daily(
        span=Span(NOON - 86400, NOON),
        hosts=(LONG, "web.example"),
        events=7**12,
        sections=sections,
        hours=(Hours("events", "Events an hour", hours), Hours("none", "Nothing an hour", ())),
        proof=Proof({"received": 9, "stored": 8, "gap": 7**9}, Coverage(3, 0.98)),
        figures={LONG: 7**9},
    )
    path.write_text(daily_page(made, MADE))
    return path


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Write the page; give its address."""
    return write(tmp_path_factory.mktemp("page") / "daily.html").as_uri()


@pytest.mark.parametrize(("dark", "width"), pairs([False, True], [1280, 768, 390]))
def test_fits(new_page, address, width, dark):
    """No window must be scrolled sideways; a wide table is scrolled by itself."""
    page = new_page(width=width, dark=dark)
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_asks_for_nothing(new_page, address):
    """The browser loads the file and nothing else, and has nothing to complain of."""
    assert_asks_for_nothing(new_page(width=1280), address)
