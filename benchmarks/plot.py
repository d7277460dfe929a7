"""Bars, side by side in panels, as one SVG file."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

_ROW, _LEFT, _BAR, _RIGHT, _TOP, _PANEL = 22, 210, 420, 90, 44, 30
_OURS, _OTHERS, _MARK = "#2563a8", "#b9bec5", "#c2410c"


@dataclass(frozen=True, slots=True)
class Panel:
    """One question: a bar for each name."""

    title: str
    bars: list[tuple[str, float, str]]
    """Name, length, and how its number is written."""
    mark: float | None = None
    """A line across the bars at this length."""


def svg(panels: list[Panel]) -> str:
    """Draw; bars whose name begins with `auditsvc` or `decode` are ours."""
    height = sum(_TOP + _ROW * len(panel.bars) + _PANEL for panel in panels)
    width = _LEFT + _BAR + _RIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="13">'
    )
    parts = [head, f'<rect width="{width}" height="{height}" fill="white"/>']
    top = 0
    for panel in panels:
        scale = _BAR / max(length for _, length, _ in panel.bars)
        parts.append(f'<text x="10" y="{top + 26}" font-weight="bold">{escape(panel.title)}</text>')
        top += _TOP
        for row, (name, length, shown) in enumerate(panel.bars):
            y = top + row * _ROW
            colour = _OURS if name.startswith(("auditsvc", "decode")) else _OTHERS
            long = max(length * scale, 1.0)
            parts += [
                f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{_LEFT}" y="{y + 3}" width="{long:.1f}" height="15" fill="{colour}"/>',
                f'<text x="{_LEFT + long + 6:.1f}" y="{y + 15}">{escape(shown)}</text>',
            ]
        end = top + _ROW * len(panel.bars)
        if panel.mark is not None:
            x = _LEFT + panel.mark * scale
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{end}" stroke="{_MARK}"/>'
            )
        top = end + _PANEL
    return "\n".join([*parts, "</svg>", ""])
