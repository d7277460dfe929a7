"""Checks that a text of the user's is one SQL condition, and nothing that goes on behind it.

The condition is put into a statement that runs read-only; what it may not do is change the
other conditions of the search.
"""

from __future__ import annotations

from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from auditsvc.errors import UsageError
from auditsvc.store.databases import parse_url

_HINT: Final = "give one condition over the columns of `syscalls`: exe LIKE '/usr/bin/%'"


def check_condition(url: str, text: str) -> str:
    """Give the condition without space around it; UsageError if it is none."""
    condition = text.strip()
    dialect = "sqlite" if parse_url(url).get_backend_name() == "sqlite" else "postgres"
    try:
        roots = sqlglot.parse(f"SELECT 1 WHERE ({condition}\n)", read=dialect)
    except (SqlglotError, ValueError, RecursionError) as error:
        raise UsageError("--where is not an SQL condition", _HINT) from error
    (root,) = roots if len(roots) == 1 else (None,)
    if not isinstance(root, exp.Select) or not _is_where_alone(root):
        raise UsageError("--where holds more than one SQL condition", _HINT)
    return condition


def _is_where_alone(select: exp.Select) -> bool:
    where = select.args.get("where")
    given = {name for name, value in select.args.items() if value}
    return (
        where is not None
        and isinstance(where.this, exp.Paren)
        and given <= {"expressions", "where", "kind"}
    )
