"""Makes a query that joins by `event_id` join events of one store only.

Ids are unique in a store, and those of two can be equal: the key is (host, store, event_id). In a
query written for one host, `event_id` alone stands where the key is meant. So

    a JOIN b USING (event_id)                  gets host and store beside it
    a.event_id = b.event_id                    gets a.host = b.host AND a.store = b.store
    a.event_id IN (SELECT event_id FROM b)     compares the three
    GROUP BY event_id, PARTITION BY event_id   gets the other two
    count(DISTINCT event_id)                   counts the three

and the same with other ids of events and processes (`IDS`). Where it is not certain what is meant,
the query is refused. Nothing is changed where `host` stands beside it already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlglot import exp

from auditsvc.errors import QueryError
from auditsvc.store.read.time_scope import Scopes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from auditsvc.store.read.time_scope import Origin, Select, Source

IDS: Final = (
    *("event_id", "user_login_event_id", "end_event_id", "evidence_event_id", "process_id"),
)
"""Columns that say nothing without host and store."""
_WITH: Final = ("host", "store")


def keyed(root: exp.Expr, views: Mapping[str, Sequence[str]]) -> exp.Expr:
    """Change a parsed query in place; QueryError where it is not certain what it means."""
    for select in Scopes(root, views).selects:
        _using(select)
        for part in list(_own(select.node)):
            if isinstance(part, exp.EQ):
                _equal(select, part)
            elif isinstance(part, exp.In) and part.args.get("query"):
                _within(select, part)
            elif isinstance(part, exp.Group):
                part.set("expressions", _grown(select, part.expressions))
            elif isinstance(part, exp.Window):
                part.set("partition_by", _grown(select, part.args.get("partition_by") or []))
            elif isinstance(part, exp.Count) and isinstance(part.this, exp.Distinct):
                counted = _grown(select, part.this.expressions)
                if len(counted) > 1:
                    part.this.set("expressions", [exp.Tuple(expressions=counted)])
    return root


def _own(node: exp.Expr) -> Iterator[exp.Expr]:
    """Give what stands in a select, without what stands in queries within it."""
    for each in node.iter_expressions():
        if not isinstance(each, exp.Select | exp.SetOperation):
            yield each
            yield from _own(each)


def _refused(name: str, why: str) -> QueryError:
    return QueryError(
        f"{name} alone does not say which host's event is meant: {why}",
        "compare host and store too: USING (host, store, event_id)",
    )


def _has_key(source: Source) -> bool:
    return source.columns is not None and all(name in source.columns for name in _WITH)


def _using(select: Select) -> None:
    for join in select.node.args.get("joins") or ():
        using = join.args.get("using") or []
        names = [each.name.lower() for each in using]
        found = [name for name in names if name in IDS]
        if not found or "host" in names:
            continue
        own = select.joined.get(id(join))
        before = select.sources[: select.sources.index(own)] if own in select.sources else []
        if own is None or not _has_key(own) or not any(map(_has_key, before)):
            raise _refused(found[0], "what is joined has no host and store")
        join.set("using", [*(exp.to_identifier(name) for name in _WITH), *using])


def _column(select: Select, node: exp.Expr | None) -> Origin | None:
    """Give the source of an id; None if the expression is none."""
    if not isinstance(node, exp.Column) or node.name.lower() not in IDS:
        return None
    origin = select.resolve(node)
    if origin is None:
        joins = select.node.args.get("joins") or ()
        if any(join.args.get("using") for join in joins) and not node.table:
            return select.resolve(exp.column(node.name, table=select.sources[0].name))
        raise _refused(node.name, "write it with the name of its view")
    return origin


def _of(origin: Origin, name: str) -> exp.Column:
    if not _has_key(origin.source):
        raise _refused(origin.column, f"{origin.source.name or 'a query'} has no host and store")
    return exp.column(name, table=origin.source.name)


def _equal(select: Select, node: exp.EQ) -> None:
    first, second = _column(select, node.left), _column(select, node.right)
    if first is None or second is None or first.source is second.source:
        return
    beside = node.parent
    while isinstance(beside, exp.And | exp.Paren):
        around, beside = beside, beside.parent
        if _says_host(around):
            return
    parts = [node.copy(), *(exp.EQ(this=_of(first, n), expression=_of(second, n)) for n in _WITH)]
    node.replace(exp.paren(exp.and_(*parts)))


def _says_host(node: exp.Expr) -> bool:
    """Whether hosts are compared in a conjunction."""
    return any(
        isinstance(each, exp.EQ)
        and isinstance(each.left, exp.Column)
        and isinstance(each.right, exp.Column)
        and each.left.name.lower() == each.right.name.lower() == "host"
        for each in node.flatten()
    )


def _within(select: Select, node: exp.In) -> None:
    outer = _column(select, node.this)
    if outer is None:
        return
    query = node.args["query"]
    inner = query.this if isinstance(query, exp.Subquery) else query
    shown = inner.expressions[0] if isinstance(inner, exp.Select) and inner.expressions else None
    column = shown.this if isinstance(shown, exp.Alias) else shown
    if not isinstance(column, exp.Column) or column.name.lower() not in IDS:
        raise _refused(outer.column, "the query after IN gives no id of a view")
    if len(inner.expressions) != 1:
        return
    node.set("this", exp.Tuple(expressions=[*(_of(outer, n) for n in _WITH), node.this.copy()]))
    inner.set(
        "expressions",
        [*(exp.column(name, table=column.table or None) for name in _WITH), shown],
    )


def _grown(select: Select, listed: list[exp.Expr]) -> list[exp.Expr]:
    """Give a list of expressions with host and store, if an id is in it and they are not."""
    names = [each.name.lower() for each in listed if isinstance(each, exp.Column)]
    if any(name in names for name in _WITH):
        return listed
    for each in listed:
        if isinstance(each, exp.Column) and each.name.lower() in IDS:
            table = each.table or None
            origin = select.resolve(each)
            if origin is not None and not _has_key(origin.source):
                return listed
            return [*listed, *(exp.column(name, table=table) for name in _WITH)]
    return listed
