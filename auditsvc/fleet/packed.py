"""The rows of a batch on their way: without what follows from other columns.

    data = written(rows, {"auditsvc.batch": text})
    if is_packed(names):
        rows = unpacked(with_lists(table))      # as it was read, with all of `packed_schema`

Most ids of a call are one id, a path is mostly its name, and a story says again who called whom.
Here such a column is written as what it is beside the other one: a number as the difference, and a
text as NULL where it is the same. Rows come back as they were, whatever they are; a test holds it.

A list that no event of a batch has anything in is left out whole, and named in the file's metadata.

Only batches are so; the table has all columns as they are. A difference has a name of its own, so
that a committer of an older program refuses the batch, which it would misread.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from auditsvc.fleet.names import BATCH, GONE
from auditsvc.fleet.schema import LISTS, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    _Change = Callable[[pa.Array, pa.Array], pa.Array]

_BESIDE: Final = {
    "euid": "uid",
    "suid": "euid",
    "fsuid": "euid",
    "egid": "gid",
    "sgid": "egid",
    "fsgid": "egid",
}
"""Ids, and the one that each mostly is; that one comes before."""
_NULL: Final = "\0"
"""Written for NULL where the other text is none, and once more before a text that begins so."""
_ZERO: Final = pa.scalar(0, pa.int64())
_EMPTY: Final = "auditsvc.empty"
_NO_EVENTS: Final = (BATCH, GONE)
_NO_ONE: Final = "system"
"""The actor without an audit uid (`auditsvc.store.views.story`)."""


_STEADY: Final = ("event_id", "serial", "time", "batch", "version")
"""Columns that mostly grow: coded by their differences."""
_VARIED: Final = ("a1_number", "a2_number")
"""Columns of mostly different numbers, which a dictionary makes larger: their bytes by place."""
_STEADY_LISTED: Final = ("item", "seq")
_LEVEL: Final = 4


def packed_schema() -> pa.Schema:
    """Give the schema of a packed batch."""
    return pa.schema([each.with_name(_named(each.name)) for each in schema()])


def written(rows: pa.Table, metadata: Mapping[str, str]) -> bytes:
    """Give a batch's file, of rows with the columns of `schema`."""
    sink = io.BytesIO()
    empty = [view for view in LISTS if _is_empty(rows, view)]
    kept = [each for each in packed_schema() if each.name not in empty]
    made = pa.schema(kept, {**metadata, _EMPTY: ",".join(empty)})
    steady = [name for name in made.names if name in _STEADY]
    steady += [
        f"{view}.list.element.{name}"
        for view, names in LISTS.items()
        for name in names
        if name in _STEADY_LISTED and view not in empty
    ]
    coded = dict.fromkeys(steady, "DELTA_BINARY_PACKED") | dict.fromkeys(
        _VARIED, "BYTE_STREAM_SPLIT"
    )
    with parquet.ParquetWriter(
        sink,
        made,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=[path for path in _leaves(made) if path not in coded],
        column_encoding=coded,
        write_statistics=False,  # a committer reads all of it
    ) as file:
        file.write_table(packed(rows).select(made.names))
    return sink.getvalue()


def with_lists(data: pa.Table) -> pa.Table:
    """Add the lists to a table that was read from a file, which its metadata says are empty."""
    told = (data.schema.metadata or {}).get(_EMPTY.encode(), b"").decode().split(",")
    for view in told:
        if view in LISTS and view not in data.column_names:
            data = data.append_column(schema().field(view), _no_rows(data["type"], view))
    return data


def _no_rows(types: pa.ChunkedArray, view: str) -> pa.ListArray:
    """Give a list without rows for each event, and NULL for what is no event."""
    kind = schema().field(view).type
    offsets = pa.repeat(pa.scalar(0, pa.int32()), len(types) + 1)
    is_own = pc.is_in(_whole(types), value_set=pa.array(_NO_EVENTS))
    return pa.ListArray.from_arrays(offsets, pa.array([], kind.value_type), kind, mask=is_own)


def _is_empty(rows: pa.Table, view: str) -> bool:
    if any(len(chunk.flatten()) for chunk in rows[view].chunks):
        return False
    return bool(_whole(rows[view]).equals(_no_rows(rows["type"], view)))


def packed(rows: pa.Table) -> pa.Table:
    """Pack rows with the columns of `schema`."""
    columns = {name: _whole(rows[name]) for name in rows.column_names}
    for name, base in _BESIDE.items():
        columns[name] = pc.subtract(_whole(rows[name]), _base(_whole(rows[base])))
    paths, story = _whole(rows["paths"]), _whole(rows["story"])
    columns["story"] = _each_told(story, rows, _last_paths(paths), _without)
    columns["paths"] = _each_path(paths, _without)
    return pa.table([columns[each.name] for each in schema()], packed_schema())


