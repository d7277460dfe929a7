"""The pages of docs/ hold what exists: the index every page, troubleshooting every finding."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from fixtures.named_files import named_files

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.glob("*.md"))
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="only in a checkout")


def links(page):
    """Give the files to which a page links, without those of the web and without code."""
    text = re.sub(r"(?s)```.*?```|`[^`\n]*`", "", page.read_text())
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [each.partition("#")[0] for each in found if not re.match(r"[a-z]+:|#", each)]


def findings():
    """Give the names of all findings that doctor can make, from its source."""
    for path in (ROOT / "auditsvc/doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Name(id="DoctorFinding" | "ok" | "unknown" | "_check"),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    yield name
                case ast.Assign(targets=[ast.Name(id="name")], value=ast.Constant(value=name)):
                    yield name
                case ast.Assign(
                    targets=[ast.Tuple(elts=[ast.Name(id="name"), *_])],
                    value=ast.Tuple(elts=[ast.Constant(value=name), *_]),
                ):
                    yield name


def test_what_the_program_names_is_in_the_package():
    """Files of packaging/ and docs/ in messages: they exist, and the package leaves none out."""
    named = named_files()
    assert {"packaging/postgres-roles.sql", "packaging/root.conf", "docs/backup.md"} <= named
    assert [each for each in sorted(named) if not (ROOT / each).exists()] == []
    rules = (ROOT / "packaging/debian/rules").read_text()
    assert "cp -r README.md docs packaging $(DOC)/" in rules
    left_out = {"packaging/constraints-runtime.txt"}
    assert not named & left_out
    of_debian = {each for each in named if each.startswith("packaging/debian/")}
    assert of_debian <= {"packaging/debian/auditsvc.sysusers"}


def test_the_index_has_every_page():
    """A page that is not in docs/README.md is found by nobody."""
    pages = {path.name for path in DOCS.iterdir() if path.suffix in {".md", ".ipynb"}}
    assert pages - {"README.md"} <= set(links(DOCS / "README.md"))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_to_files(page):
    """Every link to a file of the repository leads to one."""
    assert [each for each in links(page) if each and not (page.parent / each).exists()] == []


def test_every_finding_of_doctor_has_its_row():
    """docs/troubleshooting.md has each finding, and no other."""
    page = (DOCS / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(set(findings()))
