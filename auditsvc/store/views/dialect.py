"""What views are made with, for both databases.

A `Dialect` has the expressions that differ between the databases. Names and texts that a row
refers to are looked up in a way that costs nothing if a query does not use them: on PostgreSQL
by a LEFT JOIN on a primary key, which its planner can drop or reorder; on SQLite, whose planner
keeps such joins under an aggregate, by a scalar subquery. docs/decisions/0002-store.md has the
measurements. Lookups that people filter by come first: PostgreSQL reorders at most eight joins.

Values: a `time` is UTC (text to the millisecond on SQLite, timestamptz on
PostgreSQL); `success` is 1, 0 or NULL (boolean on PostgreSQL); `argv` and
`fields` are JSON (jsonb on PostgreSQL). `event_id >> 30` is the event's second. On PostgreSQL
an index has the expression of `time`; on SQLite a range of time is served by the range of
`event_id` that it implies, which `auditsvc.store.read` adds to a query.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.store.schema import HEAD, TIME


@dataclass(frozen=True)
class Dialect:
    """The expressions of one database that the views need; each is a format of its arguments."""

    time: str  # event's id, millisecond
    hex: str  # signed 64-bit integer, shown unsigned
    truth: str  # 1, 0 or NULL
    json: str  # text that holds JSON, its event's id
    json_add: str  # text that holds a JSON object, key, value
    json_pair: str  # key, text value
    json_get: str  # text that holds a JSON object, key; gives text
    event_of: str  # SECOND.MMM:SERIAL as text, a host's id; gives the event's id
    number: str  # text that holds an integer
    holds: str  # text, a part of it; whether it has that, as it is spelled
    stamp: str  # text that holds seconds since 1970, with a fraction
    hour: str  # hours since 1970
    day: str  # days since 1970
    second: str  # seconds since 1970
    indexed: str  # what makes the index on texts serve; a row of `text`
    settled: str  # what makes both indexes of a table serve (`store.schema.SETTLED`): its row, key
    cascade: str  # what lets a view be dropped though views of others show it
    least: str  # two numbers; gives the lower one that is not NULL
    argument: str  # a call's argument, as a number; a column
    joins: bool  # whether a lookup is a join; else it is a subquery


class Step(NamedTuple):
    """A row of `table`, called `alias`, for which `on` holds; there is at most one."""

    table: str
    alias: str
    on: str


class Lookup(NamedTuple):
    """The column `name` of a view: `column` of the row that the last of `steps` leads to.

    `shape` is a format for the value.
    """

    name: str
    steps: tuple[Step, ...]
    column: str = "value"
    shape: str = "{0}"


SQLITE: Final = Dialect(
    time=f"strftime('%Y-%m-%d %H:%M:%S', ({{0}} >> {SERIAL_BITS}), 'unixepoch')"
    " || printf('.%03d', {1})",
    hex="printf('%x', {0})",
    truth="{0}",
    json="{0}",
    # SQLite joins the parts of `records` to other sources only if their columns are of one type.
    json_add="CAST(json_set({0}, '$.{1}', {2}) AS TEXT)",
    json_pair="CAST(json_object('{0}', {1}) AS TEXT)",
    json_get="json_extract({0}, '$.{1}')",
    event_of="CASE WHEN {0} GLOB '[0-9]*.[0-9][0-9][0-9]:[0-9]*' THEN"
    " (CAST({0} AS INTEGER) << "
    f"{SERIAL_BITS}) | ((CAST(substr({{0}}, instr({{0}}, ':') + 1) AS INTEGER) + {{1}})"
    f" & {SERIAL_MASK}) END",
    number="CAST({0} AS INTEGER)",
    holds="instr({0}, {1}) > 0",
    stamp="strftime('%Y-%m-%d %H:%M:%f', {0}, 'unixepoch')",
    hour="strftime('%Y-%m-%d %H:%M:%S', {0} * 3600, 'unixepoch')",
    day="date({0} * 86400, 'unixepoch')",
    second="strftime('%Y-%m-%d %H:%M:%S', {0}, 'unixepoch')",
    indexed=f" AND {{0}}.head = substr({{0}}.value, 1, {HEAD})",
    settled="{0}.{1} AND ({0}.settled IS NOT NULL AND {0}.{1} OR {0}.settled IS NULL AND {0}.{1})",
    cascade="",
    least="(SELECT min(each) FROM (SELECT {0} AS each UNION ALL SELECT {1}))",
    argument="{0}",
    joins=False,
)
POSTGRESQL: Final = Dialect(
    time=TIME,
    hex="to_hex({0})",
    truth="({0} <> 0)",
    # Only together with its event: alone, every text would be cast, and most are no JSON.
    json="(CASE WHEN {1} >= 0 THEN {0}::jsonb END)",
    json_add="(CASE WHEN p.event >= 0 THEN {0}::jsonb END) || jsonb_build_object('{1}', {2})",
    json_pair="jsonb_build_object('{0}', {1})",
    json_get="({0}::jsonb ->> '{1}')",
    event_of="CASE WHEN {0} ~ '^[0-9]{{1,10}}[.][0-9]{{3}}:[0-9]{{1,10}}$' THEN"
    f" (split_part({{0}}, '.', 1)::bigint << {SERIAL_BITS})"
    f" | ((split_part({{0}}, ':', 2)::bigint + {{1}}) & {SERIAL_MASK}) END",
    # Other text is NULL: with a cast the query would fail.
    number="CAST(substring({0} FROM '^[0-9]{{1,18}}$') AS bigint)",
    holds="strpos({0}, {1}) > 0",
    stamp="to_timestamp(CAST(substring({0} FROM '^[0-9]{{1,10}}[.]?[0-9]{{0,9}}$')"
    " AS double precision))",
    hour="to_timestamp({0} * 3600)",
    day="(date '1970-01-01' + {0}::int)",
    second="to_timestamp({0}::float8)",
    indexed="",
    settled="{0}.{1}",
    cascade=" CASCADE",
    least="least({0}, {1})",
    argument="('x' || lpad(encode({0}, 'hex'), 16, '0'))::bit(64)::bigint",
    joins=True,
)
DIALECTS: Final = {"sqlite": SQLITE, "postgresql": POSTGRESQL}


def case(column: str, words: dict[int, str], otherwise: str) -> str:
    """Give a choice of words by number."""
    whens = " ".join(f"WHEN {code} THEN '{word}'" for code, word in words.items())
    return f"CASE {column} {whens} ELSE {otherwise} END"


def time(d: Dialect, table: str) -> str:
    """Give the time of a row of a table of events."""
    return d.time.format(f"{table}.id", f"{table}.ms")


def asked(rows: str) -> str:
    """Give the column that tells rows of `path` that take its place apart; '' if none do."""
    return ", p.asked" if rows else ""


def text(name: str, key: str, shape: str = "{0}") -> Lookup:
    """Give the lookup of a text, whose id is `key`."""
    step = Step("text", f"{name}_text", f"{name}_text.id = {key}")
    return Lookup(name, (step,), shape=shape)


def lookups(d: Dialect, lookups: list[Lookup]) -> tuple[dict[str, str], str]:
    """Give the column expressions of `lookups` by name, and the joins that they need."""
    columns, joins = {}, []
    for name, steps, column, shape in lookups:
        value = f"{steps[-1].alias}.{column}"
        if d.joins:
            joins += [f"LEFT JOIN {table} {alias} ON {on}" for table, alias, on in steps]
        else:
            sources = ", ".join(f"{step.table} {step.alias}" for step in steps)
            condition = " AND ".join(step.on for step in steps)
            value = f"(SELECT {value} FROM {sources} WHERE {condition})"  # noqa: S608 - ours
        columns[name] = f"{shape.format(value)} AS {name}"
    return columns, "\n        ".join(joins)


_ARGUMENT: Final = re.compile(r"\bs\.a[0-3]\b")


def with_arguments(d: Dialect, sql: str) -> str:
    """Give SQL on `syscall s` with the call's arguments as numbers, however they are stored."""
    return _ARGUMENT.sub(lambda found: f"({d.argument.format(found[0])})", sql)
