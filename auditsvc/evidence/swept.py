"""Which dimension rows that are gone are still used: the others went with the days that used them.

When retention deletes days it also removes the texts, contexts, files and addresses that nothing
refers to any more (`auditsvc.store.write.unused`). The lines of those days may still be in the
spool, and give these rows again; that they are gone is no finding then.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from auditsvc.store.write.unused import KINDS, references

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

__all__ = ["KINDS", "still_used"]


def still_used(connection: Connection, table: str, ids: Collection[int]) -> set[int]:
    """Give those of a table's ids that a row refers to, and of which there is no row.

    Both in one statement: a row that came again meanwhile is there. All rows that refer to texts
    are read: no index leads to them.
    """
    found: set[int] = set()
    if not ids:
        return found
    is_postgres = connection.dialect.name == "postgresql"
    among = "= ANY(%s)" if is_postgres else "IN (SELECT value FROM json_each(?))"
    wanted = list(ids) if is_postgres else json.dumps(list(ids))
    for user, column in references(table):
        statement = (
            f'SELECT DISTINCT r."{column}" FROM {user} r WHERE r."{column}" {among}'  # noqa: S608 - names of the schema
            f' AND NOT EXISTS (SELECT 1 FROM {table} t WHERE t.id = r."{column}")'
        )
        found |= {int(row[0]) for row in connection.exec_driver_sql(statement, (wanted,))}
    return found
