"""The first rows by time, without a look at all others.

    SELECT ... FROM syscalls WHERE success = 0 ORDER BY time DESC LIMIT 20

Ids are in the order of seconds, not of milliseconds. So if the rows of the last seconds are at
least as many as the query asks for, all rows that it gives are among them, and the view can be
bounded to those seconds; the query still sorts them by time. How many seconds that are is found
out by counting, in steps and up to a limit. Where that is not enough, the query is left to the
planner, which then has an index for its condition, or has to read everything anyway.

A query without a condition of its own is bounded to the time of its last row, which is asked for
alone: views make all columns of a row before they sort, and some cost a millisecond. If the rows
are rare, so that no step has enough of them, it is asked for among all. Where `changes` has rows at
all, the counts of calls by hour tell: the steps begin there.

On PostgreSQL a query that calls functions is left as it is: one may give several rows, or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlglot import TokenType, exp

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.store.read.time_span import ALL, END, Span
from auditsvc.store.views.changes import ends_of_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.store.read.time_query import Statement, Store
    from auditsvc.store.read.time_scope import Origin, Select

_STEPS: Final = (200, 2_000, 20_000, 100_000)
"""Events, from the end that is asked for, among which the rows are searched."""
_ROWS: Final = 10_000_000
"""Rows that SQLite takes a table of events to have (`auditsvc.store.sqlite`)."""
_TABLES: Final = dict.fromkeys(
    ("syscalls", "files", "connections", "story", "all_events", "commands"), "syscall"
)
"""The table with the events of a view, but for few: `event` for all others."""
_FOUND_DEARLY: Final = {"logins"}
"""Views whose rows cost more to find than to make: they are not asked for among all before."""
_RARE: Final = "changes"
_ONE_FOR_ONE: Final = {"syscalls", "events"}
"""Views with just the rows of their tables."""
_CHANGING: Final = ("now", "random", "current_", "clock_", "timeofday", "nextval", "uuid")
"""Parts of what may not be the same when it is computed again."""
_PLAIN: Final = (exp.Column, exp.Identifier, exp.Star, exp.Alias, exp.Literal, exp.Paren)
"""What PostgreSQL computes to one value a row."""


@dataclass(frozen=True, slots=True)
class _Ordered:
    """A select whose first rows by time are asked for."""

    statement: Statement
    select: Select
    store: Store
    origin: Origin
    """The column that is ordered by."""
    view: exp.Table
    region: tuple[int, int]
    """Where its text from FROM to ORDER BY is."""
    rows: int
    last: bool

    @property
    def is_bare(self) -> bool:
        """Whether it reads the view itself, without a condition."""
        node = self.select.node
        is_direct = self.origin.source.table is self.view
        return is_direct and not node.args.get("where") and not node.args.get("joins")

    def bound(self) -> None:
        """Bound the view, if enough rows are found near the end that is asked for."""
        statement, name = self.statement, self.view.name.lower()
        within = statement.spans.get(id(self.view), ALL).both(statement.period)
        first = _STEPS[: len(_STEPS) // 2] if name == _RARE else _STEPS
        if self._step(name, within, first) is not False:
            return
        if (
            name == _RARE
            and (hull := self._hull(within)) is not None
            and self._step(name, hull, _STEPS)
        ):
            return
        if self.is_bare and name not in _FOUND_DEARLY:
            self._cut()

    def _step(self, name: str, within: Span, steps: Sequence[int]) -> bool | None:
        """Bound it to the end of a time, if that has enough rows.

        None if that has fewer events than the step: then there is nothing to leave out.
        """
        statement = self.statement
        table = _TABLES.get(name, "event")
        exact = self.is_bare and name in _ONE_FOR_ONE
        for step in (self.rows,) if exact else steps:
            if self.rows > step:
                continue
            second = _second(self.store, table, within, step, last=self.last)
            if second is None:
                return None
            before = statement.spans.copy(), statement.shares.copy()
            statement.narrow(self.origin, self._from(second).both(within), step / _ROWS)
            if exact or (self._cut() if self.is_bare else self._count() >= self.rows):
                return True
            statement.spans, statement.shares = before
        return False

    def _hull(self, within: Span) -> Span | None:
        """Give the time up to the last (or from the first) row that the view can have."""
        found = self.store.ask(ends_of_changes(last=self.last))
        if not isinstance(found, int):
            return None
        second = found >> SERIAL_BITS
        return within.both(Span(0, second) if self.last else Span(second, END))

    def _cut(self) -> bool:
        """Leave out what comes after the last row that is wanted; False if there are fewer."""
        text = self._again(f"{self.origin.source.name}.{self.origin.column} AS wanted")
        order, sign = ("DESC", ">=") if self.last else ("ASC", "<=")
        sql = (
            f"SELECT wanted FROM ({text}) made ORDER BY wanted {order}"  # noqa: S608 - the user's own SQL
            f" LIMIT 1 OFFSET {self.rows - 1}"
        )
        found = self.store.moment(sql) if text else None
        if found is None:
            return False
        span = self._from(found.second)
        self.statement.narrow(self.origin, span, cut=f"{sign} {found.literal}")
        return True

    def _count(self) -> int:
        """Count its rows, up to those that are asked for; 0 if they might be others later."""
        text = self._again("1")
        sql = f"SELECT count(*) FROM ({text} LIMIT {self.rows}) counted"  # noqa: S608 - as above
        return self.store.count(sql) if text else 0

    def _again(self, shown: str) -> str:
        """Give it with other columns, and without order; "" if it might be other rows later."""
        text = f"SELECT {shown} {self.statement.written(*self.region)}"
        if self.select.node.args.get("with_") is not None:
            before = self.statement.written(0, _main_select(self.statement))
            text = f"{before} {text}"
        return "" if any(word in text.lower() for word in _CHANGING) else text

    def _from(self, second: int) -> Span:
        return Span(second, END) if self.last else Span(0, second)


def put_first_rows(statement: Statement, store: Store) -> None:
    """Bound the views whose first rows by time are asked for."""
    for select in statement.scopes.selects:
        if select.parent is None and (found := _ordered_by(statement, select, store)):
            found.bound()


def _ordered_by(statement: Statement, select: Select, store: Store) -> _Ordered | None:
    """Give what a select is ordered by; None if that is not certain, or no time of a view."""
    rows = _rows(select)
    order = select.node.args.get("order")
    if not rows or order is None or not select.passes_rows or select.node.args.get("distinct"):
        return None
    is_strict = statement.dialect != "sqlite"
    if is_strict and not all(map(_is_plain, select.node.expressions)):
        return None
    first = order.expressions[0]
    origin = _ordered(select, first.this)
    view = _view(origin, is_strict=is_strict)
    if origin is None or view is None or origin.source not in select.sources:
        return None
    if is_strict and view.name.lower() in _ONE_FOR_ONE:
        return None  # PostgreSQL reads these in the order of the index on time
    region = _region(statement, select, first)
    if region is None:
        return None
    last = bool(first.args.get("desc"))
    return _Ordered(statement, select, store, origin, view, region, rows, last)


def _is_plain(shown: exp.Expr) -> bool:
    return all(isinstance(part, _PLAIN) for part in shown.walk())


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


def _view(origin: Origin | None, *, is_strict: bool) -> exp.Table | None:
    """Give the view whose time (or id) it is, if each of its rows comes with one at most.

    `is_strict`: a query in between may show plain columns only.
    """
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
        if is_strict and not all(map(_is_plain, select.node.expressions)):
            return None
    return None


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


def _main_select(statement: Statement) -> int:
    """Give where the main SELECT begins, after WITH."""
    depth = 0
    for token in statement.tokens:
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        if token.token_type is TokenType.SELECT and not depth:
            return token.start
    return 0
