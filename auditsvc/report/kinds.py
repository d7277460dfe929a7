"""The events without a call of a time, those that are alike together: read once for many sums.

    kinds = Kinds(reader)
    source = kinds.source(choice)    # in the place of `event`, or None

A row has the columns of its events that sums are made of, their number `n`, and the least `id` of
an hour. Where there are many kinds, as where each event has fields of its own, nothing is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auditsvc.decode.ids import SERIAL_BITS

if TYPE_CHECKING:
    from auditsvc.report.choice import Choice
    from auditsvc.report.reader import Reader

COLUMNS: Final = ("fields", "auid", "uid", "host", "type")
"""What a row has of its events."""
_SHOWN: Final = (*COLUMNS, "n", "id")
_MOST: Final = 2000
"""Different fields up to which it is worth it."""
_MOST_ROWS: Final = 5000


class Kinds:
    """Keeps them, by time, within one transaction."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._kept: dict[tuple[int, int], list[tuple[Any, ...]] | None] = {}

    def source(self, choice: Choice, with_others: str, *, plain: bool) -> str | None:
        """Give the rows of a time as a FROM clause without alias; None: they are not kept.

        `with_others` selects the ids of events that are left out if `plain`.
        """
        key = choice.span.low, choice.span.high
        if key not in self._kept:
            self._kept[key] = self._read(choice, with_others)
        rows = self._kept[key]
        if rows is None:
            return None
        kept = [row[:-1] for row in rows if not (plain and row[-1])]
        shown = ", ".join(
            f"CAST(column{n} AS bigint) AS {name}" for n, name in enumerate(_SHOWN, start=1)
        )
        # Without a row, one that the condition leaves out.
        values = ", ".join(
            f"({', '.join('NULL' if each is None else str(int(each)) for each in row)})"
            for row in kept or [(0,) * len(_SHOWN)]
        )
        return f"(SELECT {shown} FROM (VALUES {values}) v WHERE column6 > 0)"  # noqa: S608 - numbers alone

    def _read(self, choice: Choice, with_others: str) -> list[tuple[Any, ...]] | None:
        where = " AND ".join(["1 = 1", *choice.times("x.id")])
        few = f"SELECT DISTINCT x.fields FROM event x WHERE {where} LIMIT {_MOST + 1}"  # noqa: S608 - ours
        (number,) = self._reader.one(f"SELECT count(*) FROM ({few}) f", choice.values)  # noqa: S608 - ours
        if number > _MOST:
            return None
        # By an expression of the type: SQLite would read the rows by its index on the type.
        columns = ", ".join(f"x.{name}" if name != "type" else "+x.type" for name in COLUMNS)
        others = f"CASE WHEN x.id IN ({with_others}) THEN 1 ELSE 0 END"
        hour = f"(x.id >> {SERIAL_BITS}) / 3600"
        sql = (
            f"SELECT {columns}, count(*), min(x.id), {others} FROM event x WHERE {where}"  # noqa: S608 - ours
            f" GROUP BY {hour}, {columns}, {others}"
        )
        found = list(self._reader.rows(sql, choice.values))
        return found if len(found) <= _MOST_ROWS else None
