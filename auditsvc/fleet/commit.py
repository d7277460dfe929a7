"""The committer: batches of the inbox into the table, rows and watermark in one commit.

    committer = Committer(settings.fleet)
    while committer.step(): ...             # FleetError

Any number of them may run. Each loads the table, takes of each store the batches that follow its
watermark, without a gap, and commits on condition that nobody else has committed meanwhile. If
somebody has, nothing of it counts: it looks again, with the watermarks as they are then. The
catalog's client must never append by itself once more (`lake.NO_RETRY`).

A batch that is not what its name says is not taken, and what follows it of that store waits: the
watermark says why (`refused`). An object with a number that is in the table already is deleted if
it is that batch; if it is another, the host went back on its word: it stays, and is told.
"""

from __future__ import annotations

import io
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet
from pyiceberg.expressions import And, EqualTo

from auditsvc.fleet.append import append_rows
from auditsvc.fleet.inbox import Inbox
from auditsvc.fleet.lake import (
    NO_RETRY,
    Mark,
    check_table,
    explained,
    is_conflict,
    open_table,
    watermarks,
)
from auditsvc.fleet.names import BATCH, batch_of, watermark_of
from auditsvc.fleet.packed import is_packed, packed_schema, unpacked, with_lists
from auditsvc.fleet.schema import SORT, schema
from auditsvc.store.read.time_span import END

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditsvc.config import FleetSettings

_MOST_ROWS: Final = 1_000_000
"""Rows of one commit, about: they are in memory together."""
_MOST_FILES: Final = 500
_PAUSE: Final = 0.2
"""Seconds after a conflict, at most, times the number of conflicts in a row."""
_MOST_PAUSE: Final = 5.0
_MICRO: Final = 1_000_000
_UNTOLD: Final = (ValueError, TypeError, KeyError, RecursionError)
"""What reading the JSON of somebody else can raise."""

Key = tuple[str, str]
"""Host and store."""


class Refused(NamedTuple):
    """An object that is not taken."""

    name: str
    why: str


class _Taken(NamedTuple):
    """A batch that is to be committed."""

    name: str
    rows: pa.Table
    told: Mapping[str, Any]


@dataclass(slots=True)
class Done:
    """What committers of this process did."""

    commits: int = 0
    conflicts: int = 0
    batches: int = 0
    rows: int = 0


