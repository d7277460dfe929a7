"""Compares the lake's rows of this host with those of its store, event for event.

    compare_store(settings, report)     # adds to `auditsvc.fleet.verify.Report`

What is looked up beside an event (names, processes, units; logins and accesses that ended later)
is as it was when it was shipped, and is not compared. What the views make of an event is another
thing in another revision of the store: of a batch that was made with one only what the records say
is a finding, and a note says how many events differ in the rest. Events that arrived after the
newest batch are not in the lake yet, and are counted. Older events than the first one of the store
are left out: retention may have deleted them there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.events import last_id
from auditsvc.arrow.reach import Reach
from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.errors import FleetError
from auditsvc.evidence.store_facts import identity_in
from auditsvc.fleet.lake import explained, open_table
from auditsvc.fleet.names import BATCH, ROW_TYPES
from auditsvc.fleet.rows import Source
from auditsvc.fleet.scan import Scan
from auditsvc.fleet.schema import OF_PATH, RECORDED, schema
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.migrate import current_revision
from auditsvc.store.read.time_span import ALL, END, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.config import Settings
    from auditsvc.fleet.verify import Report
    from auditsvc.store.database import Database

_AT_ONCE: Final = 4096
_MOST: Final = (END << SERIAL_BITS) | SERIAL_MASK
"""The highest id that an event can have."""
_NAMED: Final = 20
_LOOKED_UP: Final = frozenset(
    {
        *("batch", "version", "process_id", "parent_exe", "parent_argv", "unit", "container"),
        *(f"{name}_name" for name in ("auid", "uid", "gid", "euid", "egid")),
        *("logins", "access", "partial_reason"),
    }
)
_AS_RECORDED: Final = frozenset(
    {"event_id", "host", "store", "node", *RECORDED, "paths", "sockaddrs", "records"}
)
"""Columns that are the same whatever revision the store has; of a path all but `OF_PATH`."""


def compare_store(settings: Settings, report: Report) -> None:
    """Compare; FleetError if the lake has nothing of this store, StoreError."""
    with open_store(settings.store, create=False, read=True) as store:
        with reading(store.database) as connection:
            identity = identity_in(connection)
            revision = current_revision(connection)
        with explained(settings.fleet):
            scan = Scan(open_table(settings.fleet))
            source = Source(store.database, settings.host, identity)
            others = _of_other_revisions(scan, settings.host, identity, revision)
            found = False
            waiting = differing = told_otherwise = 0
            for low, high, ids in _parts(store.database):
                mine = {
                    row["event_id"]: row
                    for table in source.tables(ids)
                    for row in table.to_pylist()
                }
                theirs = _shipped(scan, settings.host, identity, low, high)
                found = found or bool(theirs)
                for event, row in mine.items():
                    other = theirs.pop(event, None)
                    if other is None:
                        waiting += 1
                        continue
                    wrong = _differing(row, other)
                    if wrong and other["batch"] in others and not _differing_records(row, other):
                        wrong = ""
                        told_otherwise += 1
                    if not wrong:
                        report.compared += 1
                    else:
                        differing += 1
                        if differing <= _NAMED:
                            report.findings.append(
                                f"event {event} has another {wrong} in the lake than in the store"
                            )
                report.findings += [
                    f"event {each} is in the lake and not in the store" for each in theirs
                ][:_NAMED]
            if not found:
                raise FleetError(
                    f"the lake has no event of this store ({settings.host}, {identity[:8]})",
                    "give the host's name (--host, AUDITSVC_HOST) and its store",
                )
    if differing > _NAMED:
        report.findings.append(f"... {differing - _NAMED} more events")
    report.notes += _notes(waiting, told_otherwise)


def _notes(waiting: int, told_otherwise: int) -> Iterator[str]:
    if told_otherwise:
        yield (
            f"of {told_otherwise} events the records are the same, and views say something else:"
            " they were shipped by another version of the program"
        )
    if waiting:
        yield f"{waiting} events of the store are not in the lake yet"


def _parts(database: Database) -> Iterator[tuple[int, int, list[int]]]:
    """Give ranges of ids with the events in them, from the store's first event on."""
    low, after = None, -1
    while True:
        with reading(database) as connection:
            last = last_id(connection, after, _MOST, _AT_ONCE)
            if last is None:
                yield after + 1, _MOST, []
                return
            within = f"id > {after:d} AND id <= {last:d}"
            found = connection.exec_driver_sql(
                f"SELECT id FROM syscall WHERE {within} UNION ALL SELECT id FROM event"  # noqa: S608 - ours
                f" WHERE {within}"
            )
            ids = sorted(int(row[0]) for row in found)
        # What is older than the first event may have gone by retention.
        low = ids[0] if low is None else after + 1
        yield low, last, ids
        after = last


def _shipped(scan: Scan, host: str, store: str, low: int, high: int) -> dict[int, dict[str, Any]]:
    """Give the rows of the lake with these ids: of the versions the last."""
    span = Span(low >> SERIAL_BITS, min(high >> SERIAL_BITS, END))
    rows = scan.rows(Reach(span, host))
    wanted = (
        (pc.field("host") == host)
        & (pc.field("store") == store)
        & (pc.field("event_id") >= low)
        & (pc.field("event_id") <= high)
    )
    found: dict[int, dict[str, Any]] = {}
    for row in rows.to_table(filter=wanted).to_pylist():
        known = found.get(row["event_id"])
        if known is None or row["version"] >= known["version"]:
            found[row["event_id"]] = row
    return {event: row for event, row in found.items() if row["type"] not in ROW_TYPES}


def _differing(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Name the first column in which two rows differ; "" if there is none."""
    for each in schema():
        name = str(each.name)
        if name not in _LOOKED_UP and _plain(mine.get(name), each) != _plain(theirs[name], each):
            return name
    return ""


def _differing_records(mine: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether two rows differ in what the records of their event say."""
    both = [{name: row.get(name) for name in _AS_RECORDED} for row in (mine, theirs)]
    for row in both:
        row["paths"] = [
            {name: value for name, value in path.items() if name not in OF_PATH}
            for path in row["paths"] or ()
        ]
    return any(
        _plain(both[0][each.name], each) != _plain(both[1][each.name], each)
        for each in schema()
        if each.name in _AS_RECORDED - _LOOKED_UP
    )


def _plain(value: Any, column: pa.Field) -> Any:
    """Give a value as it is compared: an empty list is none, and a user's name is looked up."""
    if column.name == "story" and value is not None:
        return _without_who(value)
    return value or None if pa.types.is_list(column.type) else value


def _without_who(story: dict[str, Any]) -> dict[str, Any]:
    """Give what a story says without its users, whose names may have become known later."""
    actor, as_user, text = story["actor"], story["as_user"], story["sentence"]
    who = actor if as_user in (None, actor) else f"{actor} as {as_user}"
    return story | {
        "actor": None,
        "as_user": as_user is None,
        "sentence": text if text is None else text.removeprefix(who or ""),
    }


def _of_other_revisions(scan: Scan, host: str, store: str, revision: str | None) -> set[int]:
    """Give the batches that were made with another revision of the store than it has now."""
    wanted = (pc.field("host") == host) & (pc.field("store") == store)
    rows = scan.rows(Reach(ALL, host)).to_table(
        ["batch", "fields"], filter=wanted & (pc.field("type") == BATCH)
    )
    return {
        row["batch"]
        for row in rows.to_pylist()
        if json.loads(row["fields"]).get("revision") != revision
    }
