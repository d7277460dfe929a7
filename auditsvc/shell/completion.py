"""What can come next in a statement: views, columns, SQL's words, and values of the store.

Pure but for `values`, which asks the store once for each column. The statement is looked at with
regular expressions: it is not finished, so no parser would take it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from prompt_toolkit.completion import Completer, Completion

from auditsvc.host.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    from auditsvc.store.read.catalog import Column

WORDS: Final = (
    *("SELECT", "FROM", "WHERE", "GROUP", "BY", "ORDER", "LIMIT", "HAVING", "JOIN", "LEFT", "ON"),
    *("USING", "AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "BETWEEN", "AS", "DISTINCT"),
    *("COUNT", "SUM", "MIN", "MAX", "CASE", "WHEN", "THEN", "ELSE", "END", "WITH", "UNION", "ALL"),
    *("ASC", "DESC", "EXPLAIN"),
)
VALUES: Final = ("key", "syscall", "exe", "comm", "host")
"""Columns whose values are completed: those of `activity`, which is small."""

_LAST_WORD: Final = re.compile(r"[\w.]*\Z")
_STRING: Final = re.compile(
    r"(?:(\w+)\.)?(\w+)\s*(?:=|<>|!=|LIKE|IN\s*\((?:\s*'[^']*'\s*,)*)\s*'([^']*)\Z", re.IGNORECASE
)
_SOURCE: Final = re.compile(
    r"\b(?:FROM|JOIN)\s+(\w+)(?:\s+(?:AS\s+)?(?!WHERE|JOIN|LEFT|ON|USING|GROUP|ORDER)(\w+))?",
    re.IGNORECASE,
)
_AFTER_SOURCE: Final = re.compile(r"\b(?:FROM|JOIN)\s+\w*\Z", re.IGNORECASE)
_DESCRIBE: Final = re.compile(r"\s*\\d\s+(\w*)\Z")
_COMMAND: Final = re.compile(r"\s*(\\\w*)\Z")

Views = dict[str, "tuple[Column, ...]"]


class SqlCompleter(Completer):
    """Completes with the views of a store and the values in it."""

    def __init__(
        self,
        views: Views,
        values: Callable[[str], Sequence[str]],
        commands: Sequence[str] = (),
    ) -> None:
        """`values` gives those of a column, at once."""
        self._views = views
        self._values = values
        self._commands = commands

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """Give what fits to the text before the cursor; the rest of the text names views too."""
        del complete_event
        before = document.text_before_cursor
        written, candidates = self.candidates(before, document.text)
        for each in candidates:
            yield Completion(each, start_position=-len(written), display=visible(each))

    def candidates(self, before: str, text: str) -> tuple[str, Iterable[str]]:
        """Give what is written of the last word, and what it can become, without duplicates."""
        if found := _COMMAND.match(before) or _DESCRIBE.match(before):
            names = self._commands if found.re is _COMMAND else [*self._views]
            return found[1], _beginning(found[1], names)
        if found := _STRING.search(before):
            return found[3], self._texts(found[2].lower(), found[3])
        if before.count("'") % 2:
            return "", ()
        match = _LAST_WORD.search(before)
        written = match[0] if match else ""
        if _AFTER_SOURCE.search(before):
            return written, _beginning(written, self._views)
        sources = self._sources(text)
        if "." in written:
            alias, _, column = written.rpartition(".")
            return column, _beginning(column, self._columns(sources.get(alias.lower(), ())))
        if not written:
            return "", ()
        named = [view for views in sources.values() for view in views]
        columns = self._columns(named or [*self._views])
        words = [word if written[0].isupper() else word.lower() for word in WORDS]
        return written, _beginning(written, [*columns, *self._views, *words])

    def _texts(self, column: str, written: str) -> Iterator[str]:
        """Give values for a string literal, to the quote at its end."""
        if column not in VALUES:
            return
        for value in self._values(column):
            if value.startswith(written) and visible(value) == value:
                quoted = value.replace("'", "''")
                yield f"{quoted}'"

    def _sources(self, text: str) -> dict[str, list[str]]:
        """Give the views in the statement, by their names and aliases."""
        found: dict[str, list[str]] = {}
        for view, alias in _SOURCE.findall(text):
            if view.lower() in self._views:
                for name in {view.lower(), alias.lower()} - {""}:
                    found.setdefault(name, []).append(view.lower())
        return found

    def _columns(self, views: Iterable[str]) -> list[str]:
        return [column.name for view in views for column in self._views[view]]


def _beginning(written: str, names: Iterable[str]) -> list[str]:
    """Give the names that begin so, each once, without the one that stands there already."""
    low = written.lower()
    return [
        each for each in dict.fromkeys(names) if each.lower().startswith(low) and each != written
    ]
