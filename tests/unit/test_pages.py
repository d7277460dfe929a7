"""The pages: every link has a target, every decision has its own number."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT)
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("packaging/*.md"))
)
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")

pytestmark = pytest.mark.skipif(not PAGES, reason="the tests stand alone")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page):
    """Within the repository."""
    links = {link for link, _ in LINK.findall((ROOT / page).read_text()) if ":" not in link}
    assert [link for link in sorted(links) if not (ROOT / page.parent / link).exists()] == []


def test_every_decision_has_a_number_of_its_own():
    """It is in the name of the page, and at the head of it."""
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = Counter(page.name[:4] for page in pages)
    assert sorted(numbers) == [f"{n:04}" for n in range(1, len(pages) + 1)]
    for page in pages:
        assert page.read_text().startswith(f"# {page.name[:4]}: ")
