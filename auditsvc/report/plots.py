"""Plots as inline SVG: bars whose colours are those of the page, light and dark. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.render.html import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDTH, _HEIGHT = 720, 110
_TOP, _BOTTOM = 14, 18
_MOST: Final = 24 * 31
"""Bars of one plot; more are put together."""


def bars(values: Sequence[tuple[str, int]], title: str, *, alarms: bool = False) -> str:
    """Draw a bar for each label; the highest one has its number, each a title of its own."""
    shown = _joined(values)
    most = max((count for _, count in shown), default=0)
    looks = "plot alarms" if alarms and most else "plot"
    said = f"{title}: {sum(count for _, count in shown):,} in all, at most {most:,}"
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(said)}"'
    inner = "".join(_drawn(shown, most))
    return f'<svg class="{looks}" {box}><title>{text(said)}</title>{inner}</svg>'


def _joined(values: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    step = -(-len(values) // _MOST) or 1
    return [
        (values[at][0], sum(count for _, count in values[at : at + step]))
        for at in range(0, len(values), step)
    ]


def _drawn(values: Sequence[tuple[str, int]], most: int) -> Iterator[str]:
    base, room = _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - _TOP
    yield f'<line class="axis" x1="0" y1="{base}" x2="{_WIDTH}" y2="{base}"/>'
    if not values:
        return
    step = _WIDTH / len(values)
    gap = min(3.0, step * 0.2)
    labelled = max(1, -(-len(values) // 8))
    named = False
    for n, (label, count) in enumerate(values):
        left = n * step
        if count:
            high = max(1.5, room * count / most)
            yield (
                f'<rect x="{left + gap / 2:.1f}" y="{base - high:.1f}" width="{step - gap:.1f}"'
                f' height="{high:.1f}" rx="1"><title>{text(label)}: {count:,}</title></rect>'
            )
        if count == most and most and not named:
            named = True
            yield _label(left + step / 2, base - room - 3, f"{count:,}", len(values) * step)
        if n % labelled == 0:
            yield f'<text x="{left + gap / 2:.1f}" y="{_HEIGHT - 5}">{text(label[-5:])}</text>'


def _label(x: float, y: float, words: str, width: float) -> str:
    anchor = "start" if x < width * 0.1 else "end" if x > width * 0.9 else "middle"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(words)}</text>'


def share(part: int, most: int) -> str:
    """Draw a bar beside a number: its share of the largest one."""
    width = 100 * part / most if most else 0
    return (
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="8"/></svg>'
    )
