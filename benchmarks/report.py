"""Tables in Markdown, and the format of their numbers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field


@dataclass(slots=True)
class Table:
    """One table of the page, with the text around it."""

    title: str
    head: list[str]
    about: str = ""
    """What is measured and how, above the table."""
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Below it."""

    def add(self, *cells: str) -> None:
        """Append a row."""
        assert len(cells) == len(self.head), (self.head, cells)
        self.rows.append(list(cells))

    def markdown(self) -> str:
        """Give the table as a section of a page."""
        lines = [f"## {self.title}", ""]
        if self.about:
            lines += [self.about, ""]
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        for row in (self.head, rule, *self.rows):
            lines.append("| " + " | ".join(row) + " |")
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"


def exchanged(page: str, tables: list[Table]) -> str:
    """Replace the tables of a page that have the same titles; new ones go to its end."""
    head, *sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    by_title = {section.splitlines()[0]: section.rstrip("\n") + "\n" for section in sections}
    by_title |= {f"## {table.title}": table.markdown() for table in tables}
    return head + "\n".join(by_title.values())


def count(value: float) -> str:
    """Write a number with three significant digits: 1,230,000."""
    if not value or math.isnan(value):
        return "-" if value else "0"
    step = 10 ** max(0, math.floor(math.log10(abs(value))) - 2)
    return f"{round(value / step) * step:,.0f}"


def ratio(value: float) -> str:
    """Write a ratio: 0.87x, 12.3x, 340x."""
    if math.isnan(value):
        return "-"
    return f"{value:.2f}x" if value < 10 else f"{value:.1f}x" if value < 100 else f"{value:.0f}x"


def mebibytes(value: float) -> str:
    """Write bytes as MiB."""
    return f"{value / (1 << 20):,.0f} MiB"


def seconds(value: float) -> str:
    """Write a time in a suitable unit."""
    if math.isnan(value):
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"
