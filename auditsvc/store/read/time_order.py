"""The first rows by time, on SQLite, without a look at all others.

    SELECT ... FROM syscalls WHERE success = 0 ORDER BY time DESC LIMIT 20

Ids are in the order of seconds, not of milliseconds. So if the rows of the last seconds are at
least as many as the query asks for, all rows that it gives are among them, and the view can be
bounded to those seconds; the query still sorts them by time. How many seconds that are is found
out by counting, in steps and up to a limit: where the condition is so rare that the limit is
not enough, the query is left to the planner, which then has an index for it or has to read
everything anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlglot import TokenType, exp

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.store.read.time_span import ALL, END, Span

if TYPE_CHECKING:
    from auditsvc.store.read.time_query import Statement, Store
    from auditsvc.store.read.time_scope import Origin, Select

_STEPS: Final = (2_000, 20_000, 100_000)
"""Events, from the end that is asked for, among which the rows are searched."""
_ROWS: Final = 10_000_000
"""Rows that SQLite takes a table of events to have (`auditsvc.store.sqlite`)."""
_TABLES: Final = dict.fromkeys(("syscalls", "files", "connections"), "syscall")
"""The table with the events of a view, but for few: `event` for all others."""
_ONE_FOR_ONE: Final = {"syscalls", "events"}
"""Views with just the rows of their tables."""
_CHANGING: Final = ("now", "random", "current_")
"""Parts of what may not be the same when it is computed again."""


def put_first_rows(statement: Statement, store: Store) -> None:
    """Bound the views whose first rows by time are asked for."""
    for select in statement.scopes.selects:
        if select.parent is None:
            _put(statement, select, store)


def _put(statement: Statement, select: Select, store: Store) -> None:
    rows = _rows(select)
    order = select.node.args.get("order")
    if not rows or order is None or not select.passes_rows or select.node.args.get("distinct"):
        return
    first = order.expressions[0]
    origin = _ordered(select, first.this)
    view = _view(origin)
    if origin is None or view is None or origin.source not in select.sources:
        return
    region = _region(statement, select, first)
    if region is None:
        return
    last = bool(first.args.get("desc"))
    table = _TABLES.get(view.name.lower(), "event")
    within = statement.spans.get(id(view), ALL).both(statement.period)
    plain = origin.source.table is view and _has_no_condition(select)
    exact = plain and view.name.lower() in _ONE_FOR_ONE
    for step in (rows,) if exact else _STEPS:
        if rows > step:
            continue
        second = _second(store, table, within, step, last=last)
        if second is None:
            return  # fewer events than the step: nothing to leave out
        span = Span(second, END) if last else Span(0, second)
        before = statement.spans.copy(), statement.shares.copy()
        statement.narrow(origin, span, step / _ROWS)
        if exact or _count(statement, region, select, rows, store) >= rows:
            return
        statement.spans, statement.shares = before


def _rows(select: Select) -> int:
    """Give how many rows from the first are asked for; 0 if that is not known, or all are."""
    total = 0
    for part in ("limit", "offset"):
        given = select.node.args.get(part)
        if given is None:
            continue
        number = given.expression
        if not isinstance(number, exp.Literal) or not number.name.isdecimal():
            return 0
        total += int(number.name)
    return total if select.node.args.get("limit") and total <= _STEPS[-1] else 0


def _ordered(select: Select, term: exp.Expr) -> Origin | None:
    """Give the column that a term of ORDER BY is, as SQLite reads it: an alias is first."""
    outputs = select.outputs()
    if isinstance(term, exp.Literal) and not term.is_string and term.name.isdecimal():
        at = int(term.name) - 1
        return outputs[at][1] if outputs and 0 <= at < len(outputs) else None
    if not isinstance(term, exp.Column):
        return None
    named = [each for each in select.node.expressions if each.alias.lower() == term.name.lower()]
    if named and not term.table:
        inner = named[0].this
        return select.resolve(inner) if isinstance(inner, exp.Column) else None
    return select.resolve(term)


def _view(origin: Origin | None) -> exp.Table | None:
    """Give the view whose time (or id) it is, if each of its rows comes with one at most."""
    while origin is not None and not origin.source.nullable:
        source = origin.source
        if source.table is not None:
            return source.table if origin.column in ("time", "event_id") else None
        inner = source.origins(origin.column)
        if not source.whole or len(inner) != 1:
            return None
        select, origin = inner[0]
        if not select.passes_rows or select.is_cut:
            return None
    return None


def _has_no_condition(select: Select) -> bool:
    return not select.node.args.get("where") and not select.node.args.get("joins")


def _region(statement: Statement, select: Select, first: exp.Expr) -> tuple[int, int] | None:
    """Give where the text from FROM to ORDER BY is; None if it could not be counted alone."""
    if not select.alone or select.node.args.get("windows"):
        return None
    term = next((each for each in first.walk() if "start" in each.meta), None)
    if term is None:
        return None
    at = max(
        (n for n, token in enumerate(statement.tokens) if token.start < term.meta["start"]
         and token.token_type is TokenType.ORDER_BY),
        default=0,
    )  # fmt: skip
    end, depth = statement.tokens[at].start, 0
    while at > 0:
        at -= 1
        token = statement.tokens[at]
        depth += {TokenType.R_PAREN: 1, TokenType.L_PAREN: -1}.get(token.token_type, 0)
        before = statement.tokens[at - 1].token_type if at else None
        if token.token_type is TokenType.FROM and not depth and before is not TokenType.DISTINCT:
            return token.start, end
        if depth < 0:
            return None
    return None


def _second(store: Store, table: str, within: Span, step: int, *, last: bool) -> int | None:
    """Give the second of the event that is `step` events from the end that is asked for."""
    low, high = within.low << SERIAL_BITS, (within.high << SERIAL_BITS) | SERIAL_MASK
    sql = (
        f"SELECT id FROM {table} WHERE id BETWEEN {low} AND {high}"  # noqa: S608 - numbers alone
        f" ORDER BY id {'DESC' if last else 'ASC'} LIMIT 1 OFFSET {step - 1}"
    )
    found = store.ask(sql)
    return found >> SERIAL_BITS if isinstance(found, int) else None


def _count(
    statement: Statement, region: tuple[int, int], select: Select, rows: int, store: Store
) -> int:
    """Count the rows of a select, up to `rows`; 0 if they might be others later."""
    text = statement.written(*region)
    given = select.node.args.get("with_")
    if given is not None:
        text = f"{statement.written(0, _main_select(statement))} SELECT 1 {text}"
    else:
        text = f"SELECT 1 {text}"
    if any(word in text.lower() for word in _CHANGING):
        return 0
    return store.count(f"SELECT count(*) FROM ({text} LIMIT {rows})")  # noqa: S608 - the user's own SQL


def _main_select(statement: Statement) -> int:
    """Give where the main SELECT begins, after WITH."""
    depth = 0
    for token in statement.tokens:
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        if token.token_type is TokenType.SELECT and not depth:
            return token.start
    return 0
