"""One batch as Parquet: the wide rows of its events, and the row that tells what it is.

An event that arrived in the batch's range has version 0. One that was amended, or that may have
been shipped before the store was put back to an earlier state, has the batch's number as version;
if it is no more in the store, a row without columns says so (`names.GONE`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.fleet.names import BATCH, GONE
from auditsvc.fleet.packed import written
from auditsvc.fleet.schema import VERSION, schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditsvc.fleet.rows import Source

_MICRO: Final = 1_000_000


class Content(NamedTuple):
    """Ids of the events of a batch."""

    arrived: Sequence[int]
    amended: Sequence[int]
    """Without those that arrived in the same range."""
    top: int
    """Events that arrived with ids up to this one may be in the lake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a batch says of itself; see `auditsvc.fleet.names`."""

    n: int
    id: str
    """Of this file: a later one with the same number is another."""
    range: list[list[int]]
    events: int
    shipped: int
    made: float
    revision: str
    """Of the store's schema: it has another one whenever its views say something else."""
    ledger: dict[str, dict[str, int]] = field(default_factory=dict)
    head: str = ""
    addresses: list[str] = field(default_factory=list)
    """Of the host, when the batch was made."""


class Made(NamedTuple):
    """A batch."""

    data: bytes
    rows: int
    newest: int | None
    """The latest time of its events, in milliseconds."""


def make_batch(source: Source, content: Content, told: Told) -> Iterator[Made | None]:
    """Make a batch, in short steps, each of which gives None; the last one gives it."""
    tables = []
    amended = set(content.amended)
    known = content.top >= 0
    again = {each for each in content.arrived if each <= content.top} if known else set()
    again |= amended
    for table in source.tables([*content.arrived, *(amended - set(content.arrived))]):
        tables.append(_numbered(table, told.n, pa.array(sorted(again), pa.int64())))
        yield None
    ids = pa.chunked_array([c for each in tables for c in each["event_id"].chunks], pa.int64())
    gone = sorted(amended - set(ids.to_pylist())) if amended else []
    first = sum(pc.sum(pc.equal(each["version"], 0)).as_py() or 0 for each in tables)
    says = {
        "n": told.n,
        "id": told.id,
        "range": told.range,
        "events": told.events,
        "missing": told.events - _count(ids, content),
        "again": len(ids) - first,
        "gone": len(gone),
        "shipped": told.shipped,
        "ledger": told.ledger,
        "head": told.head,
        "addresses": told.addresses,
        "made": told.made,
        "program": version("auditsvc"),
        "schema": VERSION,
        "revision": told.revision,
    }
    text = json.dumps(says, separators=(",", ":"))
    own = {"event_id": -told.n, "type": BATCH, "time": round(told.made * _MICRO), "fields": text}
    tables = [_row(source, told.n, own), *tables, *(_gone(each, source, told.n) for each in gone)]
    rows = pa.concat_tables(tables, promote_options="default")
    yield Made(written(_whole(rows), {"auditsvc.batch": text}), len(rows), _newest(rows))


def _count(ids: pa.ChunkedArray, content: Content) -> int:
    """Count the events that arrived for the first time."""
    wanted = content.arrived
    if content.top >= 0:
        wanted = [each for each in wanted if each > content.top]
    found = pc.is_in(ids, value_set=pa.array(wanted, pa.int64()))
    return int(pc.sum(found).as_py() or 0)


def _numbered(table: pa.Table, n: int, again: pa.Array) -> pa.Table:
    is_again = pc.is_in(table["event_id"], value_set=again)
    versions = pc.if_else(is_again, pa.scalar(n, pa.int64()), pa.scalar(0, pa.int64()))
    numbers = pa.repeat(pa.scalar(n, pa.int64()), len(table))
    return table.append_column("batch", numbers).append_column("version", versions)


def _gone(event: int, source: Source, n: int) -> pa.Table:
    time = (event >> SERIAL_BITS) * _MICRO
    return _row(source, n, {"event_id": event, "type": GONE, "time": time, "version": n})


def _row(source: Source, n: int, values: dict[str, object]) -> pa.Table:
    given = {"host": source.host, "store": source.store, "batch": n, "version": 0} | values
    return pa.table(
        {
            each.name: pa.array([given[each.name]], pa.int64()).cast(each.type)
            if isinstance(given[each.name], int)
            else pa.array([given[each.name]], each.type)
            for each in schema()
            if each.name in given
        }
    )


def _newest(rows: pa.Table) -> int | None:
    is_event = pc.invert(pc.is_in(rows["type"], value_set=pa.array([BATCH, GONE])))
    newest = pc.max(rows["time"].filter(is_event)).cast(pa.int64()).as_py()
    return None if newest is None else newest // 1000


def _whole(rows: pa.Table) -> pa.Table:
    """Give rows with all columns."""
    given = [
        rows[each.name].cast(each.type)
        if each.name in rows.column_names
        else pa.nulls(len(rows), each.type)
        for each in schema()
    ]
    return pa.table(given, schema())
