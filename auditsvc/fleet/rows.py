"""Events of a store as wide rows of the fleet (`auditsvc.fleet.schema`), asked from its views.

    source = Source(database, host, store)
    for table in source.tables(ids): ...

Ids that arrived together are mostly neighbours: they are read as ranges of ids, what else is in
a range is left out, and single ones are named. Each table is of a transaction of its own, which
only reads; an id that the store has no event of gives no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.archive.rows import read_where
from auditsvc.arrow.events import Events, listed
from auditsvc.arrow.room import in_parts
from auditsvc.arrow.view_rows import WHOLE, Views
from auditsvc.arrow.where import Where
from auditsvc.fleet.files import paired
from auditsvc.fleet.schema import LISTS, OF_ALL, RECORDED, STORY, schema
from auditsvc.store import arrivals
from auditsvc.store.database import reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from auditsvc.store.database import Database

SIZE: Final = 32_768
"""Events of a table: with fewer, more of the work is done anew for each; while one is read, the
store keeps what is written meanwhile in its log."""
_OTHERS: Final = 100
"""Events that are read in vain rather than that a question is planned anew."""
_OF_WIDE: Final = ("paths", "sockaddrs", "records")
"""Lists that `auditsvc.arrow.events` gives."""
_OF_LONE: Final = ("comm", "exe", "key")
_LOGINS: Final = ("LOGIN", "USER_LOGIN", "USER_END", "SYSTEM_BOOT", "SYSTEM_SHUTDOWN")
"""Types of events of which `logins` is made; a LOGIN may be a record of a call."""
_LOGIN_IDS: Final = ("event_id", "user_login_event_id", "end_event_id")
_OF: Final = "of"
"""The event that a row of `logins` goes with."""
_IS_CALL: Final = "v.kind = 'call'"


class Source:
    """The wide rows of one store, for a host's prefix."""

    def __init__(self, database: Database, host: str, store: str) -> None:
        self._database = database
        self.host = host
        self.store = store
        self._events = Events(database, columns=("event_id", "host", *RECORDED, *_OF_WIDE))

    def tables(self, ids: Sequence[int], size: int = SIZE) -> Iterator[pa.Table]:
        """Give the rows of these events, without `batch` and `version`, in the order of ids."""
        ordered = sorted(ids)
        for start in range(0, len(ordered), size):
            yield from in_parts(self._read, ordered[start : start + size])

    def _read(self, wanted: Sequence[int]) -> pa.Table:
        with reading(self._database) as connection:
            where = _condition(connection, wanted)
            return self._table(Views(connection, WHOLE), where, pa.array(wanted, pa.int64()))

    def _table(self, views: Views, where: Where, wanted: pa.Array) -> pa.Table:
        events = _only(self._events.rows(views, where), wanted)
        ids = events["event_id"]
        columns = {name: events[name] for name in events.column_names}
        columns["store"] = _same(self.store, len(events))
        columns["node"] = pc.if_else(pc.equal(events["host"], self.host), None, events["host"])
        columns["host"] = _same(self.host, len(events))
        story = _rows(views, "story", ("event_id", *STORY), where, ids)
        columns |= _of_all(views, where, columns, story)
        files = _rows(views, "files", ("event_id", *LISTS["files"]), where, ids)
        paths, files = paired(events, events["paths"].combine_chunks(), files)
        columns["paths"] = paths
        columns["story"] = _story(story, ids)
        for view, names in LISTS.items():
            kind = schema().field(view).type.value_type
            if view == "logins":
                columns[view] = listed(_logins(views, events), ids, kind, _OF)
            elif view == "files":
                columns[view] = listed(files, ids, kind)
            elif view not in _OF_WIDE:
                rows = _rows(views, view, ("event_id", *names), where, ids)
                columns[view] = listed(rows, ids, kind)
        given = [each for each in schema() if each.name in columns]
        return pa.table([columns[each.name].cast(each.type) for each in given], pa.schema(given))


