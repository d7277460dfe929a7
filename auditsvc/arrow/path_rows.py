"""Rows of `paths` and `files` of an SQLite store: each value is asked but once.

What a view says of a file is asked for one of the rows of `path` that have the same file, working
directory and call; what `files` says was done, for one of the calls that did the same with such a
name. In what the values follow the views alone say.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.call_rows import as_table, shared
from auditsvc.arrow.calls import FILES, PART, ROWS
from auditsvc.arrow.columns import TIME
from auditsvc.arrow.paths import ASKED, OF_FILE
from auditsvc.arrow.rows import read_table
from auditsvc.arrow.where import Where
from auditsvc.store.views import files_of_calls, files_of_uring
from auditsvc.store.views.dialect import SQLITE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auditsvc.arrow.paths import Paths

_OF_CONTEXT: Final = ("host", "pid", "auid", "uid", "euid", "ses", "comm", "exe", "key")
_OF_CALL: Final = ("success", "errno", "syscall")
_OF_DEED: Final = ("action", "other", "detail")
_FILES: Final = f"({files_of_calls(SQLITE, ASKED)})"
_ORDER: Final = ("event_id", "item", "name", "nametype", "inode")


def path_rows(
    slices: Iterable[Paths], values: Mapping[str, str], fields: Sequence[pa.Field]
) -> pa.Table:
    """Give rows of `paths` in the order of a list, with these fields; see `Views.rows`."""
    tables = [pa.schema(fields).empty_table()]
    for rows in slices:
        found = {"event_id": rows["event"], "item": rows["item"]}
        found |= {name: rows.of_file(name) for name in OF_FILE}
        order = None
        if _has_alike(rows["event"], rows["item"]):
            order = _order({name: found[name] for name in _ORDER})
        tables.append(_table(found, values, fields, order))
    return pa.concat_tables(tables).combine_chunks()


def file_rows(
    slices: Iterable[Paths], values: Mapping[str, str], fields: Sequence[pa.Field]
) -> pa.Table:
    """Give rows of `files` in the order of ids, with these fields; see `Views.rows`."""
    tables = [pa.schema(fields).empty_table()]
    for each in slices:
        of_calls = _of_calls(each, values, fields) if len(each.calls) else tables[0]
        tables += [of_calls, _of_uring(each, values, fields)]
    found = pa.concat_tables(tables)
    is_mixed = any(len(each) for each in tables[2::2])
    return (found.sort_by("event_id") if is_mixed else found).combine_chunks()


def _of_calls(every: Paths, values: Mapping[str, str], fields: Sequence[pa.Field]) -> pa.Table:
    calls = every.calls
    is_parent = pc.equal(every["nametype"].fill_null(""), "PARENT")
    rows = every.chosen(pc.and_(pc.is_valid(every["call"]), pc.invert(is_parent)))
    place = rows["call"]

    def of_calls(keys: Iterable[pa.Array]) -> list[pa.Array]:
        return [pc.take(each, place) for each in keys]

    found = {"event_id": rows["event"], "time": pc.take(calls.at, place).cast(TIME)}
    found |= {name: rows.of_file(name) for name in OF_FILE if name in values}
    is_of_rows = pc.is_valid(pc.take(calls.argument(ROWS, 0), place))
    alone = pc.if_else(is_of_rows, pa.arange(0, len(rows)), None)
    nametype = rows["nametype"]
    deed = [*of_calls([*calls.told(FILES), calls.records.all]), nametype, alone]
    every_place = pa.arange(0, len(rows))
    for of, keys in (
        (_OF_CONTEXT, of_calls([calls.context])),
        (_OF_CALL, of_calls([*calls.told(PART, ()), *calls.failed])),
        (_OF_DEED, deed),
    ):
        if names := {name: values[name] for name in of if name in values}:
            found |= shared(every_place, keys, partial(_asked, rows, names, fields))
    is_later = pc.less(rows["seq"][1:], rows["seq"][:-1])
    order = None
    if pc.any(pc.and_(_is_same(rows["event"]), is_later)).as_py():
        order = _order({"event": rows["event"], "seq": rows["seq"]})
    return _table(found, values, fields, order)


def _asked(
    rows: Paths, values: Mapping[str, str], fields: Sequence[pa.Field], places: pa.Array
) -> pa.Table:
    """Ask for columns of `files` of the rows at some places."""
    where = Where("1 = 1", {"rows": rows.named(places)})
    kinds = {each.name: each for each in fields}
    wanted = [kinds[name] for name in values]
    return read_table(rows.connection, _FILES, values, wanted, where=where, order="v.asked")


def _of_uring(rows: Paths, values: Mapping[str, str], fields: Sequence[pa.Field]) -> pa.Table:
    scope = rows.calls.scope
    sql, where = files_of_uring(SQLITE, f" AND {scope.on('e.id')}"), Where("1 = 1", scope.values)
    return read_table(rows.connection, f"({sql})", values, fields, where=where, order="v.event_id")


def _table(
    found: Mapping[str, pa.Array | pa.ChunkedArray],
    values: Mapping[str, str],
    fields: Sequence[pa.Field],
    order: pa.Array | None,
) -> pa.Table:
    wanted = {name: each for name, each in found.items() if name in values}
    made = as_table(wanted, {each.name: each for each in fields}, len(found["event_id"]))
    return made if order is None else made.take(order)


def _order(columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Array:
    """Give the order by columns; NULL is before all else, as in SQLite."""
    keys = [(name, "ascending", "at_start") for name in columns]
    return pc.sort_indices(pa.table(dict(columns)), sort_keys=keys)


def _is_same(column: pa.Array) -> pa.Array:
    """Whether each but the first is as the one before."""
    return pc.equal(column[1:], column[:-1])


def _has_alike(*columns: pa.Array) -> bool:
    is_same = [_is_same(each.fill_null(-1)) for each in columns]
    return bool(pc.any(pc.and_(*is_same)).as_py())
