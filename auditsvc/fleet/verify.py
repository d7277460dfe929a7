"""Holds what the lake has of each host to what the host said, and its heads to each other.

    report = verify_lake(settings.fleet)            # FleetError
    compare_store(settings, report)                 # the rows of this host's store, value by value

Each batch has a row of its own with what the host says of it, and the newest head of the host's
evidence when it was made (`auditsvc.fleet.names`). Compared are, for each (host, store):

* the batches: 1 to the watermark, each once; of each as many rows as it says, and in all as many
  events as the host says that it shipped;
* the heads, in the order of their batches: each signed by its key, of the host that shipped it and
  of its store; none lies before an earlier one; the same number is the same head; a head that
  follows just on the one before has its digest, and the key that it announced;
* objects in the inbox with the number of a batch that the table has: another one means that the
  host made that batch anew, and went back on its word.

What it does not show: rows whose values who may write the table has changed (`compare_store` does,
as long as the store has these events), and what lies between two heads of the lake (`heads_of`
gives them to `auditsvc verify --head` on the host).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from auditsvc.arrow.reach import EVERYTHING
from auditsvc.evidence.head import Head, parse_head
from auditsvc.fleet.inbox import Inbox
from auditsvc.fleet.lake import Mark, explained, open_table, watermarks
from auditsvc.fleet.names import BATCH, GONE, KEPT_FROM, batch_of
from auditsvc.fleet.scan import Scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pyarrow import dataset

    from auditsvc.config import FleetSettings

_FEW: Final = ["host", "store", "event_id", "batch", "version", "type"]


class Source(NamedTuple):
    """A host's store."""

    host: str
    store: str

    def __str__(self) -> str:
        return f"{self.host} ({self.store[:8]})"


