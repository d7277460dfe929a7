"""docs/promises.md agrees with the pages that promise and with the tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PAGE = ROOT / "docs/promises.md"
README = (ROOT / "README.md").read_text()
ELSE = re.compile(r"measured: `(benchmarks/[a-z/_]+\.py)`|not tested: .+")


def rows():
    """Give each promise, where it is said, and the words about what keeps it."""
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] != "Promise":
            yield tuple(cells)


ROWS = list(rows())


@cache
def collected_from(name):
    """Names of the tests that pytest collects from a file."""
    path = TESTS / name
    if not path.name.startswith("test_") or not path.exists():
        return frozenset()
    found = ast.parse(path.read_text()).body
    return frozenset(
        each.name
        for each in found
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_promise_is_said_and_kept(row):
    """The words stand in the page that is named, and each of the tests is there."""
    promise, page, kept = row
    if page != "-":
        assert promise in (ROOT / page).read_text()
    if other := ELSE.fullmatch(kept):
        assert not other[1] or (ROOT / other[1]).exists()
        return
    for each in kept.split(", "):
        file, name = each.strip("`").split("::")
        assert name in collected_from(file)


def promised():
    """Sentences, lines and rows of the README that promise something."""
    introduction = README.split("\n\n")[1]
    yield from re.split(r"(?<=\.)\s", introduction)
    for title, kind in (("Commands", "| "), ("Commands", "Settings"), ("Limits", "- ")):
        (section,) = re.findall(rf"(?s)^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE)
        for line in section.splitlines():
            if line.startswith(kind) and not re.match(r"\| (Command|Source) \|", line):
                yield line


@pytest.mark.parametrize("said", list(promised()), ids=lambda said: said[:40])
def test_what_the_readme_promises_has_a_row(said):
    """Introduction, commands, sources and limits: in each of them is a promise of the page."""
    assert [row for row in ROWS if row[1] == "README.md" and row[0] in said]


THREATS = ROOT / "docs/threats.md"
NAMED = re.findall(r"`((?:[a-z]+/)?test_[a-z_]+\.py)::(test_[a-z0-9_]+)`", THREATS.read_text())


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_what_holds_against_a_threat_is_shown(file, name):
    """Each test that docs/threats.md names is there."""
    assert name in collected_from(file)


def test_every_threat_names_a_test():
    """A row of docs/threats.md without a test is a claim."""
    lines = THREATS.read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| Tries to")]
    assert len(rows) >= 10
    assert all("::test_" in row for row in rows)


@pytest.mark.parametrize(
    "file",
    [
        "conformance/test_readers.py",
        "faults/test_store_comes_later.py",
        "faults/test_flood.py",
        "conformance/test_long_execs.py",
        "conformance/test_origins.py",
        "conformance/test_own_objects.py",
    ],
)
def test_each_kind_of_attack_is_on_the_page(file):
    """Readers, an absent store, floods, foreign logs and foreign objects have rows."""
    assert file in {name for name, _ in NAMED}
