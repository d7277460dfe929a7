"""SQL of the records that have no table of their own, as rows of the view `records`.

    bare_records (event_id, type, fields) AS (...)

That view also has what is left of the records that have one (SYSCALL, PATH, SOCKADDR), in parts of
a union. Where others are wanted these have no row, but PostgreSQL plans them each time, and reads
all texts for them before it sees that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from auditsvc.search.dialect import Dialect

VIEW: Final = "bare_records"


def table(dialect: Dialect) -> str:
    """Give the table of a WITH."""
    fields = dialect.store.json.format("fields.value", "r.event")
    return f"""{VIEW} (event_id, type, fields) AS NOT MATERIALIZED (
    SELECT r.event, type.name, {fields} FROM record r
    JOIN record_type type ON type.type = r.type LEFT JOIN text fields ON fields.id = r.fields
)"""  # noqa: S608 - names of ours
