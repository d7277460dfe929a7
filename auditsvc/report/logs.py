"""The report on logs: for each source the time of its first and its last event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.report.values import time_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.report.reader import Reader
    from auditsvc.report.values import Value

COLUMNS: Final = ("source", "kind", "first", "last")
_SPOOL: Final = "spool"


def logs(reader: Reader) -> Iterator[tuple[Value, ...]]:
    """Give each source of which there are events; those of spools together."""
    ranges = list(reader.rows("SELECT o.low, o.high, o.source FROM origin o ORDER BY o.low"))
    ends: dict[int | None, tuple[int, int]] = {}
    for low, high, source in ranges:
        first, last = ends.get(source, (low, high))
        ends[source] = min(first, low), max(last, high)
    names = {row[0]: row[1:] for row in reader.rows("SELECT s.id, s.kind, s.name FROM source s")}
    spools = sorted(name for kind, name in names.values() if kind == _SPOOL)
    own = _own(reader, [(low, high) for low, high, _ in ranges])
    if own is not None:
        yield ", ".join(spools) or None, _SPOOL, _time(reader, own[0]), _time(reader, own[1])
    for source, (low, high) in sorted(ends.items(), key=lambda item: item[1]):
        kind, name = names.get(source, (None, None))
        yield name, kind, _time(reader, low), _time(reader, high)


def _own(reader: Reader, ranges: list[tuple[int, int]]) -> tuple[int, int] | None:
    """Give the first and the last event that are in no range: those of spools."""
    first = _next(reader, -1, 1)
    for low, high in ranges:
        if first is None or first < low:
            break
        if first <= high:
            first = _next(reader, high, 1)
    last = _next(reader, (1 << 63) - 1, -1)
    for low, high in reversed(ranges):
        if last is None or last > high:
            break
        if last >= low:
            last = _next(reader, low, -1)
    return None if first is None or last is None else (first, last)


def _next(reader: Reader, event_id: int, step: int) -> int | None:
    """Give the event after an id, or before it."""
    which, compared = ("min", ">") if step > 0 else ("max", "<")
    found = [
        each
        for table in ("syscall", "event")
        for each in reader.one(
            f"SELECT {which}(t.id) FROM {table} t WHERE t.id {compared} :id",  # noqa: S608 - ours
            {"id": event_id},
        )
        if each is not None
    ]
    return (min if step > 0 else max)(found) if found else None


def _time(reader: Reader, event_id: int) -> Value:
    """Give an event's time; its second if the store has it no more."""
    for table in ("syscall", "event"):
        sql = f"SELECT t.ms FROM {table} t WHERE t.id = :id"  # noqa: S608 - ours
        for (ms,) in reader.rows(sql, {"id": event_id}):
            return time_of(event_id, ms)
    return time_of(event_id, 0)[:-4]
