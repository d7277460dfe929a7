"""What a condition says about time: the range of seconds in which it can hold.

In: a condition of a `Select`. Out: for each source with a `time`, the `Span` that the condition
implies: where it is true, the source's time is in the span. A source that is not named may have
any time. Comparisons with a text that only begins a time stay as they are; other forms of time
(`14:30`, `2026-11-28T14:30Z`) and what SQLite computes from 'now' are replaced in the query's
text. A comparison with what cannot be a time is a QueryError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlglot import exp

from auditsvc.errors import QueryError
from auditsvc.store.read.time_scope import Origin
from auditsvc.store.read.time_span import ALL, Span, first_second, last_second
from auditsvc.store.read.time_words import HINT, as_compared, begins_time, may_begin_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from auditsvc.store.read.time_scope import Select

Spans = dict[Origin, Span]

_OPERATORS: Final[dict[type[exp.Expr], str]] = {
    exp.GT: ">", exp.GTE: ">", exp.LT: "<", exp.LTE: "<",
    exp.EQ: "=", exp.NullSafeEQ: "=", exp.NEQ: "!", exp.NullSafeNEQ: "!",
}  # fmt: skip
_TURNED: Final = {">": "<", "<": ">", "=": "=", "!": "!"}
_LENGTHS: Final = {
    "%Y": 4, "%Y-%m": 7, "%Y-%m-%d": 10, "%Y-%m-%d %H": 13, "%Y-%m-%d %H:%M": 16,
    "%Y-%m-%d %H:%M:%S": 19,
}  # fmt: skip
"""Formats of strftime that give the beginning of a time, and the length of that."""
_OF_TIME: Final = {"date": 10, "datetime": 19}
_COMPUTED: Final = {"date", "datetime", "strftime", "time", "unixepoch", "julianday"}


class _Side(NamedTuple):
    """A view's time, or the first `length` characters of it; `slack` in seconds."""

    origin: Origin
    length: int
    slack: int


class Conditions:
    """Reads conditions.

    `ask` gives the value of an SQL expression; `replace` is told what to write for a part of
    the query: its first node, whether that is a call, and the text.
    """

    def __init__(
        self,
        now: datetime,
        ask: Callable[[str], object],
        replace: Callable[[exp.Expr, str], bool],
    ) -> None:
        self._now = now
        self._ask = ask
        self._replace = replace
        self._written: dict[int, str | None] = {}

    def spans(self, select: Select, condition: exp.Expr, *, negated: bool = False) -> Spans:
        """Give what it implies where it is true, or, if `negated`, where it is false."""
        if isinstance(condition, exp.Paren):
            return self.spans(select, condition.this, negated=negated)
        if isinstance(condition, exp.Not):
            return self.spans(select, condition.this, negated=not negated)
        if isinstance(condition, exp.And | exp.Or):
            left = self.spans(select, condition.left, negated=negated)
            right = self.spans(select, condition.right, negated=negated)
            return (
                _both(left, right)
                if isinstance(condition, exp.And) != negated
                else _either(left, right)
            )
        if type(condition) in _OPERATORS:
            operator = _OPERATORS[type(condition)]
            return self._compared(select, condition.this, operator, condition.expression, negated)
        if isinstance(condition, exp.Between):
            low, high = condition.args["low"], condition.args["high"]
            from_ = self._compared(select, condition.this, ">", low, negated)
            to = self._compared(select, condition.this, "<", high, negated)
            return _either(from_, to) if negated else _both(from_, to)
        if isinstance(condition, exp.In) and condition.expressions:
            found = [
                self._compared(select, condition.this, "=", each, negated)
                for each in condition.expressions
            ]
            spans = found[0]
            for each in found[1:]:
                spans = _either(spans, each)
            return {} if negated else spans
        if isinstance(condition, exp.Like | exp.Glob):
            return self._matched(select, condition, negated)
        return {}

    def _compared(
        self,
        select: Select,
        one: exp.Expr,
        operator: str,
        other: exp.Expr,
        negated: bool,
    ) -> Spans:
        """Read `one operator other`; > and < stand for >= and <= too."""
        side, value = _side(select, one), other
        if side is None:
            side, value, operator = _side(select, other), one, _TURNED[operator]
        if side is None:
            return {}
        text = self._value(select, side, value, strict=operator != "!")
        if text is None:
            return {}
        if negated:
            operator = {">": "<", "<": ">", "=": "!", "!": "="}[operator]
        low, high = 0, ALL.high
        if operator in ">=":
            low = first_second(text, side.length) - side.slack
        if operator in "<=":
            high = last_second(text, side.length) + side.slack
        return {side.origin: ALL.both(Span(low, high))} if operator != "!" else {}

    def _value(self, select: Select, side: _Side, node: exp.Expr, *, strict: bool) -> str | None:
        """Give the text that the time is compared with; None if it is no constant."""
        if id(node) not in self._written:
            self._written[id(node)] = self._read(select, side, node, strict=strict)
        return self._written[id(node)]

    def _read(self, select: Select, side: _Side, node: exp.Expr, *, strict: bool) -> str | None:
        number = node.this if isinstance(node, exp.Neg) else node
        if isinstance(number, exp.Literal) and not number.is_string:
            if strict and not side.length:
                raise QueryError(f"`time` is compared with the number {node.sql()}", HINT)
            return None
        text = _literal(select, node)
        if text is not None:
            if side.length or (not strict and begins_time(text)):
                return text
            if not strict:
                return None
            meant = as_compared(text, self._now)
            return meant if meant == text or self._replace(node, _quoted(meant)) else None
        sql = _computed(select, node)
        if sql is None:
            return None
        value = self._ask(f"SELECT {sql}")
        if strict and not side.length and not (isinstance(value, str) and begins_time(value)):
            shown = "NULL" if value is None else repr(value)
            raise QueryError(f"`time` is compared with {sql}, which is {shown} and no time", HINT)
        known = isinstance(value, str) and self._replace(node, _quoted(str(value)))
        return str(value) if known else None

    def _matched(self, select: Select, condition: exp.Like | exp.Glob, negated: bool) -> Spans:
        side = _side(select, condition.this)
        pattern = _literal(select, condition.expression)
        if side is None or pattern is None:
            return {}
        signs = "%_" if isinstance(condition, exp.Like) else "*?["
        end = min((pattern.find(sign) for sign in signs if sign in pattern), default=len(pattern))
        start = pattern[:end]
        if not side.length and not may_begin_time(start):
            raise QueryError(f"`time` is compared with {pattern!r}, which no time is like", HINT)
        if negated or condition.args.get("negate") or not start:
            return {}
        # What begins with `start` is not below it, nor above it and the last of characters.
        low = first_second(start, side.length) - side.slack
        high = last_second(f"{start}\U0010ffff", side.length) + side.slack
        return {side.origin: ALL.both(Span(low, high))}


