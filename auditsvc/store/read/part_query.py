"""Has a query that sums up the rows of a view of several parts make only the columns that it names.

    SELECT what, count(*) FROM changes WHERE auid = 7 GROUP BY what
    SELECT what, count(*) FROM (SELECT what FROM changes WHERE auid = 7 LIMIT -1) AS changes
    GROUP BY what

SQLite only: it reads a union through, leaving out what nobody asks for, if the query above is a
plain one; below a sum it makes all columns of each row first, some of which cost ten times what
the row does. The limit, of nothing, keeps SQLite from joining both queries to one again. A select
is changed only if it reads one such view and all that it names is a column of that, or a name that
it gives itself; any other stays as it is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlglot import TokenType, exp

from auditsvc.store.read.parsed import OF_PARTS
from auditsvc.store.read.time_query import place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditsvc.store.read.time_query import Statement

_ENDS: Final = {
    *(TokenType.GROUP_BY, TokenType.HAVING, TokenType.ORDER_BY, TokenType.LIMIT),
    *(TokenType.UNION, TokenType.EXCEPT, TokenType.INTERSECT, TokenType.SEMICOLON),
}
"""What can follow the WHERE of a select without windows."""
_BESIDE: Final = ("joins", "laterals", "windows", "pivots", "sample", "qualify", "kind")


def put_columns(statement: Statement) -> None:
    """Have each select that sums up one such view name the columns that are to be made."""
    for select in statement.root.find_all(exp.Select):
        table = _view(statement, select)
        if table is None or not _sums(select):
            continue
        wanted = _wanted(select, table, statement.scopes.views[table.name.lower()])
        if wanted is not None:
            _edit(statement, table, wanted)


def _view(statement: Statement, select: exp.Select) -> exp.Table | None:
    """Give what a select reads, if that is one such view alone."""
    source = select.args.get("from_")
    table = source.this if source is not None else None
    if not isinstance(table, exp.Table) or table.args.get("db") or table.args.get("joins"):
        return None
    if table.name.lower() not in OF_PARTS or not statement.is_view(table):
        return None
    return None if any(select.args.get(name) for name in _BESIDE) else table


def _sums(select: exp.Select) -> bool:
    shown: list[exp.Expr] = [*select.expressions]
    shown += [each for name in ("having", "order") if (each := select.args.get(name))]
    is_sum = any(each.find(exp.AggFunc) for each in shown)
    return is_sum or bool(select.args.get("group") or select.args.get("distinct"))


def _wanted(select: exp.Select, table: exp.Table, known: Sequence[str]) -> list[str] | None:
    """Give the columns that the rest of a select names; None if that is not certain."""
    parts = list(select.walk())
    if any(part is not select and isinstance(part, exp.Query | exp.Window) for part in parts):
        return None
    if any(isinstance(part, exp.Star) and not isinstance(part.parent, exp.Count) for part in parts):
        return None
    if not all(_is_own(part, table) for part in parts if isinstance(part, exp.Column)):
        return None
    where = select.args.get("where")
    names = set(known)
    if where is not None and not set(_names(where)) <= names:
        return None
    aliases = {each.alias.lower() for each in select.expressions if each.alias}
    rest = {
        name
        for key, value in select.args.items()
        if key not in ("where", "from_")
        for each in (value if isinstance(value, list) else [value])
        if isinstance(each, exp.Expr)
        for name in _names(each)
    }
    if not rest <= names | aliases:
        return None
    return [name for name in known if name in rest]


def _is_own(column: exp.Column, table: exp.Table) -> bool:
    of = column.table.lower()
    return not column.args.get("db") and of in ("", table.alias_or_name.lower())


def _names(part: exp.Expr) -> Iterable[str]:
    return (column.name.lower() for column in part.find_all(exp.Column))


def _edit(statement: Statement, table: exp.Table, wanted: Sequence[str]) -> None:
    start = place(table.this)[0]
    end = _end(statement, start)
    if start < 0 or end < 0:
        return
    alias = '"' + table.alias_or_name.replace('"', '""') + '"'
    shown = ", ".join(f"{alias}.{name}" for name in wanted) or "1"
    statement.edits[start, start] = f"(SELECT {shown} FROM "  # noqa: S608 - names of ours
    statement.edits[end, end] = f" LIMIT -1) AS {alias}"


def _end(statement: Statement, start: int) -> int:
    """Give where the FROM and WHERE end that begin there."""
    depth, end = 0, -1
    for token in statement.tokens:
        if token.start < start:
            continue
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        if depth < 0 or (depth == 0 and token.token_type in _ENDS):
            break
        end = token.end + 1
    return end
