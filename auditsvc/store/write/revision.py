"""Rows that are replaced by others, because more of their log is known.

Lines at the end of a log, or at the beginning of one whose predecessor is loaded later, may
belong to incomplete events. Their rows are stored nevertheless, so that they can be queried;
once more is known, the same lines give other rows. A `Seam` has both. Rows that are in both
stay. Of the others, the earlier ones are deleted if they are still as they were stored: rows
that were merged with other records meanwhile stay, and the new rows are merged into them like
any others. The caller makes sure that the new rows have everything that deleted ones had.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from auditsvc.decode import ids
from auditsvc.decode.batch import Batch, Facts, Row
from auditsvc.store import schema
from auditsvc.store.write.stored_event import RECORD, Event, by_event, hang, load, write_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditsvc.store.write.sources import Source
    from auditsvc.store.write.stored_event import Piece, Reader

_PLACES: Final = 4
"""Of an event's way (`auditsvc.store.write.deduplicate`), where it is looked for."""

RawLine = tuple[int, bytes, str]
"""Position in its source, line, reason."""


@dataclass(frozen=True, slots=True)
class Seam:
    """The rows that some lines of a source gave before, and those that they give now."""

    source: int
    """Id of the source."""
    old: Batch
    new: Batch
    old_origin: int = 0
    """Position in the source to which the offsets of `old.raw` are relative."""
    new_origin: int = 0
    is_shown_only: bool = False
    """True for records that are counted as open: raw lines and duplicates of it count nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """The new checkpoint and counts of another source."""

    before: Source
    after: Source
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Revision:
    """What is written together with a batch, in its transaction."""

    seams: list[Seam] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of a seam: rows to delete, and rows to insert."""

    seam: Seam
    gone: list[Event]
    coming: Batch
    """Its facts are those of the new rows that were not there before; no raw lines."""
    raw_gone: list[RawLine]
    raw_coming: list[RawLine]


def difference(seam: Seam) -> Difference:
    """Leave out the rows that are both in the earlier and in the new ones."""
    before, now = _events(seam.old), _events(seam.new)
    gone = _less(before, now)
    coming = _less(now, before)
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    weights: defaultdict[str, list[int]] = defaultdict(list)
    for event in coming:
        write_rows(event, rows)
        weights[event.table].append(event.weight)
    raw_gone: list[RawLine] = []
    raw_coming: list[RawLine] = []
    if not seam.is_shown_only:
        old, new = _raw(seam.old, seam.old_origin), _raw(seam.new, seam.new_origin)
        raw_gone = list((Counter(old) - Counter(new)).elements())
        raw_coming = list((Counter(new) - Counter(old)).elements())
    batch = replace(
        seam.new, facts=Facts(rows, weights, seam.new.facts.claimed), raw=[], packed=None
    )
    return Difference(seam, gone, batch, raw_gone, raw_coming)


def stored_as_they_were(events: Sequence[Event], read: Reader) -> list[int]:
    """Give the ids of the events that are in the store with the same content as here."""
    places = {}
    for event in events:
        place = event.id
        places[id(event)] = [place]
        for _ in range(_PLACES - 1):
            place = ids.next_event_id(place)
            places[id(event)].append(place)
    wanted = {place for each in places.values() for place in each}
    there = {event.id: event for event in load(read, sorted(wanted))} if wanted else {}
    found: dict[int, None] = {}
    for event in events:
        for place in places[id(event)]:
            if place in there and place not in found and _is_same(there[place], event):
                found[place] = None
                break
    return list(found)


def _events(batch: Batch) -> list[Event]:
    facts, weights = batch.facts, batch.facts.weights
    events = [
        Event(table.name, row, weight)
        for table in (schema.syscall, schema.event)
        for row, weight in zip(facts.get(table.name, ()), weights.get(table.name, ()), strict=True)
    ]
    hang(facts, by_event(events))
    return events


def _less(events: Sequence[Event], others: Sequence[Event]) -> list[Event]:
    """Give the events that are not among the others, counting repeated ones."""
    there = Counter(map(_content, others))
    left = []
    for event in events:
        content = _content(event)
        if there[content]:
            there[content] -= 1
        else:
            left.append(event)
    return left


def _is_same(one: Event, other: Event) -> bool:
    return one.second == other.second and _content(one)[1:] == _content(other)[1:]


def _content(event: Event) -> tuple[object, ...]:
    """Give an event's content, its id first; the order of records is not compared."""
    pieces = tuple(sorted(event.pieces, key=_kind))
    return event.row[0], event.table, event.row[1:], event.argv, pieces


def _kind(piece: Piece) -> tuple[str, int]:
    number = piece.content[0]
    return piece.table, number if piece.table == RECORD and isinstance(number, int) else 0


def _raw(batch: Batch, origin: int) -> list[RawLine]:
    return [(origin + offset, line, reason) for offset, line, reason in batch.raw]
