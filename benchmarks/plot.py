"""Bars in panels, or lines, as one SVG file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

_ROW, _LEFT, _BAR, _RIGHT, _TOP, _PANEL = 22, 220, 400, 100, 42, 22
_LINE = 17
_OURS, _OTHERS, _MARK = "#2563a8", "#b9bec5", "#c2410c"
_TEXT, _QUIET, _GRID = "#1f2328", "#57606a", "#e3e6ea"
# Neighbours are also different for colour-blind people, and dark enough for text on white.
_COLOURS = (
    "#0072b2",
    "#b35300",
    "#00805c",
    "#a0527f",
    "#3a3f45",
    "#2d7fa8",
    "#8a6d00",
    "#6a4ca5",
    "#c2410c",
)


def _head(width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="13"'
        f' fill="{_TEXT}">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    )


@dataclass(frozen=True, slots=True)
class Panel:
    """One comparison: a bar for each name."""

    title: str
    better: str
    """`less` or `more`."""
    bars: list[tuple[str, float, str]]
    """Name, length, and how its number is written."""
    mark: float | None = None
    """A line across the bars at this length."""


def svg(panels: list[Panel]) -> str:
    """Draw; bars whose name begins with `auditsvc` or `decode` are ours."""
    height = sum(_TOP + _ROW * len(panel.bars) + _PANEL for panel in panels)
    width = _LEFT + _BAR + _RIGHT
    parts = [_head(width, height)]
    top = 0
    for panel in panels:
        scale = _BAR / max(length for _, length, _ in panel.bars)
        parts.append(
            f'<text x="12" y="{top + 26}"><tspan font-weight="bold">{escape(panel.title)}</tspan>'
            f'<tspan dx="8" fill="{_QUIET}">{panel.better} is better</tspan></text>'
        )
        top += _TOP
        end = top + _ROW * len(panel.bars)
        for row, (name, length, shown) in enumerate(panel.bars):
            y = top + row * _ROW
            ours = name.startswith(("auditsvc", "decode"))
            colour, weight = (_OURS, "bold") if ours else (_OTHERS, "normal")
            long = max(length * scale, 1.0)
            parts += [
                f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{_LEFT}" y="{y + 3}" width="{long:.1f}" height="16" fill="{colour}"/>',
            ]
            parts.append(
                f'<text x="{_LEFT + long + 6:.1f}" y="{y + 15}" font-weight="{weight}">'
                f"{escape(shown)}</text>"
            )
        if panel.mark is not None:
            x = _LEFT + panel.mark * scale
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{end}" stroke="{_MARK}"'
                ' stroke-dasharray="3 3"/>'
            )
        top = end + _PANEL
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class Lines:
    """Growth: a line for each name, over the same steps."""

    title: str
    across: str
    """Label of the horizontal axis."""
    up: str
    lines: dict[str, list[tuple[float, float]]]


def chart(lines: Lines) -> str:
    """Draw lines from zero on, each with its name at its end, as one SVG file."""
    furthest = max(x for points in lines.lines.values() for x, _ in points)
    highest = max(y for points in lines.lines.values() for _, y in points)
    step = _step(highest)
    highest = math.ceil(highest / step) * step
    width, height, left, top, right, bottom = 720, 420, 56, 62, 536, 366

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x / furthest, bottom - (bottom - top) * y / highest

    parts = [
        _head(width, height),
        f'<text x="10" y="26" font-weight="bold">{escape(lines.title)}</text>',
        f'<text x="10" y="46" fill="{_QUIET}">{escape(lines.up)}</text>',
    ]
    for number in range(round(highest / step) + 1):
        _, y = place(0, number * step)
        parts.append(
            f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>'
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{_QUIET}">'
            f"{number * step:g}x</text>"
        )
    for number in range(5):
        x, _ = place(furthest * number / 4, 0)
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle" fill="{_QUIET}">'
            f"{furthest * number / 4:g}</text>"
        )
    parts.append(
        f'<text x="{right}" y="{bottom + 40}" text-anchor="end" fill="{_QUIET}">'
        f"{escape(lines.across)}</text>"
    )
    # From the lowest end up, so that names do not overlap.
    free = float(bottom)
    ordered = sorted(lines.lines.items(), key=lambda item: item[1][-1][1])
    for number, (name, points) in enumerate(ordered):
        colour = _COLOURS[number % len(_COLOURS)]
        drawn = [place(x, y) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
        x, y = drawn[-1]
        free = min(y + 4, free)
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
            *[f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour}"/>' for a, b in drawn],
        ]
        parts.append(
            f'<line x1="{x + 4:.1f}" y1="{y:.1f}" x2="{x + 16:.1f}" y2="{free - 4:.1f}"'
            f' stroke="{colour}" stroke-opacity="0.5"/>'
            f'<text x="{x + 20:.1f}" y="{free:.1f}" fill="{colour}">{escape(name)},'
            f" {points[-1][1]:.1f}x</text>"
        )
        free -= _LINE
    return "\n".join([*parts, "</svg>", ""])


def _step(highest: float) -> float:
    """A round distance of grid lines: about five of them."""
    size = 10.0 ** math.floor(math.log10(highest / 5))
    return next(size * n for n in (1, 2, 5, 10) if size * n >= highest / 6)
