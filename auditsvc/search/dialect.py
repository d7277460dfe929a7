r"""The expressions that the SQL of a search needs, for each database.

Values are literals, so that the SQL that is shown is the SQL that runs. They are only made
here: text is quoted by doubling its quotes, which both databases read in one way
(`standard_conforming_strings` is set for every query), and NUL, which no text can have, is
refused. Bytes that are not UTF-8 are written as the store shows them, as \xHH.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.errors import UsageError
from auditsvc.record.fields import to_text
from auditsvc.store.databases import parse_url
from auditsvc.store.read.texts import quoted
from auditsvc.store.views import dialect as views
from auditsvc.store.views import words

if TYPE_CHECKING:
    from collections.abc import Iterable


def literal(value: str) -> str:
    """Write a text as an SQL literal."""
    shown = to_text(os.fsencode(value))[0] if not value.isascii() else value
    if "\0" in shown:
        raise UsageError("a text to search for cannot hold a NUL byte")
    return quoted(shown)


def listed(values: Iterable[str]) -> str:
    """Write texts as the list of an IN."""
    return ", ".join(map(literal, values))


@dataclass(frozen=True, slots=True)
class Dialect:
    """Formats of expressions."""

    position: str
    """Where text {1} begins in {0}; 0 if it does not."""
    store: views.Dialect
    """The expressions of the store's views."""
    json: str
    """The column {0} with JSON, read only together with its event."""
    is_null: str
    """Whether the JSON {0} has the field {1}, without a value: the log has it as (null)."""
    second: str
    """The second value of the field {1} in the JSON {0}; NULL if it is not repeated."""
    ends: str
    """Whether {0} ends with the {1} characters {2}."""
    true: str
    false: str
    no_range: str
    """The column {0}, in whose order nothing is to be read."""
    seldom: str
    """The condition {0}, of which the planner is told that few rows fulfil it."""
    mostly: str
    """The condition {0}, of which the planner is told that most rows fulfil it."""
    own_tables: bool
    """Whether tables of a search's own are asked for what PostgreSQL plans badly of views."""
    numbered: str
    """The condition {0} on a call's name, which is that of the number {1}.

    By the number PostgreSQL asks an index or a column of the calls, before it looks for names.
    """

    def has(self, column: str, text: str, *, whole: bool) -> str:
        """Give the condition that a column has a text in it, or is that text."""
        if whole:
            return f"{column} = {literal(text)}"
        return f"{self.position.format(column, literal(text))} > 0"

    def value(self, name: str, fields: str = "fields") -> str:
        """Give the expression of a field's first value."""
        return words.field(self.store, self.json.format(fields), name)

    def has_no_value(self, name: str, fields: str = "fields") -> str:
        """Give the condition that a record has a field as (null)."""
        return self.is_null.format(self.json.format(fields), name)

    def own_value(self, name: str) -> str:
        """Give the expression of a field that libaudit writes last (`words.own_field`)."""
        return words.last_field(self.store, self.json.format("fields"), name)

    def last_value(self, name: str) -> str:
        """Give the expression of the second value of a field that is repeated, else the first."""
        second = self.second.format(self.json.format("fields"), name)
        return f"coalesce({second}, {self.value(name)})"


SQLITE: Final = Dialect(
    position="instr({0}, {1})",
    store=views.SQLITE,
    json="{0}",
    # In lower case: DuckDB, which asks an archive in these words, has NULL.
    is_null="lower(json_type({0}, '$.\"{1}\"')) = 'null'",
    second="json_extract({0}, '$.\"{1}\"[1]')",
    ends="substr({0}, -{1}) = {2}",
    true="1",
    false="0",
    no_range="+{0}",
    seldom="likelihood({0}, 0.001)",
    mostly="likelihood({0}, 0.95)",
    own_tables=False,
    numbered="{0}",
)
POSTGRESQL: Final = Dialect(
    position="strpos({0}, {1})",
    store=views.POSTGRESQL,
    # The column is looked up by a join. With its event's id beside it in the expression it is
    # not read before: of all texts, as the planner may do otherwise, some are no JSON.
    json="(CASE WHEN event_id >= 0 THEN {0} END)",
    is_null="jsonb_typeof({0} -> '{1}') = 'null'",
    second="({0} -> '{1}' ->> 1)",
    ends="right({0}, {1}) = {2}",
    true="true",
    false="false",
    no_range="{0}",
    seldom="{0}",
    mostly="{0}",
    own_tables=True,
    numbered="({0} AND nr = {1:d})",
)


def dialect_of(url: str) -> Dialect:
    """Give the dialect of a store's URL."""
    return SQLITE if parse_url(url).get_backend_name() == "sqlite" else POSTGRESQL
