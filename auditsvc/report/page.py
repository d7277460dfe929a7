"""Reports as one HTML page each, that needs nothing else and can be printed. Pure.

All text from outside is escaped, and control characters are made visible
(`auditsvc.render.html`).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Final

from auditsvc import __version__
from auditsvc.plural import counted
from auditsvc.render.html import code, document, text
from auditsvc.report.daily import MOST, Daily, times
from auditsvc.report.plots import bars, share
from auditsvc.report.values import hour

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from auditsvc.report.daily import Hours, Section
    from auditsvc.report.proof import Proof
    from auditsvc.report.report import Answer
    from auditsvc.report.values import Value

ROWS: Final = 5000
"""Rows of a page; a browser is no place for more."""
_HIDDEN: Final = ("event_id",)
_MOST_HOURS: Final = 24 * 31
_NUMBERS: Final = frozenset(("total", "event", "pid", "number", "ses"))


@cache
def _style() -> str:
    return (files("auditsvc.report") / "page.css").read_text(encoding="utf-8")


def page(answer: Answer, made: datetime) -> str:
    """Write a report as a page."""
    kept = [n for n, name in enumerate(answer.columns) if name not in _HIDDEN]
    columns = [answer.columns[n] for n in kept]
    rows = iter(answer.rows)
    first = [tuple(row[n] for n in kept) for row in islice(rows, ROWS)]
    more = sum(1 for _ in rows)
    body = [
        "<header>",
        '<p class="kind">auditsvc report</p>',
        f"<h1>{text(answer.title)}</h1>",
        f'<p class="soft">Made {_moment(made)}. Times are UTC.</p>',
        "</header>",
        "<main><section>",
        *_table(columns, first, is_sum="total" in columns),
    ]
    if more:
        body.append(f'<p class="soft">and {counted(more, "row")} more: --format csv has all</p>')
    body += ["</section>", *_proof(answer.proof), "</main>", *_foot(made)]
    return document(answer.title, _style(), body)


def daily_page(report: Daily, made: datetime) -> str:
    """Write the daily report as a page."""
    title = f"Daily audit review: {', '.join(report.hosts) or 'no host'}"
    begin, end = times(report.span)
    body = [
        "<header>",
        '<p class="kind">Daily audit review</p>',
        f"<h1>{text(', '.join(report.hosts) or 'no host')}</h1>",
        f'<p class="soft">{text(begin)} to {text(end)} UTC. Made {_moment(made)}.</p>',
        *_verdict(report),
        *_figures(report),
        "</header>",
        "<main>",
        *_plots(report),
    ]
    for section in report.sections:
        body += _section(section)
    body += [*_proof(report.proof), "</main>", *_foot(made)]
    return document(title, _style(), body)


def _moment(made: datetime) -> str:
    shown = made.strftime("%Y-%m-%d %H:%M:%S")
    return f'<time datetime="{made.strftime("%Y-%m-%dT%H:%M:%SZ")}">{shown} UTC</time>'


def _verdict(report: Daily) -> Iterator[str]:
    open_parts = report.to_review
    lost = report.proof.lost
    if not report.events:
        yield '<div class="verdict bad"><strong>The store has no event of this time.</strong></div>'
    elif not open_parts and not lost:
        yield '<div class="verdict good"><strong>Nothing stands out.</strong></div>'
    else:
        links = ", ".join(
            f'<a href="#{section.name}">{text(section.title)}</a>' for section in open_parts
        )
        words = f"{counted(len(open_parts), 'part')} to look at"
        if lost:
            words += "; records were lost"
        yield f'<div class="verdict fair"><strong>{text(words)}</strong><p>{links}</p></div>'


def _figures(report: Daily) -> Iterator[str]:
    yield '<ul class="figures">'
    for name, number in ({"events": report.events} | report.figures).items():
        yield f"<li><b>{number:,}</b> <span>{text(name)}</span></li>"
    yield "</ul>"


def _plots(report: Daily) -> Iterator[str]:
    for hours in report.hours:
        yield f"<section><h2>{text(hours.title)}</h2>"
        yield bars(_every_hour(hours, report), hours.title, alarms=hours.name != "events")
        yield "</section>"


def _every_hour(hours: Hours, report: Daily) -> list[tuple[str, int]]:
    """Give the hours of the report's time, those without events too, if they are not too many."""
    counts = dict(hours.counts)
    low, high = report.span.low // 3600, report.span.high // 3600
    if high - low > _MOST_HOURS:
        known = [number for each in report.hours for number, _ in each.counts]
        if not known:
            return []
        low, high = min(known), max(known)
    return [(hour(number), counts.get(number, 0)) for number in range(low, high + 1)]


def _section(section: Section) -> Iterator[str]:
    state = "" if not section.rows else "fair" if section.alarms else "none"
    mark = f' <span class="state {state}">{section.size:,}</span>' if state else ""
    yield f'<section id="{text(section.name)}"><h2>{text(section.title)}{mark}</h2>'
    if section.note and section.rows:
        yield f'<p class="soft">{text(section.note)}</p>'
    if section.rows:
        yield from _table(section.columns, section.rows, is_sum=True)
        if section.more:
            yield f'<p class="soft">and {section.more:,} more, after the first {MOST}</p>'
    else:
        yield '<p class="soft">None.</p>'
    yield "</section>"


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[Value]], *, is_sum: bool
) -> Iterator[str]:
    if not rows:
        yield '<p class="soft">No events of interest were found.</p>'
        return
    total = columns.index("total") if is_sum and "total" in columns else None
    most = 0 if total is None else max(_number(row[total]) for row in rows)
    yield '<div class="wide"><table><thead><tr>'
    for name in columns:
        looks = ' class="number"' if name in _NUMBERS else ""
        looks = ' class="number total"' if total is not None and name == "total" else looks
        yield f'<th scope="col"{looks}>{text(name)}</th>'
    yield "</tr></thead><tbody>"
    for row in rows:
        yield "<tr>" + "".join(_cells(columns, row, total, most)) + "</tr>"
    yield "</tbody></table></div>"


def _cells(
    columns: Sequence[str], row: Sequence[Value], total: int | None, most: int
) -> Iterable[str]:
    for n, (name, value) in enumerate(zip(columns, row, strict=True)):
        if n == total:
            number = _number(value)
            yield f'<td class="number">{number:,}{share(number, most)}</td>'
        elif value is None:
            yield '<td class="soft">?</td>'
        elif isinstance(value, int) or name in _NUMBERS:
            yield f'<td class="number">{text(str(value))}</td>'
        elif name in ("exe", "file", "command", "comm", "key", "obj", "data", "detail"):
            yield f"<td>{code(value)}</td>"
        else:
            yield f"<td>{text(value)}</td>"


def _number(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _proof(proof: Proof) -> Iterator[str]:
    state = "bad" if proof.lost or not proof.adds_up else "good"
    yield '<section id="proof"><h2>What the store knows to be missing</h2>'
    yield '<dl class="facts">'
    yield f"<dt>Ledger</dt><dd>{text(proof.ledger_text)}</dd>"
    yield f'<dt>Lost</dt><dd><span class="state {state}">{text(proof.lost_text)}</span></dd>'
    yield f"<dt>Coverage</dt><dd>{text(proof.coverage_text)}</dd>"
    yield "</dl></section>"


def _foot(made: datetime) -> Iterator[str]:
    yield f"<footer><p>auditsvc {text(__version__)}, {_moment(made)}.</p></footer>"