class Committer:
    """Commits what waits in the inbox."""

    def __init__(
        self, settings: FleetSettings, *, shards: Sequence[str] = (), inbox: Inbox | None = None
    ) -> None:
        """`shards`: only these parts of the inbox."""
        self.done = Done()
        self.refused: list[Refused] = []
        """What the last step left in the inbox, and why."""
        self._settings = settings
        self._shards = shards
        self._inbox = Inbox(settings) if inbox is None else inbox
        with explained(settings):
            self._table = open_table(settings)
        self._conflicts = 0

    def step(self) -> bool:
        """Commit some batches, or clear the inbox; gives whether there may be more to do."""
        names = self._names()
        if not names:
            self.refused = []
            return False
        with explained(self._settings):
            self._table.refresh()
        check_table(self._table)
        marks = watermarks(self._table)
        self.refused = []
        taken = self._take(names, marks)
        self._clear(names, marks)
        if not taken:
            return False
        return self._commit(taken, marks)

    # --- what waits -----------------------------------------------------------------------

    def _names(self) -> dict[Key, dict[int, str]]:
        found: dict[Key, dict[int, str]] = {}
        for name in self._inbox.names(self._shards):
            if (batch := batch_of(name)) is not None:
                host, store, n = batch
                found.setdefault((host, store), {})[n] = name
        return found

    def _take(
        self, names: Mapping[Key, Mapping[int, str]], marks: Mapping[Key, Mark]
    ) -> dict[Key, list[_Taken]]:
        """Read the batches that follow the watermarks, some of each store."""
        taken: dict[Key, list[_Taken]] = {}
        rows = files = 0
        following = {key: marks.get(key, Mark()).n + 1 for key in names}
        waiting = [key for key in names if following[key] in names[key]]
        random.shuffle(waiting)  # so that several committers do not begin with the same
        while waiting and rows < _MOST_ROWS and files < _MOST_FILES:
            for key in list(waiting):
                found = self._read(key, following[key], names[key][following[key]])
                if found is not None:
                    taken.setdefault(key, []).append(found)
                    rows, files = rows + len(found.rows), files + 1
                following[key] += 1
                if found is None or following[key] not in names[key]:
                    waiting.remove(key)
                if rows >= _MOST_ROWS:
                    break
        return taken

    def _read(self, key: Key, n: int, name: str) -> _Taken | None:
        """Read a batch; None if it is not there any more, or not what its name says."""
        data = self._inbox.get(name)
        if data is None:
            return None  # another committer was quicker
        try:
            rows, told = _checked(data, key, n)
        except ValueError as error:
            self.refused.append(Refused(name, str(error)))
            return None
        return _Taken(name, rows, told)

    def _clear(self, names: Mapping[Key, Mapping[int, str]], marks: Mapping[Key, Mark]) -> None:
        """Delete what is in the table: a committer ended before it did."""
        for key, batches in names.items():
            mark = marks.get(key, Mark())
            for n in sorted(batches):
                if n > mark.n:
                    if n == min(batches) and n != mark.n + 1:
                        self.refused.append(Refused(batches[n], f"batch {mark.n + 1} is missing"))
                    continue
                data = self._inbox.get(batches[n])
                if data is None:
                    continue
                if _id_of(data) in (mark.id if n == mark.n else self._id_in_table(key, n), None):
                    self._inbox.delete([batches[n]])
                else:
                    self.refused.append(Refused(batches[n], "the table has another batch with it"))

    def _id_in_table(self, key: Key, n: int) -> str:
        host, store = key
        wanted = {"host": host, "store": store, "event_id": -n}
        where = And(*(EqualTo(*each) for each in wanted.items()))  # type: ignore[arg-type, call-arg]
        with explained(self._settings):
            found = self._table.scan(row_filter=where, selected_fields=("fields",)).to_arrow()
        texts = found["fields"].to_pylist()
        return str(json.loads(texts[0]).get("id", "")) if texts else ""

    # --- the commit -----------------------------------------------------------------------

    def _commit(self, taken: Mapping[Key, Sequence[_Taken]], marks: Mapping[Key, Mark]) -> bool:
        """Commit; if somebody else has committed meanwhile, nothing is done, and it looks again."""
        batches = [each for key in sorted(taken) for each in taken[key]]
        rows = _in_order([each.rows for each in batches])
        properties = {
            watermark_of(*key): _moved(marks.get(key, Mark()), several).text()
            for key, several in taken.items()
        }
        self._table.metadata.properties.update(NO_RETRY)
        try:
            with explained(self._settings), self._table.transaction() as transaction:
                append_rows(transaction, self._table, rows)
                transaction.set_properties(properties)
        except Exception as error:
            if not is_conflict(error):
                raise
            # Known or not: the watermarks say what holds.
            self.done.conflicts += 1
            self._conflicts += 1
            time.sleep(random.uniform(0, min(_MOST_PAUSE, _PAUSE * self._conflicts)))  # noqa: S311
            return True
        self._conflicts = 0
        self.done.commits += 1
        self.done.batches += len(batches)
        self.done.rows += len(rows)
        self._inbox.delete(each.name for each in batches)
        return True


def _in_order(tables: Sequence[pa.Table]) -> pa.Table:
    """Give the rows in the order of the table; mostly they have it, and moving them is dear."""
    parts: list[pa.Table] = []
    for _, group in groupby(tables, lambda each: each["host"][0].as_py()):
        batches = list(group)  # the row of each batch itself comes before all events
        parts += [each.slice(0, 1) for each in reversed(batches)]
        parts += [each.slice(1) for each in batches if len(each) > 1]
    rows = pa.concat_tables(parts)
    ends = [
        tuple(each[name][place].as_py() for place in (0, -1) for name in SORT) for each in parts
    ]
    if all(map(_is_ordered, parts)) and all(one[2:] <= other[:2] for one, other in pairwise(ends)):
        return rows
    return rows.sort_by([(name, "ascending") for name in SORT])