def _side(select: Select, node: exp.Expr) -> _Side | None:
    """Give what time a node shows; None if it is none, or another function of one."""
    while isinstance(node, exp.Paren):
        node = node.this
    length, slack, column = _beginning(node)
    if not isinstance(column, exp.Column):
        return None
    origin = select.resolve(column, aliases=True)
    if origin is None or not origin.source.leads_to_time(origin.column):
        return None
    return _Side(origin, length, slack)


def _beginning(node: exp.Expr) -> tuple[int, int, exp.Expr | None]:
    """Give how much of which column a node shows, and the seconds by which SQLite might round."""
    if isinstance(node, exp.Substring):
        length = _number(node.args.get("length"))
        begins = _number(node.args.get("start")) == 1 and length
        return length, 0, node.this if begins else None
    if isinstance(node, exp.Date):
        return _OF_TIME["date"], 1, node.this if set(_given(node)) == {"this"} else None
    if isinstance(node, exp.Anonymous) and node.name.lower() in _OF_TIME:
        alone = len(node.expressions) == 1
        return _OF_TIME[node.name.lower()], 1, node.expressions[0] if alone else None
    if isinstance(node, exp.TimeToStr) and isinstance(node.this, exp.TsOrDsToTimestamp):
        length = _LENGTHS.get(node.args["format"].name, 0)
        return length, 1, node.this.this if length else None
    return 0, 0, node


def _literal(select: Select, node: exp.Expr | None) -> str | None:
    """Give a text; SQLite takes a name in double quotes that is no column as one."""
    if isinstance(node, exp.Literal) and node.is_string:
        return node.name
    if isinstance(node, exp.Column) and not node.table and node.this.args.get("quoted"):
        return node.name if select.has_no(node.name) else None
    return None


def _computed(select: Select, node: exp.Expr) -> str | None:
    """Write a call of one of SQLite's functions of date and time whose arguments are constant."""
    if isinstance(node, exp.Anonymous) and node.name.lower() in _COMPUTED:
        name, arguments = node.name, node.expressions
    elif isinstance(node, exp.Date) and set(_given(node)) <= {"this"}:
        name, arguments = "date", [node.this] if node.this else []
    elif isinstance(node, exp.TimeToStr) and isinstance(node.this, exp.TsOrDsToTimestamp):
        name, arguments = "strftime", [node.args["format"], node.this.this]
    else:
        return None
    written = [_argument(select, each) for each in arguments]
    return None if None in written else f"{name.lower()}({', '.join(map(str, written))})"


def _argument(select: Select, node: exp.Expr) -> str | None:
    text = _literal(select, node)
    if text is not None:
        return _quoted(text)
    if isinstance(node, exp.Literal):
        return str(node.name)
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
        return f"-{node.this.name}"
    if isinstance(node, exp.Paren):
        return _argument(select, node.this)
    if isinstance(node, exp.DPipe):
        both = [_argument(select, node.this), _argument(select, node.expression)]
        return None if None in both else f"({both[0]} || {both[1]})"
    return _computed(select, node)


def _given(node: exp.Expr) -> list[str]:
    return [name for name, value in node.args.items() if value]


def _number(node: exp.Expr | None) -> int:
    """Give a positive integer; 0 if it is none."""
    is_number = isinstance(node, exp.Literal) and not node.is_string
    return int(node.name) if node is not None and is_number and node.name.isdecimal() else 0


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _both(one: Spans, other: Spans) -> Spans:
    joined = dict(one)
    for origin, span in other.items():
        joined[origin] = joined.get(origin, ALL).both(span)
    return joined


def _either(one: Spans, other: Spans) -> Spans:
    return {origin: one[origin].either(other[origin]) for origin in one.keys() & other.keys()}
