"""Gives a query on SQLite the ranges of event ids that its conditions on time imply.

    SELECT * FROM syscalls WHERE time >= '2026-11-28'
    SELECT * FROM (SELECT * FROM syscalls WHERE event_id >= ...) AS syscalls
    WHERE time >= '2026-11-28'

In: the SQL, the present, and the store to ask. Out: SQL with the same answer. Only names of
views are replaced, by a select of them with a range, and constants by what they mean; all
other text stays as it was written. A range is put on a view

* that the condition of WHERE, or of the ON of a join, implies (`time_conditions`), also through
  queries in FROM and CTEs that pass rows on;
* that has the first rows by time, for ORDER BY time LIMIT (`time_order`).

Each range has the share of the store that it is of, for SQLite's planner, which would take
any range to be a large part of the table (https://sqlite.org/lang_corefunc.html#likelihood).
SQL that sqlglot does not parse is given back unchanged.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sqlglot import Dialect, Token, TokenType, exp
from sqlglot.errors import SqlglotError

from auditsvc.errors import QueryError
from auditsvc.store.read.cte_names import is_cte, table_name
from auditsvc.store.read.time_conditions import Conditions
from auditsvc.store.read.time_scope import EVENT, TIME, Origin, Scopes, Select, Source
from auditsvc.store.read.time_span import ALL, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

_EXPLAIN: Final = re.compile(
    r"\s*EXPLAIN\s+(?:(?:QUERY\s+PLAN|ANALYZE|VERBOSE)\s+|\([^)]*\)\s*)*", re.IGNORECASE
)
_LEAST: Final = 1e-6
_LONG: Final = 10_000
"""Characters of SQL of which the parsed form, some 100 bytes for each, is not kept."""
# It warns on stderr of what it cannot parse.
logging.getLogger("sqlglot").disabled = True


class Moment(NamedTuple):
    """A time of a view, or an event's id: its second, and how it is written in SQL."""

    second: int
    literal: str


class Store(Protocol):
    """The store that is asked."""

    @property
    def columns(self) -> Mapping[str, Sequence[str]]:
        """The columns of our views by name."""

    def ask(self, sql: str) -> object:
        """Give the first value of the first row of a query; None if there is none."""

    def count(self, sql: str) -> int:
        """Give the count that a query gives; 0 if the query is wrong."""

    def moment(self, sql: str) -> Moment | None:
        """Give the time or id that a query gives; None if there is none."""


@dataclass
class Statement:
    """A parsed query, and what is to be changed in its text."""

    text: str
    root: exp.Expr
    tokens: list[Token]
    dialect: str
    scopes: Scopes
    period: Span = ALL
    spans: dict[int, Span] = field(default_factory=dict)
    """The range of a view, by the id of its node."""
    shares: dict[int, float] = field(default_factory=dict)
    """The share of the table that the range of a view is, where it is known better."""
    cuts: dict[int, str] = field(default_factory=dict)
    """A further condition on a view."""
    edits: dict[tuple[int, int], str] = field(default_factory=dict)
    whole: Span = ALL
    """The seconds of the store."""

    def replace(self, node: exp.Expr, text: str) -> bool:
        """Note that a constant or a call is replaced; False if its position is unknown."""
        start, end = place(node.this if isinstance(node, exp.Column) else node)
        if start < 0:
            return False
        if not isinstance(node, exp.Literal | exp.Column):
            end = self.call_end(end)
            if end < 0:
                return False
        self.edits[start, end + 1] = text
        return True

    def call_end(self, name_end: int) -> int:
        """Give the end of the call whose name ends there."""
        depth = 0
        for token in self.tokens:
            if token.start <= name_end:
                continue
            depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
            if depth == 0:
                return token.end if token.token_type is TokenType.R_PAREN else -1
        return -1

    def narrow(self, origin: Origin, span: Span, share: float = 0.0, cut: str = "") -> None:
        """Put a range on the view that a column comes from, as far as no answer changes.

        `cut`: a further condition on that column, after its name.
        """
        source = origin.source
        if source.table is not None:
            if origin.column in (TIME, EVENT):
                key = id(source.table)
                self.spans[key] = self.spans.get(key, ALL).both(span)
                if share:
                    self.shares[key] = share
                if cut:
                    self.cuts[key] = f"{origin.column} {cut}"
        elif source.whole:
            for select, inner in source.origins(origin.column):
                if inner is not None and select.passes_rows and not select.is_cut:
                    self.narrow(inner, span, share, cut)

    def written(self, start: int = 0, end: int | None = None) -> str:
        """Give the text from `start` to `end` with all that is to be changed."""
        stop = len(self.text) if end is None else end
        edits = {**self.edits, **self._table_edits()}
        parts, at = [], start
        for (first, last), text in sorted(edits.items()):
            if at <= first and last <= stop:
                parts += [self.text[at:first], text]
                at = last
        return "".join((*parts, self.text[at:stop]))

    def _table_edits(self) -> dict[tuple[int, int], str]:
        found = {}
        for table in self.root.find_all(exp.Table):
            start, end = place(table.args.get("db") or table.this)[0], place(table.this)[1]
            if start < 0 or end < 0:
                continue
            span = self.spans.get(id(table), ALL)
            if self.is_view(table):
                span = span.both(self.period)
            conditions = span.conditions
            if not conditions:
                continue
            if self.dialect == "sqlite":
                share = max(_LEAST, self.shares.get(id(table)) or self._share(span))
                # Each end takes its part: one that leaves out nothing, as SQLite is told, does
                # not end the range for it, and it reads to the end of the table.
                part = share ** (1 / len(conditions))
                conditions = [f"likelihood({each}, {part:.6f})" for each in conditions]
            if id(table) in self.cuts:
                conditions.append(self.cuts[id(table)])
            name = self.text[start : end + 1]
            text = f"(SELECT * FROM {name} WHERE {' AND '.join(conditions)})"  # noqa: S608 - the user's own SQL
            if not table.args.get("alias"):
                text = f"{text} AS {self.text[place(table.this)[0] : end + 1]}"
            found[start, end + 1] = text
        return found

    def _share(self, span: Span) -> float:
        both = span.both(self.whole)
        seconds = self.whole.high - self.whole.low + 1
        return min(1.0, (both.high - both.low + 1) / seconds)

    def is_view(self, table: exp.Table) -> bool:
        """Whether a name is that of one of our views with events, and not of a CTE."""
        name = table_name(table, self.dialect)
        if name not in self.scopes.views or EVENT not in self.scopes.views[name]:
            return False
        return bool(table.args.get("db")) or not is_cte(table, name, self.dialect)

    def hides(self, node: exp.Expr, name: str) -> bool:
        """Whether a name of ours would not be that of our view where a node stands."""
        return is_cte(node, name, self.dialect, refused=True)


