"""The events without a call of a time, those that are alike together: read once for many sums.

    kinds = Kinds(reader)
    source = kinds.source(choice, of=types)    # in the place of `event`, or None

A row has the columns of its events that sums are made of, their number `n`, and the least `id` of
an hour, or of all. Where there are very many kinds, as where each event has fields of its own,
nothing is kept.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.report.dialect import SQLITE
from auditsvc.store.read.time_span import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auditsvc.report.choice import Choice
    from auditsvc.report.reader import Reader
    from auditsvc.report.types import Types

COLUMNS: Final = ("fields", "auid", "uid", "host", "type")
"""What a row has of its events."""
_TYPE: Final = COLUMNS.index("type")
_SHOWN: Final = (*COLUMNS, "n", "id")
_HOUR: Final = 3600
_MOST_HOURS: Final = 48
"""Hours that are read one by one: SQLite sorts many rows faster in small parts."""
_MOST: Final = 10_000
"""Different fields up to which it is worth it."""
_MOST_ROWS: Final = 20_000


class Kinds:
    """Keeps them, by time, within one transaction."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._kept: dict[tuple[int, int], list[tuple[Any, ...]] | None] = {}

    def source(
        self,
        choice: Choice,
        with_others: str,
        *,
        plain: bool,
        hours: bool = False,
        of: Types | None = None,
    ) -> str | None:
        """Give the rows of a time as a FROM clause without alias; None: they are not kept.

        `with_others` selects the ids of events that are left out if `plain`. `hours`: a row is of
        one hour. `of`: rows of other types may be left out.
        """
        rows = self._rows(choice, with_others)
        if rows is None:
            return None
        kept: Iterable[tuple[Any, ...]] = (
            row[:-1] for row in rows if not (plain and row[-1]) and (of is None or row[_TYPE] in of)
        )
        if not hours:
            kept = _together(kept)
        shown = ", ".join(
            f"CAST(column{n} AS bigint) AS {name}" for n, name in enumerate(_SHOWN, start=1)
        )
        # Without a row, one that the condition leaves out.
        values = ", ".join(
            f"({', '.join('NULL' if each is None else str(int(each)) for each in row)})"
            for row in list(kept) or [(0,) * len(_SHOWN)]
        )
        return f"(SELECT {shown} FROM (VALUES {values}) v WHERE column6 > 0)"  # noqa: S608 - numbers alone

    def by_hour(self, choice: Choice, with_others: str) -> Counter[int] | None:
        """Count the events of each hour (since 1970) of a time; None: they are not kept."""
        rows = self._rows(choice, with_others)
        if rows is None:
            return None
        found: Counter[int] = Counter()
        for *_, number, first, _ in rows:
            found[(first >> SERIAL_BITS) // _HOUR] += number
        return found

    def _rows(self, choice: Choice, with_others: str) -> list[tuple[Any, ...]] | None:
        key = choice.span.low, choice.span.high
        if key not in self._kept:
            self._kept[key] = self._read(choice, with_others)
        return self._kept[key]

    def _read(self, choice: Choice, with_others: str) -> list[tuple[Any, ...]] | None:
        where = " AND ".join(["1 = 1", *choice.times("x.id")])
        few = f"SELECT DISTINCT x.fields FROM event x WHERE {where} LIMIT {_MOST + 1}"  # noqa: S608 - ours
        (number,) = self._reader.one(f"SELECT count(*) FROM ({few}) f", choice.values)  # noqa: S608 - ours
        if number > _MOST:
            return None
        found: list[tuple[Any, ...]] = []
        for part in self._parts(choice):
            found += self._read_part(part, with_others)
            if len(found) > _MOST_ROWS:
                return None
        return found

    def _parts(self, choice: Choice) -> Iterator[Choice]:
        """Give the hours of a choice, or all of it where that is not faster."""
        first, last = choice.span.low // _HOUR, choice.span.high // _HOUR
        if self._reader.dialect is not SQLITE or last - first >= _MOST_HOURS:
            yield choice
            return
        for hour in range(first, last + 1):
            yield choice.within(Span(hour * _HOUR, (hour + 1) * _HOUR - 1))

    def _read_part(self, choice: Choice, with_others: str) -> Iterator[tuple[Any, ...]]:
        where = " AND ".join(["1 = 1", *choice.times("x.id")])
        # By an expression of the type: SQLite would read the rows by its index on the type.
        columns = ", ".join(f"x.{name}" if name != "type" else "+x.type" for name in COLUMNS)
        others = f"CASE WHEN x.id IN ({with_others}) THEN 1 ELSE 0 END"
        hour = f"(x.id >> {SERIAL_BITS}) / {_HOUR}"
        sql = (
            f"SELECT {columns}, count(*), min(x.id), {others} FROM event x WHERE {where}"  # noqa: S608 - ours
            f" GROUP BY {hour}, {columns}, {others}"
        )
        yield from self._reader.rows(sql, choice.values)


def _together(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Give the rows of all hours that are alike as one, with the least id."""
    found: dict[tuple[Any, ...], tuple[int, int]] = {}
    for *columns, number, first in rows:
        alike = tuple(columns)
        others, least = found.get(alike, (0, first))
        found[alike] = others + number, min(first, least)
    yield from ((*alike, *last) for alike, last in found.items())
