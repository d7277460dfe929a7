"""Rows of the store's views in the form that the archive's files have, and back.

The form leaves out what other columns say: the arguments of a call as hexadecimal text, and
sentences that are just those of their parts; `all_events` has only events without a call, and
`syscalls` the `outcome` that `all_events` says of a call. `shown` gives the SQL (DuckDB's)
that makes the view's columns of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.archive.views import COUNTED, LASTING, SEEN, STORE_ONLY, Ids, field, order_of
from auditsvc.arrow.columns import TIME
from auditsvc.arrow.rows import columns_of
from auditsvc.arrow.where import Where
from auditsvc.decode.batch import MAX_ERRNO
from auditsvc.store.views.sentence import COLUMNS as SENTENCE_COLUMNS
from auditsvc.store.views.sentence import kept, sentence

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

    from auditsvc.arrow.view_rows import Views

OUTCOME: Final = "outcome"
_HEX: Final = tuple(f"a{n}" for n in range(4))
CALL: Final = ("arch", "nr")
"""By which calls are counted beside what `activity` shows."""
_KEYS: Final = ("host", "exe", "comm", "auid", "uid", "key", "syscall", "success", *CALL)


def stored_columns(view: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Give the columns of a view's files, of those of the view."""
    if view == "syscalls":
        return (*(name for name in columns if name not in _HEX), OUTCOME)
    if view == COUNTED:
        return (*columns, *CALL)
    return (*columns, SEEN) if view in LASTING else tuple(columns)


def needed(view: str, columns: Collection[str]) -> set[str]:
    """Give the stored columns of which some columns of a view are made."""
    found = {f"{name}_number" if view == "syscalls" and name in _HEX else name for name in columns}
    if view == "story" and "sentence" in found:
        found |= set(SENTENCE_COLUMNS)
    return found


def shown(view: str, column: str) -> str:
    """Give the SQL of a view's column, of the stored ones: with the types that SQLite has."""
    if view == "syscalls" and column in _HEX:
        return f"lower(hex({column}_number))"
    if view == "story" and column == "sentence":
        return kept()
    kind = field(view, column).type
    if kind == TIME:
        return f"strftime({column}, '%Y-%m-%d %H:%M:%S.%g')"
    return f"CAST({column} AS BIGINT)" if kind == pa.bool_() else f'"{column}"'


def read_view(views: Views, view: str, columns: Sequence[str], ids: Ids) -> pa.Table:
    """Give rows of a view, of events with these ids, with these stored columns."""
    where = within = Where(
        "v.event_id >= :low AND v.event_id <= :high", {"low": ids.low, "high": ids.high}
    )
    if view in STORE_ONLY:
        where = Where("true")
    elif view in LASTING:
        where = Where(_lasting(view, ids))
    elif view == "all_events":
        where = where.also("v.kind <> 'call'")
    rows = read_where(views, view, columns, where)
    if view == "syscalls" and OUTCOME in columns:
        rows = rows.append_column(OUTCOME, _outcomes(views, within, rows["event_id"]))
    return rows


def read_where(views: Views, view: str, columns: Sequence[str], where: Where) -> pa.Table:
    """Give rows of a view under a condition; without what `_outcomes` adds to calls."""
    values = {name: f'v."{name}"' for name in columns if name not in (OUTCOME, SEEN)}
    if view != "syscalls" and OUTCOME in columns:
        values[OUTCOME] = "v.outcome"
    if view == "story" and "sentence" in values:
        values["sentence"] = f"CASE WHEN sentence <> {sentence()} THEN sentence END"
    fields = [field(view, name) for name in values]
    return views.rows(view, values, fields, where, order_of(view))


def _outcomes(views: Views, where: Where, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give the outcomes of calls, which `story` and `all_events` say alike."""
    rows = read_where(views, "story", ("event_id", OUTCOME), where)
    places = pc.index_in(ids, value_set=rows["event_id"].combine_chunks())
    return pc.take(rows[OUTCOME], places)


def _lasting(view: str, ids: Ids) -> str:
    """Give the condition for what began, changed or ended in these days."""
    first, last = ids.seconds
    if view == "logins":
        within = f"BETWEEN {ids.low:d} AND {ids.high:d}"
        return f"v.event_id {within} OR v.end_event_id {within}"
    return (
        # One reading for all processes: with EXISTS, SQLite reads all signs for each of them.
        "(v.host, v.pid) IN (SELECT h.name, x.pid FROM process_sign x"  # noqa: S608 - ours
        " JOIN host h ON h.id = x.host"
        f" WHERE x.at >= {first * 1000:d} AND x.at < {(last + 1) * 1000:d})"
    )


def columns_by_view(connection: Connection, views: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Give the columns of views."""
    return {view: columns_of(connection, view) for view in views}


def count_calls(calls: pa.Table) -> pa.Table:
    """Count calls as `activity` does: by hour and who made them; `calls` are of `syscalls`."""
    errno = pc.if_else(
        pc.fill_null(
            pc.and_(
                pc.equal(calls["success"], pa.scalar(value=False)),
                pc.and_(pc.less(calls["exit"], 0), pc.greater_equal(calls["exit"], -MAX_ERRNO)),
            ),
            pa.scalar(value=False),
        ),
        pc.negate(calls["exit"]),
        pa.scalar(None, pa.int64()),
    )
    hours = pc.strftime(pc.floor_temporal(calls["time"], unit="hour"), "%Y-%m-%d %H:00:00")
    keyed = pa.table(
        [hours, *(calls[name] for name in _KEYS), errno], names=["hour", *_KEYS, "errno"]
    )
    counted = keyed.group_by(keyed.column_names).aggregate([([], "count_all")])
    return counted.rename_columns([*keyed.column_names, "calls"])


def added(counts: Sequence[pa.Table]) -> pa.Table:
    """Add counts of calls."""
    both = pa.concat_tables(counts)
    keys = [name for name in both.column_names if name != "calls"]
    found = both.group_by(keys).aggregate([("calls", "sum")]).rename_columns([*keys, "calls"])
    return found.sort_by([(name, "ascending") for name in ("hour", "exe", "nr")])


CALL_COLUMNS: Final = ("event_id", "time", "exit", *_KEYS)
"""Of `syscalls`, for `count_calls`."""