def _is_ordered(rows: pa.Table) -> bool:
    """Whether the rows of a host are in the order of their ids."""
    steps = pc.pairwise_diff(rows["event_id"].combine_chunks())
    return bool(pc.all(pc.greater(steps, 0), min_count=0).as_py())


def _checked(data: bytes, key: Key, n: int) -> tuple[pa.Table, Mapping[str, Any]]:
    """Read a batch; ValueError if it is not what its name says."""
    host, store = key
    rows = _rows_of(data)
    for name, value in (("host", host), ("store", store), ("batch", n)):
        if not pc.all(pc.equal(rows[name], value), skip_nulls=False).as_py():
            raise ValueError(f"it has rows whose {name} is not that of its name")
    ids = rows["event_id"]
    if ids.null_count or rows["time"].null_count or len(pc.unique(ids)) != len(rows):
        raise ValueError("it has an event twice, or one without an id or a time")
    own = pc.index(ids, -n).as_py()
    if own < 0 or rows["type"][own].as_py() != BATCH or pc.sum(pc.less(ids, 0)).as_py() != 1:
        raise ValueError("it does not have the one row that tells what it is")
    try:
        told = json.loads(rows["fields"][own].as_py())
        told |= {name: int(told[name]) for name in ("n", "events", "missing")}
        told |= {"made": float(told.get("made", 0)), "ledger": _totals(told.get("ledger", {}))}
    except (*_UNTOLD, AttributeError, OverflowError) as error:
        raise ValueError("what it tells of itself cannot be read") from error
    times = pc.min_max(rows["time"].cast(pa.int64())).as_py()
    if not (0 <= told["made"] <= END and times["min"] >= 0 and times["max"] < (END + 1) * _MICRO):
        raise ValueError("it has a time that no event can have")
    if told["n"] != n:
        raise ValueError(f"it says that it is batch {told['n']}")
    return rows, told


def _rows_of(data: bytes) -> pa.Table:
    """Give the rows of a batch, with the columns of the table; ValueError."""
    try:
        found = with_lists(parquet.read_table(io.BytesIO(data)))
        wanted = packed_schema() if is_packed(found.column_names) else schema()
        columns = [
            found[each.name].cast(each.type)
            if each.name in found.column_names
            else pa.nulls(len(found), each.type)
            for each in wanted
        ]
        rows = pa.table(columns, wanted)
        if wanted != schema():
            rows = unpacked(rows)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"it cannot be read: {str(error)[:200]}") from error
    if unknown := set(found.column_names) - set(wanted.names):
        raise ValueError(f"it is of a newer program: column {min(unknown)}")
    return rows


def _id_of(data: bytes) -> str | None:
    """Give a batch's own id; "" if it cannot be read, None if it has no events."""
    try:
        metadata = parquet.read_schema(io.BytesIO(data)).metadata or {}
        told = json.loads(metadata[b"auditsvc.batch"])
        return str(told["id"]) if told["events"] or told["again"] or told["gone"] else None
    except (pa.ArrowException, OSError, *_UNTOLD):
        return ""


def _moved(mark: Mark, batches: Sequence[_Taken]) -> Mark:
    """Give a watermark with some batches more."""
    for each in batches:
        told, is_event = each.told, pc.greater_equal(each.rows["event_id"], 0)
        first = pc.and_(is_event, pc.equal(each.rows["version"], 0))
        newest = pc.max(each.rows["time"].filter(is_event)).cast(pa.int64()).as_py()
        mark = replace(
            mark,
            n=int(told["n"]),
            id=str(told.get("id", "")),
            events=mark.events + (pc.sum(first).as_py() or 0) + told["missing"],
            told=mark.told + told["events"],
            rows=mark.rows + len(each.rows),
            made=told["made"],
            newest=max((m for m in (mark.newest, _milli(newest)) if m is not None), default=None),
            ledger=told["ledger"],
        )
    return mark


def _milli(micro: int | None) -> int | None:
    return None if micro is None else micro // 1000


def _totals(ledger: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for counts in ledger.values():
        found.update({cause: int(count) for cause, count in counts.items()})
    return dict(sorted(found.items()))