def parse(sql: str, dialect: str, views: Mapping[str, Sequence[str]]) -> Statement | None:
    """Parse one query; None if sqlglot cannot, or it is none."""
    try:
        tokens, roots = (_parsed if len(sql) > _LONG else _kept)(sql, dialect)
    except (SqlglotError, ValueError):
        return None
    if len(roots) != 1 or not isinstance(roots[0], exp.Select | exp.SetOperation):
        return None
    return Statement(sql, roots[0], tokens, dialect, Scopes(roots[0], views))


def _parsed(sql: str, dialect: str) -> tuple[list[Token], list[exp.Expr | None]]:
    """Give the tokens and the trees of a text, which nobody changes."""
    reader = Dialect.get_or_raise(dialect)
    tokens = reader.tokenize(sql)
    return tokens, reader.parser().parse(tokens, sql)


_kept: Final = lru_cache(maxsize=16)(_parsed)
"""The same; a page, a watch and a loop of somebody's ask one text again and again, and to parse it
takes longer than to run it on a small store."""


def bound(sql: str, dialect: str, views: Mapping[str, Sequence[str]], period: Span) -> str:
    """Bound every view of events in the query to a period; QueryError if it is not parsed."""
    head, body = split(sql)
    try:
        statement = parse(body, dialect, views)
        if statement is not None:
            statement.period = period
            return head + statement.written()
    except RecursionError:
        pass
    raise not_bounded()


def not_bounded() -> QueryError:
    """Give the error for a period of a query that is not parsed."""
    return QueryError(
        "--since and --until need a query that auditsvc can parse",
        "give one SELECT, or write the condition into it: time >= '2026-11-28'",
    )


def split(sql: str) -> tuple[str, str]:
    """Give EXPLAIN, if it begins with that, and the rest."""
    found = _EXPLAIN.match(sql)
    end = found.end() if found else 0
    return sql[:end], sql[end:]


def put_ranges(statement: Statement, now: datetime, store: Store) -> None:
    """Find the ranges that the conditions of a statement imply."""
    conditions = Conditions(now, store.ask, statement.replace)
    for select in statement.scopes.selects:
        for condition, allowed in _clauses(select):
            for origin, span in conditions.spans(select, condition).items():
                if any(origin.source is each for each in allowed):
                    statement.narrow(origin, span)
    _spread(statement)


def _spread(statement: Statement) -> None:
    """Put a range on a view that is joined by LEFT JOIN to the events of one that has a range.

    SQLite makes the whole of such a view before it joins it.
    """
    for select in statement.scopes.selects:
        for join in select.node.args.get("joins") or ():
            own = select.joined.get(id(join))
            if join.side != "LEFT" or own is None or own.keyed is None:
                continue
            for other in _with_equal_event(select, join, own):
                if other.table is not None and (span := statement.spans.get(id(other.table))):
                    key = id(own.keyed)
                    statement.spans[key] = statement.spans.get(key, ALL).both(span)


def _with_equal_event(select: Select, join: exp.Join, own: Source) -> Iterable[Source]:
    """Give the sources whose events alone a joined source can have."""
    if any(name.name.lower() == EVENT for name in join.args.get("using") or ()):
        before = select.sources[: select.sources.index(own)]
        known = [each for each in before if each.columns is None or EVENT in each.columns]
        yield from known if len(known) == 1 else ()
    on = join.args.get("on")
    for part in on.flatten() if isinstance(on, exp.And) else [on]:
        if isinstance(part, exp.EQ):
            sides = [
                select.resolve(each)
                for each in (part.left, part.right)
                if isinstance(each, exp.Column) and each.name.lower() == EVENT
            ]
            sources = [each.source for each in sides if each is not None]
            if len(sources) == 2 and own in sources:
                yield from (each for each in sources if each is not own)


def _clauses(select: Select) -> Iterable[tuple[exp.Expr, list[object]]]:
    """Give the conditions that filter rows, with the sources whose rows they can filter."""
    where = select.node.args.get("where")
    if where is not None:
        yield where.this, list(select.sources)
    for join in select.node.args.get("joins") or ():
        condition = join.args.get("on")
        if condition is None:
            continue
        own = select.joined.get(id(join))
        allowed: list[object] = [own] if join.side == "LEFT" else list(select.sources)
        # It is read anyway, for what it compares a time with.
        yield condition, [] if select.outer or own is None else allowed


def place(node: exp.Expr | None) -> tuple[int, int]:
    """Give the first and last character of a node's word; -1 if that is not known."""
    meta = node.meta if node is not None else {}
    return int(meta.get("start", -1)), int(meta.get("end", -1))
