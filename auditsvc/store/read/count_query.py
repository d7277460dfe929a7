"""Answers a query that only counts calls from the view `activity`, where they are counted.

    SELECT exe, count(*) FROM syscalls WHERE success = 0 GROUP BY exe
    SELECT exe, CAST(coalesce(sum(calls), 0) AS bigint) AS "count(*)" FROM activity AS syscalls
    WHERE success = 0 GROUP BY exe

In: a parsed query (`time_query.Statement`). Out: edits of its text, with the same answer:
`activity` equals the count of `syscalls` at any moment. A select is changed only if it reads
`syscalls` alone, uses only columns that `activity` has too, and gives no row for each call;
and only if all that it is made of is known here. Any other stays as it is written.

A query that gives only the number of all calls, or of all events, is answered from the sums that
`activity` is made of: to add them up takes a hundredth of the time that the view does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlglot import exp

from auditsvc.store.read.time_query import parse, place, split
from auditsvc.store.read.time_span import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from auditsvc.store.read.time_query import Statement

CALLS: Final = "syscalls"
_COUNTED: Final = "activity"
SHARED: Final = frozenset(("host", "exe", "comm", "auid", "uid", "key", "syscall", "success"))
"""Columns that both views have, with the same values."""
_SUM: Final = "CAST(coalesce(sum(calls), 0) AS bigint)"
_ALL_CALLS: Final = (
    "(SELECT CAST(coalesce(sum(calls), 0) AS bigint) FROM"
    " (SELECT calls FROM context_row UNION ALL SELECT calls FROM activity_part) counted)"
)
_ALL_EVENTS: Final = f"({_ALL_CALLS} + (SELECT count(*) FROM events))"  # noqa: S608 - ours
_NUMBERS: Final = {CALLS: _ALL_CALLS, "story": _ALL_EVENTS, "all_events": _ALL_EVENTS}
"""The number of all rows of a view."""
_KNOWN: Final = (
    *(exp.Select, exp.From, exp.Table, exp.TableAlias, exp.Identifier, exp.Column, exp.Alias),
    *(exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset),
    *(exp.Count, exp.Min, exp.Max, exp.Star, exp.Distinct),
    *(exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE),
    *(exp.Is, exp.Null, exp.In, exp.Between, exp.Like, exp.Glob, exp.Literal, exp.Boolean),
    *(exp.Neg, exp.Lower, exp.Upper, exp.Coalesce),
)


def put_counts(statement: Statement) -> None:
    """Have each select that only counts calls read the counts."""
    views = statement.scopes.views
    # A store that an older program made, and that was never brought up, has no counts.
    if statement.period != ALL or _COUNTED not in views:
        return
    for select in statement.root.find_all(exp.Select):
        if (table := _whole(statement, select)) is not None:
            _edit(statement, select, table, _NUMBERS[table.name.lower()], "(SELECT 1)")
        elif (table := _calls(statement, select)) is not None and _only_counts(
            select, table, views
        ):
            _edit(statement, select, table)


def _whole(statement: Statement, select: exp.Select) -> exp.Table | None:
    """Give the view whose rows are counted, all of them, and nothing else asked for."""
    given = {name for name, value in select.args.items() if value}
    table = select.args["from_"].this if given == {"expressions", "from_"} else None
    if not isinstance(table, exp.Table) or table.name.lower() not in _NUMBERS:
        return None
    if table.args.get("db") or table.args.get("joins") or not statement.is_view(table):
        return None
    if statement.root.find(exp.CTE) is not None:  # its name may be that of a view
        return None
    counts = [each.unalias() for each in select.expressions]
    is_all = all(isinstance(each, exp.Count) and _is_all(each) for each in counts)
    return table if is_all else None


def counted(sql: str, dialect: str, views: Mapping[str, Sequence[str]]) -> str:
    """Give a query with what only counts calls changed; as it is if it is not parsed."""
    head, body = split(sql)
    try:
        statement = parse(body, dialect, views)
        if statement is None:
            return sql
        put_counts(statement)
        return head + statement.written()
    except RecursionError:
        return sql


def _calls(statement: Statement, select: exp.Select) -> exp.Table | None:
    """Give what a select reads, if that is `syscalls` alone."""
    source = select.args.get("from_")
    table = source.this if source is not None else None
    if not isinstance(table, exp.Table) or table.name.lower() != CALLS or table.args.get("db"):
        return None
    if statement.hides(table, _COUNTED):
        return None
    return table if statement.is_view(table) else None


def _only_counts(select: exp.Select, table: exp.Table, views: Mapping[str, Sequence[str]]) -> bool:
    known = views[CALLS]
    parts = list(select.walk(prune=lambda node: node is not select and isinstance(node, exp.Query)))
    if not all(type(part) in _KNOWN for part in parts) or select.args.get("kind"):
        return False
    if any(part is not select and isinstance(part, exp.Query) for part in parts):
        return False
    counts = [part for part in parts if isinstance(part, exp.Count)]
    if not all(_is_all(count) or isinstance(count.this, exp.Distinct) for count in counts):
        return False
    if any(isinstance(part, exp.Star) and not isinstance(part.parent, exp.Count) for part in parts):
        return False
    if any(isinstance(part, exp.Distinct) and part.args.get("on") for part in parts):
        return False
    aliases = {alias.alias.lower() for alias in select.expressions if alias.alias}
    same = {
        _name(each.this) for each in select.expressions if each.alias.lower() == _name(each.this)
    }
    # A name that is both could be either of them.
    if aliases & set(known) - same:
        return False
    columns = [part for part in parts if isinstance(part, exp.Column)]
    if not all(_is_known(column, table, aliases) for column in columns):
        return False
    # What `activity` has more would be read for an alias, but where a row is ordered by it alone.
    more = aliases & (set(views[_COUNTED]) - set(known))
    if any(_name(each) in more and not isinstance(each.parent, exp.Ordered) for each in columns):
        return False
    return _gives_groups(select, aliases)


def _is_known(column: exp.Column, table: exp.Table, aliases: set[str]) -> bool:
    name, of = column.name.lower(), column.table.lower()
    if of:
        return name in SHARED and of == table.alias_or_name.lower()
    return name in SHARED or (name in aliases and _may_be_alias(column))


def _may_be_alias(column: exp.Column) -> bool:
    """Whether a name can be that of a column that the select gives."""
    if column.find_ancestor(exp.Count, exp.Min, exp.Max) is not None:
        return False
    return column.find_ancestor(exp.Group, exp.Order, exp.Having) is not None


def _gives_groups(select: exp.Select, aliases: set[str]) -> bool:
    """Whether the rows are groups of calls, or the sum of all, in any database."""
    outside = {name for name in _outside(select.expressions) if name not in aliases}
    group = select.args.get("group")
    if group is None:
        is_sum = select.find(exp.Count, exp.Min, exp.Max) is not None
        others = _outside([select.args.get("having"), select.args.get("order")])
        if is_sum:
            return not outside and not set(others)
        return select.args.get("distinct") is not None
    keys = set()
    for key in group.expressions:
        found = key
        if isinstance(key, exp.Literal) and not key.is_string:
            at = int(key.this) - 1
            if not 0 <= at < len(select.expressions):
                return False
            found = select.expressions[at]
        elif isinstance(key, exp.Column) and _name(key) in aliases:
            found = next(each for each in select.expressions if each.alias.lower() == _name(key))
        found = found.unalias()
        if not isinstance(found, exp.Column):
            return False
        keys.add(_name(found))
    rest = set(_outside([select.args.get("having"), select.args.get("order")]))
    return outside <= keys and rest <= keys | aliases


def _outside(parts: list[exp.Expr | None]) -> Iterator[str]:
    """Give the names of the columns that no aggregate stands around."""
    for part in parts:
        for column in part.find_all(exp.Column) if part is not None else ():
            if column.find_ancestor(exp.Count, exp.Min, exp.Max) is None:
                yield _name(column)


def _name(node: exp.Expr | None) -> str:
    return node.name.lower() if isinstance(node, exp.Column) else ""


def _is_all(count: exp.Count) -> bool:
    """Whether all rows are counted."""
    return isinstance(count.this, exp.Star) or (
        isinstance(count.this, exp.Literal) and not count.args.get("expressions")
    )


def _edit(
    statement: Statement,
    select: exp.Select,
    table: exp.Table,
    number: str = _SUM,
    source: str = _COUNTED,
) -> None:
    """Write `number` for what counts all, and `source` for the view."""
    start, end = place(table.this)
    counts = [count for count in select.find_all(exp.Count) if _is_all(count)]
    if start < 0 or any(place(count)[0] < 0 for count in counts):
        return
    before = dict(statement.edits)
    for count in counts:
        text = number
        if count.parent is select and count.arg_key == "expressions":
            text = f'{number} AS "{_shown(statement, count)}"'
        if not statement.replace(count, text):
            statement.edits = before
            return
    alias = "" if table.args.get("alias") else f" AS {statement.text[start : end + 1]}"
    statement.edits[start, end + 1] = f"{source}{alias}"


def _shown(statement: Statement, count: exp.Count) -> str:
    """Give the name that the database would give the column."""
    if statement.dialect != "sqlite":
        return "count"
    start, end = place(count)
    return statement.text[start : statement.call_end(end) + 1].replace('"', '""')
