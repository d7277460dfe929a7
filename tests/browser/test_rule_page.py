"""The report's page in a real browser: it loads nothing else, and fits the width of the window."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures.browser import assert_asks_for_nothing
from fixtures.repeats import pairs

from auditsvc.compliance import page as report_page
from auditsvc.compliance.judge import joined, judge
from auditsvc.compliance.model import KernelState, Report, Seen, Share, Source
from auditsvc.ruleset.controls import controls, find, missing_folder

LONG = "x" * 300
OWN = f"""\
#: {LONG} {LONG} | {LONG}
# {LONG}
-a always,exit -F dir=/{LONG[:200]} -F perm=wa -k {LONG[:200]}
"""


def write(path):
    """Write the page of a large set, and of a control whose texts are long words."""
    found = controls(OWN, f"/{LONG}")
    for name in ("stig-rhel9", "pci-dss-4.0"):
        found += controls(find(name).read_text(), str(find(name)))
    found = joined(found)
    kernel = KernelState(tuple(rule for each in found[::2] for rule in each.rules), {"enabled": 0})
    told = [judge(each, kernel, missing_folder) for each in found]
    report = Report(
        made=1_750_000_000,
        host=LONG,
        release="Linux 6.18 x86_64",
        version="0.1.0",
        store=f"sqlite:////{LONG}",
        days=30,
        sources=(Source("stig-rhel9", f"/{LONG}", "0123456789abcdef" * 4),),
        controls=tuple(replace(each, seen=Seen(7**9, 1_740_000_000)) for each in told),
        kernel=kernel,
        share=Share(20_000, 3, 900),
        unknown={"store": f"{LONG} `{LONG}`"},
    )
    path.write_text(report_page.page(report))
    return path


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Write the page; give its address."""
    return write(tmp_path_factory.mktemp("page") / "report.html").as_uri()


@pytest.mark.parametrize(("dark", "width"), pairs([False, True], [1280, 768, 390]))
def test_fits(new_page, address, width, dark):
    """No window has to be scrolled horizontally, and no text is cut off or overlaps another."""
    page = new_page(width=width, dark=dark)
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    spill = page.evaluate(
        "[...document.querySelectorAll('main *, header *, footer *')]"
        ".filter(e => !e.closest('caption, thead') && e.scrollWidth > e.clientWidth + 1"
        " && getComputedStyle(e).display !== 'inline').map(e => e.outerHTML.slice(0, 200))"
    )
    assert spill == []


def test_asks_for_nothing(new_page, address):
    """The browser loads the file and nothing else, and reports no problem."""
    assert_asks_for_nothing(new_page(width=1280), address)


def test_prints(new_page, address, tmp_path):
    """On paper the table keeps its header on every page and nothing is cut off."""
    page = new_page(width=700)
    page.emulate_media(media="print")
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") == 700
    assert (
        page.evaluate("getComputedStyle(document.querySelector('thead')).display")
        == "table-header-group"
    )
    page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_table_for_a_screen_reader(new_page, address):
    """Where rows are shown as cards they are still rows of a table with named headers."""
    page = new_page(width=390)
    page.goto(address)
    # What the browser tells a screen reader: playwright's own roles do not know of the style.
    browser = page.context.new_cdp_session(page)
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in nodes if not node.get("ignored")]
    assert roles.count("table") == 3
    assert "rowheader" in roles
    assert roles.count("columnheader") == 3 * 7
    names = {
        node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "table"
    }
    assert any(name.startswith("PCI-DSS-4.0: each control") for name in names)