def unpacked(data: pa.Table) -> pa.Table:
    """Give the rows as they were."""
    columns = {each.name: _whole(data[_named(each.name)]) for each in schema()}
    for name, base in _BESIDE.items():
        columns[name] = pc.add(columns[name], _base(columns[base]))
    columns["paths"] = _each_path(columns["paths"], _with)
    rows = pa.table(list(columns.values()), schema())
    columns["story"] = _each_told(columns["story"], rows, _last_paths(columns["paths"]), _with)
    return pa.table(list(columns.values()), schema())


def is_packed(names: Collection[str]) -> bool:
    """Whether a batch with these columns is packed."""
    return any(_named(name) in names for name in _BESIDE)


def _named(name: str) -> str:
    return f"{name} - {_BESIDE[name]}" if name in _BESIDE else name


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Give a column as one array that begins where its buffers do, as lists are made of these."""
    chunks = column.chunks
    if len(chunks) == 1 and not chunks[0].offset:
        return chunks[0]
    return pa.concat_arrays([*chunks, pa.array([], column.type)])


def _base(column: pa.Array) -> pa.Array:
    return pc.fill_null(column, _ZERO)


def _without(text: pa.Array, other: pa.Array) -> pa.Array:
    """Give a text beside another."""
    is_same = pc.fill_null(pc.equal(text, other), fill_value=False)
    made = pc.if_else(is_same, pa.scalar(None, pa.string()), text)
    is_null = pc.and_(pc.is_null(text), pc.is_valid(other))
    made = pc.if_else(is_null, pa.scalar(_NULL), made)
    is_like = pc.and_not(pc.fill_null(pc.starts_with(made, _NULL), fill_value=False), is_null)
    if pc.any(is_like).as_py():
        made = pc.if_else(is_like, pc.binary_join_element_wise(_NULL, made, ""), made)
    return made


def _with(text: pa.Array, other: pa.Array) -> pa.Array:
    """Undo `_without`."""
    made = pc.coalesce(text, other)
    is_told = pc.fill_null(pc.starts_with(text, _NULL), fill_value=False)
    if pc.any(is_told).as_py():
        is_null = pc.equal(text, _NULL)
        made = pc.if_else(is_told, pc.utf8_slice_codeunits(text, 1), made)
        made = pc.if_else(
            pc.fill_null(is_null, fill_value=False), pa.scalar(None, pa.string()), made
        )
    return made


def _each_path(paths: pa.ListArray, change: _Change) -> pa.ListArray:
    """Change the path of each file beside its name."""
    flat = paths.values
    parts = {each.name: flat.field(each.name) for each in flat.type}
    parts["path"] = change(parts["path"], parts["name"])
    made = pa.StructArray.from_arrays(list(parts.values()), fields=list(flat.type))
    return pa.ListArray.from_arrays(paths.offsets, made, type=paths.type, mask=paths.is_null())


def _last_paths(paths: pa.ListArray) -> pa.Array:
    """Give the path of the last file of each event."""
    lengths = pc.fill_null(pc.list_value_length(paths), 0)
    ends = pc.subtract(paths.offsets.slice(1), 1)
    places = pc.if_else(pc.greater(lengths, 0), ends, pa.scalar(None, pa.int32()))
    return pc.take(paths.values.field("path"), places)


def _each_told(
    story: pa.StructArray, rows: pa.Table, last: pa.Array, change: _Change
) -> pa.StructArray:
    """Change what a story says again of its event."""
    others = {
        "actor": pc.coalesce(pc.cast(_whole(rows["auid"]), pa.string()), _NO_ONE),
        "as_user": pc.cast(_whole(rows["euid"]), pa.string()),
        "outcome": _whole(rows["outcome"]),
        "object": last,
        "how": _whole(rows["exe"]),
    }
    parts = {each.name: story.field(each.name) for each in story.type}
    for name, other in others.items():
        parts[name] = change(parts[name], other)
    return pa.StructArray.from_arrays(
        list(parts.values()), fields=list(story.type), mask=story.is_null()
    )


def _leaves(of: pa.Schema) -> list[str]:
    """Name the columns as Parquet does, each value of a struct by its path."""
    found = []
    for each in of:
        if pa.types.is_list(each.type):
            found += [f"{each.name}.list.element.{inner.name}" for inner in each.type.value_type]
        elif pa.types.is_struct(each.type):
            found += [f"{each.name}.{inner.name}" for inner in each.type]
        else:
            found.append(each.name)
    return found
