"""The tables that a query names, as sqlglot parses it."""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from auditsvc.store.read.cte_names import is_cte, table_name
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
            if isinstance(table.this, exp.Identifier) and not _is_cte(table, dialect)
        }
    except (SqlglotError, ValueError, RecursionError):
        return None


def _is_cte(table: exp.Table, dialect: str) -> bool:
    return not table.args.get("db") and is_cte(table, table_name(table, dialect), dialect)
