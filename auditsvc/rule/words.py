r"""The words of a line, with their columns.

Words are separated by spaces and tabs; a backslash makes the next space, tab or backslash
part of the word (audit.rules(7)); quotes are ordinary characters. A line that begins with
`#` is a comment.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD: Final = re.compile(r"(?:\\[ \t\\]|[^ \t])+")
_ESCAPE: Final = re.compile(r"\\([ \t\\])")


class Word(NamedTuple):
    """A word and its column, counted from 1."""

    text: str
    column: int


def split(line: str) -> list[Word]:
    """Split a line; empty for a blank line or a comment."""
    if line.lstrip(" \t").startswith("#"):
        return []
    return [Word(_ESCAPE.sub(r"\1", match[0]), match.start() + 1) for match in _WORD.finditer(line)]


def nearest(word: str, known: Iterable[str]) -> str:
    """Give a hint with the known word most similar to this one; empty if none is similar."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean `{near[0]}`?" if near else ""
