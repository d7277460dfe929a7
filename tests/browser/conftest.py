"""One browser for all tests in a real browser, and a new context for each of them."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from fixtures.browser import browser, page_in


@pytest.fixture(scope="package")
def chromium():
    """Give the browser, once for each worker of pytest-xdist.

    Not for the whole session: playwright keeps an event loop in this thread, and a process; no
    other test should have them beside it.
    """
    with browser() as started:
        yield started


@pytest.fixture
def new_page(chromium):
    """Give a function that makes a page in a context of its own: see `page_in`."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(page_in(chromium, **options))
