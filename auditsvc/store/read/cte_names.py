"""Which names of a parsed query are those of its CTEs, and not of a view or table.

A name means the CTE of the nearest WITH around that has it where the name stands:

* PostgreSQL: in the query that the WITH belongs to, and in the CTEs after it in the list; with
  RECURSIVE in all of the list (https://www.postgresql.org/docs/current/sql-select.html).
* SQLite: in all of the list; in its own body only if that is a compound, which may recurse with
  and without the word. Any other that names itself is refused (https://sqlite.org/lang_with.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlglot import exp

if TYPE_CHECKING:
    from collections.abc import Sequence

_SQLITE: Final = "sqlite"


def table_name(table: exp.Table, dialect: str) -> str:
    """Give the name that a table is looked up by: in small letters where letters are alike."""
    return _folded(table.this, dialect)


def is_cte(node: exp.Expr, name: str, dialect: str, *, refused: bool = False) -> bool:
    """Whether a name would be that of a CTE if it stood where a node of the query does.

    `refused`: or would be refused there, as that of the CTE in whose body it is.
    """
    path, around = {id(node)}, node.parent
    while around is not None:
        given = around.args.get("with_")
        if given is not None and _has(given, name, dialect, path, refused=refused):
            return True
        path.add(id(around))
        around = around.parent
    return False


def _has(given: exp.With, name: str, dialect: str, path: set[int], *, refused: bool) -> bool:
    """Whether a WITH has a CTE of that name; `path`: what the place of the name stands in."""
    ctes: Sequence[exp.CTE] = given.expressions
    own = next((at for at, cte in enumerate(ctes) if id(cte) in path), len(ctes))
    is_recursive = bool(given.args.get("recursive"))
    for at, cte in enumerate(ctes):
        if _folded(cte.args["alias"].this, dialect) != name:
            continue
        if at == own:
            is_compound = isinstance(cte.this, exp.SetOperation)
            if is_recursive or (dialect == _SQLITE and (is_compound or refused)):
                return True
        elif at < own or is_recursive or dialect == _SQLITE:
            return True
    return False


def _folded(identifier: exp.Expr, dialect: str) -> str:
    """Give a name as it is compared: PostgreSQL keeps the letters of one in quotes."""
    if dialect != _SQLITE and identifier.args.get("quoted"):
        return identifier.name
    return identifier.name.lower()
