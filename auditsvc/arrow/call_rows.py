"""Rows of `syscalls` of an SQLite store: each value is asked of the view but once.

What a column is made of is here (`_USES`), in the words of `auditsvc.arrow.calls`; a column that
is named nowhere is asked for each call. `argv` is of the table `exec`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.calls import PLAIN, WORDS, Calls, listed
from auditsvc.arrow.groups import Groups
from auditsvc.arrow.rows import read_table
from auditsvc.arrow.where import Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

_IDS: Final = (
    *("ppid", "pid", "auid", "uid", "gid", "euid", "suid", "fsuid", "egid", "sgid", "fsgid"),
    "ses",
)
_NAMED: Final = tuple(f"{each}_name" for each in ("auid", "uid", "gid", "euid", "egid"))
_USES: Final[tuple[tuple[Callable[[Calls], list[pa.Array]], tuple[str, ...]], ...]] = (
    (
        lambda calls: [calls.context],
        ("host", "arch", *_IDS, "tty", "comm", "exe", "subj", "key", "cwd", "proctitle", "type"),
    ),
    (
        Calls.of_process,
        ("process_id", "parent_exe", "parent_argv"),
    ),
    (Calls.of_place, ("unit", "container")),
    (lambda calls: [calls.context, *calls.named()], _NAMED),
    (Calls.of_origin, ("origin_kind", "origin_source")),
    (lambda calls: [calls.name, *calls.failed], ("syscall", "errno")),
    (lambda calls: [calls.state], ("state", "partial_reason")),
    (lambda calls: calls.told(WORDS, (0,)), ("a0_words",)),
    (lambda calls: calls.told(WORDS, (1,)), ("a1_words",)),
    (lambda calls: calls.told(WORDS, (2,)), ("a2_words",)),
    (lambda calls: calls.told(WORDS, (3,)), ("a3_words",)),
)


def call_rows(
    connection: Connection,
    slices: Iterable[Calls],
    values: Mapping[str, str],
    fields: Sequence[pa.Field],
) -> pa.Table:
    """Give rows of `syscalls` in the order of ids, with these fields.

    `values`: an expression of the view's row `v` for each; NULL for one without.
    """
    kinds = {each.name: each for each in fields}
    tables = [pa.schema(fields).empty_table()]
    for calls in slices:
        if not len(calls):
            continue
        found = {name: calls.column(name, kinds[name].type) for name in PLAIN if name in values}
        ask = _Ask(connection, values, kinds)
        for use, of in _USES:
            if names := [name for name in of if name in values]:
                found |= shared(calls.ids, use(calls), partial(ask, names))
        if "argv" in values:
            found["argv"] = _argv(connection, calls, ask)
        if names := [name for name in values if name not in found]:
            table = ask(names, calls.ids)
            found |= {name: table[name] for name in names}
        tables.append(as_table(found, kinds, len(calls)))
    return pa.concat_tables(tables).combine_chunks()


def shared(
    ids: pa.Array, keys: Sequence[pa.Array], ask: Callable[[pa.Array], pa.Table]
) -> dict[str, pa.ChunkedArray]:
    """Ask for one of those that are alike in `keys`; gives the columns for all.

    `ask` gives a row for each of some ids, in their order.
    """
    groups = Groups(keys, len(ids))
    rows = groups.spread(ask(ids.take(groups.firsts)))
    return {name: rows[name] for name in rows.column_names}


def as_table(
    found: Mapping[str, pa.Array | pa.ChunkedArray], kinds: Mapping[str, pa.Field], count: int
) -> pa.Table:
    """Give columns as a table; NULL where there is none."""
    columns = [found.get(name, pa.nulls(count, each.type)) for name, each in kinds.items()]
    return pa.table(columns, pa.schema(kinds.values()))


class _Ask:
    """Asks the view for columns of some calls, in the order of ids."""

    def __init__(
        self, connection: Connection, values: Mapping[str, str], kinds: Mapping[str, pa.Field]
    ) -> None:
        self._connection, self._values, self._kinds = connection, values, kinds

    def __call__(self, names: Sequence[str], ids: pa.Array) -> pa.Table:
        wanted = {name: self._values[name] for name in names}
        where = Where("v.event_id IN (SELECT k.value FROM json_each(:ids) k)", {"ids": listed(ids)})
        fields = [self._kinds[name] for name in names]
        return read_table(
            self._connection, "syscalls", wanted, fields, where=where, order="v.event_id"
        )


def _argv(connection: Connection, calls: Calls, ask: _Ask) -> pa.Array:
    """Give the arguments of the calls that are execs."""
    within = calls.within
    found = within.run(connection, f"SELECT event FROM exec WHERE {within.text} ORDER BY event")  # noqa: S608
    execs = pa.array([event for (event,) in found], pa.int64())
    execs = execs.filter(pc.is_in(execs, value_set=calls.ids))
    rows = ask(["argv"], execs)["argv"].combine_chunks()
    return rows.take(pc.index_in(calls.ids, value_set=execs))
