"""Markdown, as much of it as our pages have -> a man page (man(7)).

    to_man(markdown, name, section, what) -> roff

Known are headings, paragraphs, lists, tables, code blocks, `code`, **bold** and links. The first
heading is the page's name and is not repeated. A table becomes a list: its first column is the
term, the last its meaning, those between stand in parentheses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_INLINE: Final = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\([^)]*\)")
_CELL: Final = re.compile(r"(?<!\\)\|")


def to_man(markdown: str, name: str, section: int, version: str) -> str:
    """Write a page; `name` as in auditsvc.toml(5), `version` of the program."""
    title = f'.TH "{name.upper()}" {section} "" "auditsvc {version}" "auditsvc"'
    return "\n".join([title, ".nh", *_lines(markdown)]) + "\n"


def _lines(markdown: str) -> Iterator[str]:
    rows = markdown.splitlines()
    at = 0
    while at < len(rows):
        row = rows[at]
        if row.startswith("```"):
            end = next(n for n in range(at + 1, len(rows)) if rows[n].startswith("```"))
            yield from (".PP", ".RS 4", ".nf", *map(_literal, rows[at + 1 : end]), ".fi", ".RE")
            at = end + 1
        elif row.startswith("#"):
            level = len(row) - len(row.lstrip("#"))
            if level > 1:
                text = _escape(row.lstrip("# ").upper() if level == 2 else row.lstrip("# "))
                yield f'{".SH" if level == 2 else ".SS"} "{text}"'
            at += 1
        elif row.startswith("|"):
            end = next((n for n in range(at, len(rows)) if not rows[n].startswith("|")), len(rows))
            yield from _table(rows[at + 2 : end])
            at = end
        elif row.startswith(("- ", "* ")) or re.match(r"[0-9]+\. ", row):
            mark, _, text = row.partition(" ")
            bullet = r"\(bu" if mark in "-*" else mark
            yield from (f".IP {bullet} 4", _inline(text))
            at += 1
        elif row.strip():
            end = at
            while end < len(rows) and rows[end].strip() and not rows[end].startswith(("|", "```")):
                end += 1
            # As one line: what is code or bold may go over its end.
            yield from (".PP", _inline(" ".join(each.strip() for each in rows[at:end])))
            at = end
        else:
            at += 1


def _table(rows: list[str]) -> Iterator[str]:
    for row in rows:
        cells = [cell.strip().replace("\\|", "|") for cell in _CELL.split(row.strip("|"))]
        term, *between, meaning = cells if len(cells) > 1 else (*cells, "")
        facts = "; ".join(cell for cell in between if cell)
        yield ".TP"
        yield _inline(term if term.startswith("`") else f"**{term}**")
        yield _inline(f"{meaning} ({facts})" if facts else meaning) or r"\&"


def _inline(text: str) -> str:
    """Write a line of text; what is code or bold becomes bold."""
    made, at = [], 0
    for found in _INLINE.finditer(text):
        made.append(_escape(text[at : found.start()]))
        made.append(
            _escape(found[3]) if found[3] else rf"\fB{_escape(found[1] or found[2] or '')}\fR"
        )
        at = found.end()
    made.append(_escape(text[at:]))
    return _guarded("".join(made).strip())


def _literal(line: str) -> str:
    return _guarded(_escape(line))


def _escape(text: str) -> str:
    r"""Escape what roff interprets; a hyphen is a minus sign, so that options can be copied."""
    return text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")


def _guarded(line: str) -> str:
    """Protect a line that begins like a request."""
    return rf"\&{line}" if line.startswith((".", "'")) else line