def _of_all(
    views: Views, where: Where, columns: dict[str, pa.ChunkedArray], story: pa.Table
) -> dict[str, pa.ChunkedArray]:
    """Give what `all_events` says beside the other views; of a call that is what `story` says."""
    ids = columns["event_id"]
    names = ("event_id", *OF_ALL, *_OF_LONE)
    lone = _rows(views, "all_events", names, where.also(f"NOT {_IS_CALL}"), ids)
    calls = story.select(("event_id", "outcome")).filter(
        pc.invert(pc.is_in(story["event_id"], value_set=lone["event_id"].combine_chunks()))
    )
    calls = calls.append_column("kind", pa.repeat(pa.scalar("call"), len(calls)))
    rows = pa.concat_tables([lone, calls], promote_options="default").combine_chunks()
    places = pc.index_in(ids, value_set=rows["event_id"].combine_chunks())
    found = {name: pc.take(rows[name], places) for name in (*OF_ALL, *_OF_LONE)}
    return found | {name: pc.coalesce(columns[name], found[name]) for name in _OF_LONE}


def _condition(connection: Connection, ids: Sequence[int]) -> Where:
    """Give a condition that holds for each of these ids, and for few others.

    One range is mostly enough, and the text for that is always the same (`Where`).
    """
    if arrivals.count(connection, ids[0], ids[-1]) <= len(ids) + _OTHERS:
        return Where("(v.event_id BETWEEN :low0 AND :high0)", {"low0": ids[0], "high0": ids[-1]})
    single: list[int] = []
    texts: list[str] = []
    values: dict[str, int | str] = {}
    for low, high in arrivals.ranges(connection, ids):
        if low == high:
            single.append(low)
        else:
            number = len(texts)
            texts.append(f"v.event_id BETWEEN :low{number} AND :high{number}")
            values |= {f"low{number}": low, f"high{number}": high}
    if single:
        texts.append(f"v.event_id IN ({', '.join(map(str, single))})")
    return Where(f"({' OR '.join(texts)})", values)


def _rows(
    views: Views, view: str, columns: Sequence[str], where: Where, ids: pa.ChunkedArray
) -> pa.Table:
    """Give the rows of a view that belong to these events, in the order of ids."""
    return _only(read_where(views, view, columns, where), ids.combine_chunks())


def _only(rows: pa.Table, ids: pa.Array) -> pa.Table:
    if not len(rows) or rows["event_id"].combine_chunks().equals(ids):
        return rows
    is_wanted = pc.is_in(rows["event_id"], value_set=ids)
    if pc.all(is_wanted, min_count=0).as_py():  # mostly: then nothing is copied
        return rows
    return rows.filter(is_wanted).combine_chunks()


def _story(rows: pa.Table, ids: pa.ChunkedArray) -> pa.Array:
    kind = schema().field("story").type
    parts = [rows[each.name].cast(each.type).combine_chunks() for each in kind]
    made = pa.StructArray.from_arrays(parts, fields=list(kind))
    places = pc.index_in(ids.combine_chunks(), value_set=rows["event_id"].combine_chunks())
    return made.take(places)


def _logins(views: Views, events: pa.Table) -> pa.Table:
    """Give the rows of `logins` that begin, are told of or end with these events: the first, `_OF`.

    The view looks at all sessions of the store, so it is asked only if there can be any.
    """
    ids = events["event_id"].combine_chunks()
    told = events["records"].combine_chunks().flatten().field("type")
    where = Where("1 = 0")
    if any(_has(types, _LOGINS) for types in (events["type"], told)):
        low, high = pc.min(ids).as_py(), pc.max(ids).as_py()
        text = " OR ".join(f"v.{name} BETWEEN :low AND :high" for name in _LOGIN_IDS)
        where = Where(text, {"low": low, "high": high})
    rows = read_where(views, "logins", LISTS["logins"], where)
    of = pc.coalesce(*(_within(rows[name], ids) for name in _LOGIN_IDS))
    return rows.append_column(_OF, of).filter(pc.is_valid(of)).sort_by(_OF).combine_chunks()


def _has(types: pa.Array | pa.ChunkedArray, wanted: Sequence[str]) -> bool:
    return bool(pc.any(pc.is_in(types, value_set=pa.array(wanted))).as_py())


def _within(column: pa.ChunkedArray, ids: pa.Array) -> pa.ChunkedArray:
    return pc.if_else(pc.is_in(column, value_set=ids), column, None)


def _same(value: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), count)
