"""The assessor's page as HTML: one table, line by line. Pure.

It has the look of the rules report (page.css), loads nothing, and fits on paper.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from auditsvc.compliance.assessment import Standing
from auditsvc.compliance.model import moment
from auditsvc.render.html import bar, document, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditsvc.compliance.assessment import Answer, Assessed, Assessment

_LABELS: Final = {
    Standing.MET: ("good", "\u2713 met"),
    Standing.NOT_MET: ("bad", "\u2717 not met"),
    Standing.SHOW: ("none", "\u25cb for you to show"),
    Standing.UNKNOWN: ("fair", "? not known"),
}


def assessment_page(found: Assessment) -> str:
    """Write the whole page."""
    body = [*_head(found), "<main>", *_table(found), "</main>", *_foot(found)]
    return document(f"{found.framework}: {found.host}", _style(), body)


@cache
def _style() -> str:
    return (files("auditsvc.compliance") / "page.css").read_text(encoding="utf-8")


def _time(second: int) -> str:
    stamp = moment(second)
    return f'<time datetime="{stamp}">{stamp.replace("T", " ").replace("Z", " UTC")}</time>'


def _label(standing: Standing) -> str:
    look, words = _LABELS[standing]
    return f'<span class="state {look}">{words}</span>'


def _head(found: Assessment) -> Iterable[str]:
    tally = found.tally()
    open_lines = tally.get(Standing.NOT_MET, 0) + tally.get(Standing.UNKNOWN, 0)
    total = len(found.lines)
    words = (
        "No line is open."
        if found.is_met
        else f"{open_lines} of {total} lines are not shown to be met."
    )
    yield "<header>"
    yield '<p class="kind">Compliance of the audit log</p>'
    yield f"<h1>{text(found.framework)}</h1>"
    yield f'<p class="soft">{text(found.host)}, {_time(found.made)}</p>'
    yield f'<div class="verdict {"good" if found.is_met else "bad"}"><strong>{words}</strong></div>'
    yield bar((*_LABELS[each], count) for each, count in tally.items())
    yield '<dl class="facts">'
    for name, value in (
        ("Host", found.host),
        ("Kernel", found.release),
        ("Store", found.store),
        ("Made by", f"auditsvc {found.version}"),
    ):
        yield f"<dt>{name}</dt><dd>{text(value)}</dd>"
    yield "</dl></header>"


def _table(found: Assessment) -> Iterable[str]:
    yield '<section><h2>Line by line</h2><table role="table">'
    yield f"<caption>{text(found.framework)}: each line, its state and the evidence</caption>"
    yield '<thead role="rowgroup"><tr role="row">'
    for column in ("Line", "About", "State", "Evidence, and what would meet it"):
        yield f'<th scope="col" role="columnheader">{column}</th>'
    yield '</tr></thead><tbody role="rowgroup">'
    yield from (_row(each) for each in found.lines)
    yield "</tbody></table></section>"


def _row(each: Assessed) -> str:
    cells = (
        ("About", text(each.line.title)),
        ("State", _label(each.standing)),
        ("Evidence", "".join(_answer(answer) for answer in each.answers)),
    )
    inside = "".join(
        f'<td role="cell" data-of="{of}"><div>{content}</div></td>' for of, content in cells
    )
    return f'<tr role="row"><th scope="row" role="rowheader">{text(each.line.id)}</th>{inside}</tr>'


def _answer(answer: Answer) -> str:
    remedy = ""
    if answer.remedy:
        remedy = f'<span class="why">\u2192 {text(answer.remedy)}</span>'
    return f"<p>{text(answer.found)}{remedy}</p>"


def _foot(found: Assessment) -> Iterable[str]:
    yield "<footer><p>"
    yield (
        f"auditsvc {text(found.version)} took this evidence on {text(found.host)},"
        f" {_time(found.made)}. It shows the state of the machine then; whether that meets a"
        " framework is for an assessor to judge."
    )
    yield "</p></footer>"
