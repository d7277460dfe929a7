"""docs/tour.md: the tour is what its commands say, but for numbers."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from fixtures.commands import run

ROOT = Path(__file__).parents[2]


def without_numbers(text):
    """Ids, counts and widths of columns may change with the store; words and rows may not."""
    return re.sub(r"\s+|─+", " ", re.sub(r"\d+", "N", text))


def test_the_tour_is_what_the_commands_say(tmp_path, monkeypatch):
    """Each command ends well, and the page is as `make tour` would write it now."""
    if not (ROOT / "tools/tour").exists():
        pytest.skip("only in a checkout")
    tour = runpy.run_path(str(ROOT / "tools/tour"))
    monkeypatch.chdir(tmp_path)

    def say(words, environment):
        done = run(*words, environment=environment, text=True)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    made = tour["page"](tmp_path, say)
    page = (ROOT / "docs/tour.md").read_text()
    assert without_numbers(page) == without_numbers(made)
    assert (ROOT / "docs/tour.svg").read_text() == tour["picture"](page)


def test_the_picture_loads_nothing():
    """No font, style or image of the picture is from elsewhere."""
    if not (ROOT / "docs/tour.svg").exists():
        pytest.skip("only in a checkout")
    drawn = re.sub("<!--.*?-->", "", (ROOT / "docs/tour.svg").read_text())
    assert set(re.findall(r"[a-z]+://[^\"')\s]+", drawn)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in drawn
