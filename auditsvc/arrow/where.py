"""A condition of a question to a store, with its values beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, CursorResult

_NAMED: Final = re.compile(r"(?<![:\w]):([a-z]\w*)")


@dataclass(frozen=True, slots=True)
class Where:
    """A condition; `:name` in it stands for the number or text that `values` has of that name.

    Of the texts with names SQLite plans each but once for a connection: to plan a question of the
    views takes it milliseconds.
    """

    text: str
    values: Mapping[str, int | str] = field(default_factory=dict)

    def also(self, text: str) -> Where:
        """Give the condition that another holds, too."""
        return Where(f"({self.text}) AND {text}", self.values)

    def on(self, column: str) -> str:
        """Give the text of a condition on `v.event_id` for another column."""
        return f"({self.text.replace('v.event_id', column)})"

    def given(self, **values: int | str) -> Where:
        """Give the condition with more values."""
        return Where(self.text, {**self.values, **values})

    def run(self, connection: Connection, sql: str) -> CursorResult[Any]:
        """Run a statement that has this condition's text in it."""
        if connection.dialect.name == "sqlite":
            return connection.exec_driver_sql(sql, dict(self.values))
        return connection.exec_driver_sql(
            _NAMED.sub(lambda found: f"{self.values[found[1]]:d}", sql) if self.values else sql
        )
