"""The page of SQL: an editor with the views and the cookbook, the result as a table or a plot.

A question that runs ends when the reader cancels it or leaves: both close the request
(`auditsvc.web.client`). Without JavaScript the browser's own stop does the same.
"""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from auditsvc.errors import QueryError
from auditsvc.render.rows import Format, write_rows
from auditsvc.store.read.result import Result
from auditsvc.web.answers import as_file, is_part, page, part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from auditsvc.web.asking import Asker, Table

_ROWS: Final = 500
"""Rows of a query that are shown."""
_LINES: Final = 4
"""Columns that one plot shows."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?")


@dataclass(frozen=True, slots=True)
class Plot:
    """A result as a plot: lines over a time or a number, or a bar for each name."""

    names: tuple[str, ...]
    data: list[list[Any]]
    is_time: bool
    bars: list[tuple[str, Any, int]]
    """Name, number, and its share of the largest in percent."""


class SqlPages:
    """The editor, its result, and the result as a file."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def page(self, request: Request) -> Response:
        """Show an editor and the rows of its statement, or the rows alone for htmx."""
        asked = _asked(request)
        as_plot = request.query_params.get("as") == "plot"
        table, error, reason, seconds = None, "", "", 0.0
        if asked.strip():
            began = time.monotonic()
            try:
                with self._asker.recorded(request, asked, whole=True) as asking:
                    table = asking.rows(asked, _ROWS, views_only=True)
                    reason = asking.access.reason
            except QueryError as problem:
                error = str(problem)
            seconds = time.monotonic() - began
        values = {
            "table": table,
            "plot": plot_of(table) if as_plot and table is not None else None,
            "as_plot": as_plot,
            "error": error,
            "seconds": seconds,
            "export": f"/sql.csv?{urlencode({'q': asked})}",
            "reason": reason,
        }
        if is_part(request):
            return part("sql_result.html", **values)
        return page(
            "sql.html",
            "SQL",
            status=400 if error else 200,
            asked=asked,
            limit=self._asker.seconds,
            views=self._asker.columns(),
            cookbook=cookbook(),
            **values,
        )

    def export(self, request: Request) -> Response:
        """Give the rows of a statement as CSV."""
        asked = _asked(request)
        out = io.StringIO()
        with self._asker.recorded(request, asked, whole=True) as asking:
            table = asking.rows(asked, views_only=True)
        write_rows(Result(table.columns, table.rows), Format.CSV, out)
        return as_file(out.getvalue(), "rows.csv", "text/csv")


def _asked(request: Request) -> str:
    return request.query_params.get("q", "").replace("\r\n", "\n")


@cache
def cookbook() -> list[dict[str, str]]:
    """Give the questions of docs/cookbook.md: `question` and `sql`."""
    text = (files("auditsvc.web") / "cookbook.json").read_text(encoding="utf-8")
    found: list[dict[str, str]] = json.loads(text)
    return found


def plot_of(table: Table) -> Plot | None:
    """Make a plot of rows; None if they have no numbers over something."""
    columns = list(zip(*table.rows, strict=True)) if table.rows else []
    if len(columns) < 2:
        return None
    lines = [n for n, column in enumerate(columns) if n and _is_number(column)][:_LINES]
    if not lines:
        return None
    names = tuple(table.columns[n] for n in (0, *lines))
    is_time = all(_second(each) is not None for each in columns[0])
    if is_time or _is_number(columns[0]):
        found = [_second(each) if is_time else _float(each) for each in columns[0]]
        first = [each for each in found if each is not None]
        if len(first) < len(found):
            return None
        order = sorted(range(len(first)), key=first.__getitem__)
        data: list[list[Any]] = [[first[n] for n in order]]
        data += [[_float(columns[line][n]) for n in order] for line in lines]
        return Plot(names, data, is_time, [])
    numbers = [_float(each) or 0 for each in columns[lines[0]]]
    most = max(map(abs, numbers)) or 1
    bars = [
        ("-" if name is None else str(name), row, max(0, round(number * 100 / most)))
        for name, row, number in zip(columns[0], columns[lines[0]], numbers, strict=True)
    ]
    return Plot(names[:2], [], is_time=False, bars=bars)


def _is_number(column: Sequence[Any]) -> bool:
    known = [each for each in column if each is not None]
    return bool(known) and all(
        isinstance(each, int | float | Decimal) and not isinstance(each, bool) for each in known
    )


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _second(value: Any) -> float | None:
    """Give a time of the store as seconds since 1970; None if it is none."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, str) and _TIME.fullmatch(value):
        return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
    return None
