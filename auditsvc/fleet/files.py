"""The rows of `files` that are the paths of their call: kept as three more columns of `paths`.

Most of a row of `files` is its path's and its call's own. Rows are paired by the columns that both
views have, within their event; rows that are alike in all of these may be exchanged, which no
reader can see. What cannot be paired stays a row of the list `files`.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.fleet.schema import OF_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SHARED: Final = ("path", "name", "nametype", "inode", "dev", "mode", "ouid", "ogid")
_OF_CALL: Final = ("success", "errno", "euid", "comm", "exe", "key", "syscall")
_ORDER: Final = [(name, "ascending") for name in ("event_id", *_SHARED)]
_AT: Final = "at"


def paired(events: pa.Table, paths: pa.ListArray, files: pa.Table) -> tuple[pa.ListArray, pa.Table]:
    """Give `paths` with the columns of `files` beside them, and the rows of `files` that are left.

    `events`: with `event_id` and the columns of calls; `files`: in the order of ids.
    """
    flat = paths.flatten()
    parts = {each.name: flat.field(each.name) for each in flat.type}
    ids = events["event_id"].combine_chunks()
    of = pc.take(ids, pc.list_parent_indices(paths))
    ours = pa.table({"event_id": of, _AT: pa.arange(0, len(of)), **parts})
    ours = ours.filter(pc.not_equal(pc.coalesce(ours["nametype"], ""), "PARENT"))
    if _are_in_place(events, ours, files):
        made = _beside(parts, ours[_AT].combine_chunks(), files)
        return pa.ListArray.from_arrays(paths.offsets, made), files[:0]
    calls = events.filter(pc.equal(events["type"], "SYSCALL"))["event_id"].combine_chunks()
    good = _alike(ours, files.filter(pc.is_in(files["event_id"], value_set=calls)))
    ours = _of(ours, good).sort_by(_ORDER)
    theirs = _of(files, good).sort_by(_ORDER)
    call = pc.index_in(theirs["event_id"], value_set=ids)
    same = [_equal(ours[name], theirs[name]) for name in _SHARED]
    same += [_equal(pc.take(events[name], call), theirs[name]) for name in _OF_CALL]
    is_bad = pc.invert(_all(same))
    bad = pc.unique(theirs["event_id"].filter(is_bad))
    is_kept = pc.invert(pc.is_in(theirs["event_id"], value_set=bad))
    at = ours[_AT].filter(is_kept).combine_chunks()
    theirs = theirs.filter(is_kept)
    made = _beside(parts, at, theirs)
    left = files.filter(
        pc.or_(
            pc.invert(pc.is_in(files["event_id"], value_set=good)),
            pc.is_in(files["event_id"], value_set=bad),
        )
    )
    return pa.ListArray.from_arrays(paths.offsets, made), left


def _are_in_place(events: pa.Table, ours: pa.Table, files: pa.Table) -> bool:
    """Whether the rows of both are in the same order and alike, as they mostly are."""
    if len(ours) != len(files):
        return False
    if not all(ours[name].equals(files[name]) for name in ("event_id", *_SHARED)):
        return False
    call = pc.index_in(files["event_id"], value_set=events["event_id"].combine_chunks())
    is_call = pc.equal(pc.take(events["type"], call), "SYSCALL")
    return bool(pc.all(is_call).as_py()) and all(
        pc.take(events[name], call).equals(files[name]) for name in _OF_CALL
    )


def _beside(parts: Mapping[str, pa.Array], at: pa.Array, theirs: pa.Table) -> pa.StructArray:
    """Give paths with the columns of `files` of those at some places."""
    count = len(next(iter(parts.values())))
    if at.equals(pa.arange(0, count)):
        beside = {name: theirs[name].combine_chunks() for name in OF_PATH}
    else:
        places = pc.index_in(pa.arange(0, count), value_set=at)
        beside = {name: pc.take(theirs[name].combine_chunks(), places) for name in OF_PATH}
    both = {**parts, **beside}
    return pa.StructArray.from_arrays(list(both.values()), names=list(both))


def _alike(ours: pa.Table, theirs: pa.Table) -> pa.Array:
    """Give the events that have as many rows in both."""
    one, other = (each["event_id"].combine_chunks().value_counts() for each in (ours, theirs))
    places = pc.index_in(one.field("values"), value_set=other.field("values"))
    counts = pc.take(other.field("counts"), places)
    return one.field("values").filter(pc.fill_null(pc.equal(one.field("counts"), counts), False))


def _of(rows: pa.Table, ids: pa.Array) -> pa.Table:
    return rows.filter(pc.is_in(rows["event_id"], value_set=ids))


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    both = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(both, pc.fill_null(pc.equal(one, other), False))


def _all(conditions: Iterable[pa.ChunkedArray]) -> pa.ChunkedArray:
    return reduce(pc.and_, conditions)
