"""docs/guarantees.md names tests that exist."""

from __future__ import annotations

import re

import pytest
from unit.test_promises import ROOT, collected_from

NAMED = re.findall(
    r"`([a-z]+/test_\w+\.py)::(test_\w+)`", (ROOT / "docs/guarantees.md").read_text()
)


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda word: word)
def test_each_guarantee_is_kept_by_a_test(file, name):
    """Pytest collects it."""
    assert name in collected_from(file)


def test_each_fault_has_a_test():
    """No row of the page is without one."""
    page = (ROOT / "docs/guarantees.md").read_text()
    rows = [
        line for line in page.splitlines() if line.startswith("| ") and "What holds" not in line
    ]
    assert len(rows) > 10
    assert all("::test_" in row for row in rows)
