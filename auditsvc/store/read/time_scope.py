"""What the parts of a parsed query are: which column leads to a view's `time`.

In: sqlglot's tree of one SQLite query, and the columns of our views. Out: selects with their
sources; a column is resolved as SQLite does it. Where that is not certain the answer is None,
and the caller leaves the query as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlglot import exp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TIME: Final = "time"
EVENT: Final = "event_id"
_AGGREGATES: Final = {
    *("total", "group_concat", "string_agg", "json_group_array", "json_group_object"),
    *("jsonb_group_array", "jsonb_group_object", "sum", "avg", "count", "min", "max"),
}
Env = dict[str, "Source"]


class Origin(NamedTuple):
    """A column of a source."""

    source: Source
    column: str


@dataclass(eq=False)
class Source:
    """What stands in FROM: a view of ours (`table`), a query (`selects`), or something unknown.

    `whole`: all rows of the query come out, so that a condition on what comes out may be put
    into its selects. `nullable`: an outer join may give NULL for all its columns.
    """

    name: str
    table: exp.Table | None = None
    columns: Sequence[str] | None = None
    selects: list[Select] = field(default_factory=list)
    whole: bool = False
    nullable: bool = False
    keyed: exp.Table | None = None
    """A view of ours with events, if it is one, with `time` or without."""

    def origins(self, column: str) -> list[tuple[Select, Origin | None]]:
        """Give, for each select of a query, where its value for `column` comes from."""
        if self.columns is None or list(self.columns).count(column) != 1:
            return []
        at = list(self.columns).index(column)
        found = []
        for select in self.selects:
            outputs = select.outputs()
            if outputs is None or len(outputs) != len(self.columns):
                return []
            found.append((select, outputs[at][1]))
        return found

    def leads_to_time(self, column: str) -> bool:
        """Whether the column is a view's time, perhaps through queries."""
        if self.table is not None:
            return column == TIME
        return any(
            origin is not None and origin.source.leads_to_time(origin.column)
            for _, origin in self.origins(column)
        )


@dataclass(eq=False)
class Select:
    """One SELECT. `parent` is the select in whose expressions it stands, if it does."""

    node: exp.Select
    parent: Select | None
    alone: bool
    """Whether it is the statement's main select, or stands in one that has no CTE."""
    sources: list[Source] = field(default_factory=list)
    joined: dict[int, Source] = field(default_factory=dict)
    """The source of each join, by the id of its node."""

    @property
    def outer(self) -> bool:
        """Whether there is a RIGHT or FULL join."""
        return any(join.side in ("RIGHT", "FULL") for join in self.node.args.get("joins") or ())

    @property
    def passes_rows(self) -> bool:
        """Whether it gives a row for each row of its sources that its conditions hold for."""
        node = self.node
        if any(node.args.get(part) for part in ("group", "having", "windows", "qualify")):
            return False
        order = node.args.get("order")
        shown = [*node.expressions, *([order] if order else [])]
        return not any(_is_aggregate(each) for part in shown for each in _own(part))

    @property
    def is_cut(self) -> bool:
        """Whether it has LIMIT or OFFSET."""
        return bool(self.node.args.get("limit") or self.node.args.get("offset"))

    def outputs(self) -> list[tuple[str, Origin | None]] | None:
        """Give the names of its columns and where they come from; None if not all are known."""
        found: list[tuple[str, Origin | None]] = []
        for shown in self.node.expressions:
            if isinstance(shown, exp.Star) or (
                isinstance(shown, exp.Column) and isinstance(shown.this, exp.Star)
            ):
                starred = self._starred(shown)
                if starred is None:
                    return None
                found += starred
                continue
            inner = shown.this if isinstance(shown, exp.Alias) else shown
            origin = self.resolve(inner) if isinstance(inner, exp.Column) else None
            if origin and origin.source not in self.sources:
                origin = None
            found.append((shown.alias_or_name.lower(), origin))
        return found

    def _starred(self, star: exp.Expr) -> list[tuple[str, Origin | None]] | None:
        sources = self.sources
        if isinstance(star, exp.Column) and star.table:
            sources = [each for each in sources if each.name == star.table.lower()]
        joins = self.node.args.get("joins") or ()
        if any(join.args.get("using") or join.args.get("method") for join in joins):
            return None  # columns in common are shown once
        found: list[tuple[str, Origin | None]] = []
        for source in sources:
            if source.columns is None:
                return None
            found += [(name, Origin(source, name)) for name in source.columns]
        return found

    def resolve(self, column: exp.Column, *, aliases: bool = False) -> Origin | None:
        """Give the source of a column, here or in a select around; None if not certain."""
        name = column.name.lower()
        if column.args.get("db") or isinstance(column.this, exp.Star):
            return None
        if column.table:
            of_table = [each for each in self.sources if each.name == column.table.lower()]
            if len(of_table) == 1:
                return Origin(of_table[0], name)
            return self.parent.resolve(column) if self.parent and not of_table else None
        known = [each for each in self.sources if each.columns and name in each.columns]
        if known or any(each.columns is None for each in self.sources):
            # If an unknown source had the column too, SQLite would refuse the query.
            return Origin(known[0], name) if len(known) == 1 else None
        if aliases:
            named = [each for each in self.node.expressions if each.alias.lower() == name]
            if named:
                inner = named[0].this
                is_column = len(named) == 1 and isinstance(inner, exp.Column)
                return self.resolve(inner) if is_column else None
        return self.parent.resolve(column) if self.parent else None

    def has_no(self, name: str) -> bool:
        """Whether no column or alias here or around has this name: it is a text if in quotes."""
        if any(each.columns is None or name.lower() in each.columns for each in self.sources):
            return False
        if any(each.alias.lower() == name.lower() for each in self.node.expressions):
            return False
        return self.parent is None or self.parent.has_no(name)

    def inner_queries(self) -> Iterator[exp.Expr]:
        """Give the queries in its expressions, outermost only."""
        for key, value in self.node.args.items():
            if key in ("from_", "with_"):
                continue
            for each in value if isinstance(value, list) else [value]:
                part = each.args.get("on") if isinstance(each, exp.Join) else each
                if isinstance(part, exp.Expr):
                    yield from (inner for inner in _own(part) if _is_query(inner))


