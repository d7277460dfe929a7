"""HTML pages that need nothing from elsewhere. Pure.

A page loads nothing and runs no script: the policy in its head forbids both. All text from
outside is escaped, and control characters are made visible.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from auditsvc.host.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_QUOTED: Final = re.compile("`([^`]+)`")


def document(title: str, style: str, body: Iterable[str]) -> str:
    """Write a whole page: `style` is CSS, `body` lines of HTML."""
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{text(_POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{text(title)}</title>",
        f"<style>\n{style}</style>",
        "</head>",
        "<body>",
        *body,
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def bar(parts: Iterable[tuple[str, str, int]]) -> str:
    """Write a bar of shares, and below it what each is: (class of its look, words, count).

    A share of nothing is left out. A screen reader gets the words alone.
    """
    shown = [part for part in parts if part[2]]
    cells = "".join(
        f'<span class="{look}" style="flex-grow:{count}"></span>' for look, _, count in shown
    )
    named = "".join(
        f'<li><span class="state {look}">{words}</span> {count:,}</li>'
        for look, words, count in shown
    )
    return f'<div class="bar" aria-hidden="true">{cells}</div><ul class="shares">{named}</ul>'


def text(value: str) -> str:
    """Escape a text."""
    return escape(visible(value), quote=True)


def prose(value: str) -> str:
    """Escape a text; what is between backticks is shown as code."""
    return _QUOTED.sub(r"<code>\1</code>", text(value))


def code(value: str) -> str:
    """Escape a text and show it as code, apart from the direction of what is around it."""
    return f"<code><bdi>{text(value)}</bdi></code>"
