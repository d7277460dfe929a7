"""Conditions on texts that use the database's index (`auditsvc.store.schema.text`).

SQLite's index has the beginning of a text, so there a condition on the beginning is added to
the one on the full text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.store.databases import parse_url
from auditsvc.store.schema import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterable


def quoted(text: str) -> str:
    """Write a text as an SQL literal; standard in both databases."""
    return "'" + text.replace("'", "''").replace("\0", "") + "'"


class Texts:
    """Writes conditions on rows of `text` for the store at a URL."""

    def __init__(self, url: str) -> None:
        self._heads = parse_url(url).get_backend_name() == "sqlite"

    def is_one(self, row: str, values: Iterable[str]) -> str:
        """Give the condition that the text `row` (an alias) is one of some, at least one."""
        given = list(values)
        whole = f"{row}.value IN ({', '.join(map(quoted, given))})"
        if not self._heads:
            return whole
        heads = sorted({value.replace("\0", "")[:HEAD] for value in given})
        return f"({row}.head IN ({', '.join(map(quoted, heads))}) AND {whole})"

    def is_below(self, row: str, folder: str) -> str:
        """Give the condition that it is a path below a folder, which has no final /."""
        inner = f"{folder}/"
        if not self._heads:
            return f"starts_with({row}.value, {quoted(inner)})"
        after = f"{folder}0"  # 0 comes after /, and SQLite's B-tree orders bytes
        within = f"{row}.value >= {quoted(inner)} AND {row}.value < {quoted(after)}"
        if len(inner) > HEAD:
            return f"({row}.head = {quoted(inner[:HEAD])} AND {within})"
        return f"({row}.head >= {quoted(inner)} AND {row}.head < {quoted(after)} AND {within})"
