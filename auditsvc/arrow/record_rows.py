"""Rows of `records` of an SQLite store: what the records of files say is asked but once.

Most of them say the same of thousands of files (`cap_fp=0`), beside the number of their item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.call_rows import as_table
from auditsvc.arrow.columns import field_of
from auditsvc.arrow.groups import Groups
from auditsvc.arrow.paths import ASKED
from auditsvc.arrow.rows import read_table
from auditsvc.arrow.where import Where
from auditsvc.store.views import records_of_others, records_of_paths
from auditsvc.store.views.dialect import SQLITE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auditsvc.arrow.paths import Paths

_OF_PATHS: Final = f"({records_of_paths(SQLITE, ASKED)})"
_OF_OTHERS: Final = f"({records_of_others(SQLITE)})"
_ORDER: Final = ("event_id", "type", "seq", "fields")
_FIELDS: Final = [field_of(name) for name in _ORDER]
_SAID: Final = ("type", "fields")


def record_rows(
    slices: Iterable[Paths], values: Mapping[str, str], fields: Sequence[pa.Field]
) -> pa.Table:
    """Give rows of `records` in the order of the list, with these fields; see `Views.rows`."""
    tables = [pa.schema(_FIELDS).empty_table()]
    for rows in slices:
        others = _read(rows, _OF_OTHERS, _ORDER, rows.calls.scope, ", ".join(_ORDER))
        tables.append(_in_order(_of_paths(rows), others))
    found = pa.concat_tables(tables).combine_chunks()
    wanted = {name: found[name] for name in values}
    return as_table(wanted, {each.name: each for each in fields}, len(found))


def _read(rows: Paths, sql: str, names: Sequence[str], where: Where, order: str) -> pa.Table:
    values = {name: f"v.{name}" for name in names}
    fields = [field_of(name) for name in names]
    return read_table(rows.connection, sql, values, fields, where=where, order=order)


def _of_paths(every: Paths) -> pa.Table:
    rows = every.rows.filter(pc.is_valid(every["extra"])).combine_chunks()
    groups = Groups([rows[name].combine_chunks() for name in ("extra", "item")], len(rows))
    where = Where("1 = 1", {"rows": every.named(groups.firsts, rows)})
    said = groups.spread(_read(every, _OF_PATHS, _SAID, where, "v.asked"))
    columns = {"event_id": rows["event"], "seq": rows["seq"]}
    columns |= {name: said[name] for name in _SAID}
    made = pa.table([columns[name] for name in _ORDER], pa.schema(_FIELDS))
    # They are in the order of items, which is mostly that in which they came.
    return made if _is_rising(rows) else made.take(_sorted(made))


def _is_rising(rows: pa.Table) -> bool:
    event, seq = (rows[name].combine_chunks() for name in ("event", "seq"))
    is_same = pc.equal(event[1:], event[:-1])
    return not pc.any(pc.and_(is_same, pc.less(seq[1:], seq[:-1]))).as_py()


def _in_order(rows: pa.Table, others: pa.Table) -> pa.Table:
    """Put rows of both, each in order, into one order; few events are in both."""
    if not len(others):
        return rows
    is_of_both = pc.is_in(rows["event_id"], value_set=others["event_id"].combine_chunks())
    both = pa.concat_tables([rows.filter(is_of_both), others])
    found = pa.concat_tables([rows.filter(pc.invert(is_of_both)), both.take(_sorted(both))])
    return found.combine_chunks().take(pc.array_sort_indices(found["event_id"].combine_chunks()))


def _sorted(rows: pa.Table) -> pa.Array:
    """Give the order of a list; NULL is before all else, as in SQLite."""
    return pc.sort_indices(rows, sort_keys=[(name, "ascending", "at_start") for name in _ORDER])
