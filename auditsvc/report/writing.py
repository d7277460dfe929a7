"""A report as a table, CSV or JSON, with its proof.

The proof stands under a table, and is a member of the JSON; CSV has rows alone, so there the
caller shows it elsewhere. Rows are written as they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from auditsvc.host.terminal import encodable_json, visible, visible_json
from auditsvc.render.fit import fitted
from auditsvc.render.rows import Format, write_rows
from auditsvc.render.table import Else
from auditsvc.report.daily import times
from auditsvc.report.values import hour
from auditsvc.store.read.result import Result
from auditsvc.value_text import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.report.daily import Daily
    from auditsvc.report.report import Answer
    from auditsvc.report.values import Value

NOTHING: Final = "<no events of interest were found>"
_UNKNOWN: Final = "?"


def write_table(answer: Answer, out: TextIO) -> None:
    """Write the title, the rows and the proof; the host's name only if there are several."""
    out.write(f"\n{visible(answer.title)}\n")
    hidden = {"event_id", *(["node"] if answer.hosts <= 1 else [])} if answer.is_list else set()
    kept = [n for n, name in enumerate(answer.columns) if name not in hidden]
    rows = _Counted(answer, kept)
    first = next(rows, None)
    if first is None:
        out.write(f"{NOTHING}\n")
    else:
        shown = (row for part in ([first], rows) for row in part)
        columns = tuple(answer.columns[n] for n in kept)
        write_rows(Result(columns, shown), Format.TABLE, out, otherwise=Else.FLOWING)
    out.write(f"{fitted(visible(answer.proof.line), out)}\n")


class _Counted:
    """The rows with some columns, where what is not known is a `?`."""

    def __init__(self, answer: Answer, kept: list[int]) -> None:
        self._rows = iter(answer.rows)
        self._kept = kept

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        return self

    def __next__(self) -> tuple[object, ...]:
        row = next(self._rows)
        return tuple(_UNKNOWN if row[n] is None else row[n] for n in self._kept)


def write_daily(report: Daily, out: TextIO) -> None:
    """Write the daily report as text: figures, then each section, then the proof."""
    begin, end = times(report.span)
    out.write(f"\nDaily audit review of {visible(', '.join(report.hosts) or 'no host')}\n")
    out.write(f"{begin} to {end} UTC\n")
    figures = ({"events": report.events} | report.figures).items()
    write_rows(Result(("number", "what"), [(n, name) for name, n in figures]), Format.TABLE, out)
    for section in report.sections:
        mark = "! " if section.alarms and section.rows else ""
        out.write(f"\n{mark}{visible(section.title)}\n")
        if not section.rows:
            out.write("none\n")
            continue
        if section.note:
            out.write(f"{fitted(visible(section.note), out)}\n")
        rows = [tuple(_UNKNOWN if cell is None else cell for cell in row) for row in section.rows]
        write_rows(Result(section.columns, rows), Format.TABLE, out, otherwise=Else.FLOWING)
        if section.more:
            out.write(f"and {section.more:,} more\n")
    out.write(f"\n{fitted(visible(report.proof.line), out)}\n")


def write_daily_json(report: Daily, out: TextIO) -> None:
    """Write the daily report as one object."""
    begin, end = times(report.span)
    sections = [
        {
            "name": section.name,
            "title": section.title,
            "to_review": section.alarms and bool(section.rows),
            "note": section.note,
            "rows": [_object(section.columns, row) for row in section.rows],
            "more": section.more,
        }
        for section in report.sections
    ]
    made = {
        "report": "daily",
        "from": begin,
        "to": end,
        "hosts": list(report.hosts),
        "figures": {"events": report.events} | report.figures,
        "sections": sections,
        "hours": {each.name: {hour(n): count for n, count in each.counts} for each in report.hours},
        "proof": report.proof.as_json(),
    }
    out.write(f"{to_json(made, indent=2, ascii_only=True)}\n")


def write_csv(answer: Answer, out: TextIO, *, exact: bool = False) -> None:
    """Write all columns and rows."""
    write_rows(Result(answer.columns, answer.rows), Format.CSV, out, exact=exact)


def write_json(answer: Answer, out: TextIO) -> None:
    """Write one object: report, title, columns, rows (an object each), proof."""
    show = visible_json if out.isatty() else encodable_json

    def text(value: object) -> str:
        return show(to_json(value, ascii_only=True))

    head = {"report": answer.name, "title": answer.title, "columns": list(answer.columns)}
    out.write(text(head)[:-1] + ', "rows": [')
    between = "\n"
    for row in answer.rows:
        out.write(f"{between}  {text(_object(answer.columns, row))}")
        between = ",\n"
    out.write(f'\n], "proof": {text(answer.proof.as_json())}}}\n')


def _object(columns: tuple[str, ...], row: tuple[Value, ...]) -> dict[str, Value]:
    return dict(zip(columns, row, strict=True))
