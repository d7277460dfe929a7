"""The tables that a query names, as sqlglot parses it."""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from auditsvc.store.read.time_query import split


def named_tables(sql: str, dialect: str) -> set[str] | None:
    """Give the names, in small letters, without those of CTEs; None if it is not parsed."""
    try:
        roots = sqlglot.parse(split(sql)[1], read=dialect)
        if len(roots) != 1 or not isinstance(roots[0], exp.Query):
            return set()  # it is no reading statement, and refused as such
        return {
            table.name.lower()
            for table in roots[0].find_all(exp.Table)
            if isinstance(table.this, exp.Identifier) and not _is_cte(table)
        }
    except (SqlglotError, ValueError, RecursionError):
        return None


def _is_cte(table: exp.Table) -> bool:
    """Whether the name is that of a CTE around; in its own body only if that is recursive."""
    if table.args.get("db"):
        return False
    inside, around = {id(table)}, table.parent
    while around is not None:
        given = around.args.get("with_")
        is_recursive = given is not None and bool(given.args.get("recursive"))
        for cte in given.expressions if given is not None else ():
            if cte.alias.lower() == table.name.lower():
                return id(cte) not in inside or is_recursive
        inside.add(id(around))
        around = around.parent
    return False