@dataclass(slots=True)
class Report:
    """The result."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is no finding, but limits what is proved."""
    sources: int = 0
    batches: int = 0
    heads: int = 0
    linked: int = 0
    """Heads that follow just on the one before them."""
    events: int = 0
    compared: int = 0
    """Events whose rows were compared with those of the store."""

    @property
    def is_proved(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@dataclass(slots=True)
class _Counted:
    """Rows of one batch in the table."""

    events: int = 0
    again: int = 0
    gone: int = 0


def verify_lake(settings: FleetSettings, hosts: Sequence[str] = ()) -> Report:
    """Verify what the lake has of all hosts, or of some; FleetError."""
    with explained(settings):
        table = open_table(settings)
        marks = watermarks(table)
        rows = Scan(table).rows(EVERYTHING)
        report = verify_rows(rows, marks, hosts, table.properties.get(KEPT_FROM, ""))
        if settings.bucket is None:
            report.notes.append("the inbox was not looked at: fleet.bucket is not set")
        else:
            report.findings += _made_anew(Inbox(settings), rows, marks, hosts)
    return report


def verify_rows(
    rows: dataset.Dataset,
    marks: Mapping[tuple[str, str], Mark],
    hosts: Sequence[str] = (),
    kept_from: str = "",
) -> Report:
    """Verify wide rows with their watermarks; `kept_from`: the first day that is not deleted."""
    report = Report()
    told, counted = _told(rows), _counted(rows)
    sources = {Source(*key) for key in (*marks, *told)}
    for source in sorted(sources):
        if hosts and source.host not in hosts:
            continue
        report.sources += 1
        batches = told.get(source, {})
        mark = marks.get((source.host, source.store), Mark())
        _check_batches(
            report, source, batches, counted.get(source, {}), mark, is_pruned=bool(kept_from)
        )
        _check_heads(report, source, batches)
    return report


def heads_of(rows: dataset.Dataset, hosts: Sequence[str] = ()) -> list[str]:
    """Give the heads that the lake has, a line each, in the order of their batches."""
    found: dict[str, None] = {}
    for source, batches in sorted(_told(rows).items()):
        if hosts and source.host not in hosts:
            continue
        for n in sorted(batches):
            for each in batches[n]:
                found |= {str(each["head"]): None} if each.get("head") else {}
    return list(found)


def lake_heads(settings: FleetSettings, hosts: Sequence[str] = ()) -> list[str]:
    """Give the heads of the lake; FleetError."""
    with explained(settings):
        return heads_of(Scan(open_table(settings)).rows(EVERYTHING), hosts)


def _told(rows: dataset.Dataset) -> dict[Source, dict[int, list[dict[str, Any]]]]:
    """Give what each batch says of itself; more than one row is more than one batch."""
    wanted = ["host", "store", "batch", "fields"]
    found: dict[Source, dict[int, list[dict[str, Any]]]] = {}
    for row in rows.to_table(wanted, filter=pc.field("type") == BATCH).to_pylist():
        of = found.setdefault(Source(row["host"], row["store"]), {})
        of.setdefault(row["batch"], []).append(json.loads(row["fields"]))
    return found


def _counted(rows: dataset.Dataset) -> dict[Source, dict[int, _Counted]]:
    """Count the rows of each batch in the table."""
    found: dict[Source, dict[int, _Counted]] = {}
    for part in rows.to_batches(_FEW, filter=pc.field("type") != BATCH):
        table = pa.table(part)
        kind = pc.if_else(pc.equal(table["version"], 0), "events", "again")
        kind = pc.if_else(pc.equal(pc.coalesce(table["type"], ""), GONE), "gone", kind)
        grouped = table.append_column("row", kind).group_by(["host", "store", "batch", "row"])
        for row in grouped.aggregate([([], "count_all")]).to_pylist():
            of = found.setdefault(Source(row["host"], row["store"]), {})
            counts = of.setdefault(row["batch"], _Counted())
            setattr(counts, row["row"], getattr(counts, row["row"]) + row["count_all"])
    return found


def _check_batches(
    report: Report,
    source: Source,
    told: Mapping[int, Sequence[Mapping[str, Any]]],
    counted: Mapping[int, _Counted],
    mark: Mark,
    *,
    is_pruned: bool,
) -> None:
    first = min(told, default=mark.n + 1) if is_pruned else 1
    if first > 1:
        what = f"{source}: batches before {first} are of days that were deleted"
        report.notes.append(what)
    fewer = 0
    for n in sorted({*range(first, mark.n + 1), *told, *counted} - set(range(1, first))):
        found, rows = told.get(n, []), counted.get(n, _Counted())
        if not found or len(found) > 1:
            times = "missing" if not found else f"there {len(found)} times"
            report.findings.append(f"{source}: batch {n} is {times}")
            continue
        if n > mark.n:
            report.findings.append(f"{source}: batch {n} is behind the watermark {mark.n}")
        report.batches += 1
        report.events += rows.events
        for words, has, says in _differing(found[0], rows):
            if has < says and is_pruned:
                fewer += 1
            else:
                report.findings.append(f"{source}: batch {n} has {has} {words} and says {says}")
    if fewer:
        report.notes.append(f"{source}: {fewer} batches had events of days that were deleted")
    if mark.events != mark.told:
        what = f"{source}: {mark.events} events are committed, and {mark.told} were shipped"
        report.findings.append(what)


def _differing(told: Mapping[str, Any], rows: _Counted) -> Iterator[tuple[str, int, int]]:
    """Give what a batch has another number of than it says: words, has, says."""
    # Without the events that the store had no more when the batch was made.
    says = int(told.get("events", 0)) - int(told.get("missing", 0))
    for words, has, wanted in (
        ("events", rows.events, says),
        ("later versions", rows.again, int(told.get("again", 0))),
        ("taken back", rows.gone, int(told.get("gone", 0))),
    ):
        if has != wanted:
            yield words, has, wanted


def _check_heads(
    report: Report, source: Source, told: Mapping[int, Sequence[Mapping[str, Any]]]
) -> None:
    last: Head | None = None
    without = 0
    for n in sorted(told):
        text = str(told[n][0].get("head") or "")
        if not text:
            without += 1
            continue
        try:
            head = parse_head(text)
        except ValueError:
            report.findings.append(f"{source}: batch {n} has a head that cannot be read")
            continue
        report.heads += 1
        what = _wrong(source, head) or (_went_back(last, head) if last is not None else "")
        if what:
            report.findings.append(f"{source}: the head of batch {n} {what}")
        elif last is not None and head.n == last.n + 1:
            report.linked += 1
        last = head
    if without:
        report.notes.append(f"{source}: {without} of {len(told)} batches have no head")


def _wrong(source: Source, head: Head) -> str:
    """Say what is wrong with a head alone; "" if nothing is."""
    if not head.is_signed():
        return "is not signed by its key"
    identity = head.store.get("identity")
    if identity is not None and identity != source.store:
        return f"is of another store ({str(identity)[:8]})"
    return f"tells that the log was altered: {head.broken}" if head.broken else ""


def _went_back(last: Head, head: Head) -> str:
    """Say how a head goes back on an earlier one; "" if it does not."""
    if head.spool != last.spool:
        return "is of another spool: the chain before it was given up"
    if head.n == last.n:
        return "" if head.digest() == last.digest() else f"is another one with number {head.n}"
    if head.n < last.n:
        return f"has number {head.n}, after one with {last.n}"
    if (head.segment, head.end) < (last.segment, last.end):
        return "is of an earlier place in the log than the one before it"
    if head.n == last.n + 1 and (head.previous != last.digest() or head.key != last.next):
        return "does not follow on the one before it: another digest, or another key"
    return ""


def _made_anew(
    inbox: Inbox, rows: dataset.Dataset, marks: Mapping[tuple[str, str], Mark], hosts: Iterable[str]
) -> list[str]:
    """Name batches that the table has, and that wait in the inbox as others."""
    told, found = _told(rows), []
    wanted = set(hosts)
    for name in inbox.names():
        batch = batch_of(name)
        if batch is None or (wanted and batch[0] not in wanted):
            continue
        source, n = Source(*batch[:2]), batch[2]
        known = told.get(source, {}).get(n)
        if known is None or n > marks.get(batch[:2], Mark()).n:
            continue
        data = inbox.get(name)
        if data is not None and _id_in(data) != known[0].get("id"):
            found.append(f"{source}: batch {n} was made anew, and is another one: {name}")
    return found


def _id_in(data: bytes) -> object:
    try:
        metadata = parquet.read_schema(io.BytesIO(data)).metadata or {}
        return json.loads(metadata[b"auditsvc.batch"]).get("id")
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None