class Scopes:
    """The selects of one statement; `views` has the columns of our views by name."""

    def __init__(self, root: exp.Expr, views: Mapping[str, Sequence[str]]) -> None:
        self.views = views
        self._uses: dict[str, int] = {}
        for table in root.find_all(exp.Table):
            name = table.name.lower()
            self._uses[name] = self._uses.get(name, 0) + 1
        self.selects: list[Select] = []
        self._add(root, {}, None, main=True)

    def _add(
        self, query: exp.Expr, env: Env, parent: Select | None, *, main: bool = False
    ) -> list[Select]:
        """Take in a query and all within; gives its selects, in the order of a compound."""
        given = query.args.get("with_")
        alone = not env
        if given is not None:
            env = self._with(given, env, parent)
            alone = main
        if isinstance(query, exp.Select):
            select = Select(query, parent, alone and parent is None)
            self.selects.append(select)
            self._sources(select, env)
            for inner in select.inner_queries():
                self._add(inner, env, select)
            return [select]
        if isinstance(query, exp.SetOperation):
            both = [query.this, query.expression]
            return [each for part in both for each in self._add(part, env, parent)]
        if isinstance(query, exp.Subquery) and _is_query(query.this):
            return self._add(query.this, env, parent)
        return []

    def _with(self, given: exp.With, env: Env, parent: Select | None) -> Env:
        sources = {cte.alias.lower(): Source(cte.alias.lower()) for cte in given.expressions}
        env = {**env, **sources}
        # In SQLite a CTE may refer to later ones: these are unknown here and are not used.
        for cte in given.expressions:
            source = sources[cte.alias.lower()]
            source.selects = self._add(cte.this, env, parent)
            names = [each.name.lower() for each in cte.args["alias"].args.get("columns") or ()]
            _describe(source, cte.this, names)
            source.whole = source.whole and self._uses.get(source.name, 0) == 1
        return env

    def _sources(self, select: Select, env: Env) -> None:
        begin = select.node.args.get("from_")
        if begin is None:
            return
        first = self._source(begin.this, env, select.parent)
        select.sources.append(first)
        for join in select.node.args.get("joins") or ():
            source = self._source(join.this, env, select.parent)
            if join.side in ("LEFT", "FULL"):
                source.nullable = True
            if join.side in ("RIGHT", "FULL"):
                for each in select.sources:
                    each.nullable = True
            select.sources.append(source)
            select.joined[id(join)] = source

    def _source(self, node: exp.Expr, env: Env, parent: Select | None) -> Source:
        name = (node.alias_or_name or "").lower()
        alias = node.args.get("alias")
        if node.args.get("joins") or (alias is not None and alias.args.get("columns")):
            return Source(name)
        if isinstance(node, exp.Table):
            table = node.name.lower()
            if not isinstance(node.this, exp.Identifier) or node.args.get("db"):
                return Source(name)
            if table in env:
                cte = env[table]
                return Source(name, None, cte.columns, cte.selects, cte.whole)
            columns = self.views.get(table)
            keyed = node if columns and EVENT in columns else None
            has_time = columns is not None and TIME in columns
            return Source(name, node if has_time else None, columns, keyed=keyed)
        if isinstance(node, exp.Subquery) and _is_query(node.this):
            source = Source(name, selects=self._add(node.this, env, parent))
            _describe(source, node.this, [])
            return source
        return Source(name)


def _describe(source: Source, query: exp.Expr, names: list[str]) -> None:
    """Put down the columns of a query's source, and whether all its rows come out."""
    if not source.selects:
        return
    outputs = source.selects[0].outputs()
    if outputs is None or (names and len(names) != len(outputs)):
        return
    source.columns = names or [name for name, _ in outputs]
    source.whole = _is_union(query)


def _is_union(query: exp.Expr) -> bool:
    """Whether it is a select, or a UNION of some, without a limit."""
    if isinstance(query, exp.Select):
        return True
    if not isinstance(query, exp.Union):
        return False
    cut = query.args.get("limit") or query.args.get("offset")
    return not cut and _is_union(query.this) and _is_union(query.expression)


def _is_query(node: object) -> bool:
    return isinstance(node, exp.Select | exp.SetOperation)


def _own(node: exp.Expr) -> Iterator[exp.Expr]:
    """Give an expression's parts; of a query in it only its head."""
    yield node
    if not _is_query(node):
        for inner in node.iter_expressions():
            yield from _own(inner)


def _is_aggregate(node: exp.Expr) -> bool:
    if isinstance(node, exp.Anonymous):
        return node.name.lower() in _AGGREGATES
    return isinstance(node, exp.AggFunc | exp.Window)
