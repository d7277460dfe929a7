"""The lists of the overview that come after the page: new addresses, logins, denials, changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from auditsvc.arrow.reach import Reach
from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.search.dialect import literal
from auditsvc.search.sources import is_of_hosts
from auditsvc.store.read.events import second_text
from auditsvc.store.read.time_span import Span
from auditsvc.web.asking import Table
from auditsvc.web.rare import newest_changes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditsvc.search.sources import Source
    from auditsvc.web.asking import Asking
    from auditsvc.web.overview import Narrowed
    from auditsvc.web.period import Period

PARTS: Final = {
    "new-programs": ("New programs, against the week before", ""),
    "new-addresses": ("New addresses, against the week before", ""),
    "logins": (
        "Logins",
        (
            "SELECT {}, time, kind, coalesce(account, '') AS account, auid,"
            " address, terminal, how_ended FROM logins{} ORDER BY event_id DESC"
        ),
    ),
    "denials": (
        "Denials",
        (
            "SELECT {}, time, mechanism, permission, object, comm, auid FROM denials{}"
            " ORDER BY event_id DESC"
        ),
    ),
    "changes": ("Changes", ""),
}
"""Lists that come after the page, as they take longer: title and SQL."""
NEW_PROGRAMS: Final = "new-programs"
"""Where there are several hosts; elsewhere it is one of the lists of the page."""
_MOST_OF_PART: Final = 12
NEW_ADDRESSES: Final = "new-addresses"
CHANGES: Final = "changes"
_CONNECTIONS: Final = 20_000
"""Newest uses of an address that are looked at for new ones."""
_CANDIDATES: Final = 400
_AT_ONCE: Final = 100
_WEEK: Final = 7 * 86400
_SHARE: Final = 32
"""The newest part of a time is so much shorter, and asking for it first costs so much less."""


def of(source: Source | None) -> tuple[str, ...]:
    """Name the lists of a page, in their order."""
    return tuple(name for name in PARTS if is_of_hosts(source) or name != NEW_PROGRAMS)


def part(asking: Asking, name: str, period: Period, narrowed: Narrowed) -> Table:
    """Give the rows of one of `PARTS`."""
    if asking.is_of_hosts and name in _NEW:
        return _new_in_fleet(asking, period, narrowed, _NEW[name])
    if name == NEW_ADDRESSES:
        return new_addresses(asking, period)
    if name == CHANGES:
        return newest_changes(asking, period, narrowed, _MOST_OF_PART)
    if asking.source is None:
        found = _rows(asking, name, _newest(asking, period.span), narrowed, shown=False)
        if found.more:
            asking.access.rows += len(found.rows)
            return found
    return _rows(asking, name, period.span, narrowed)


def _rows(
    asking: Asking, name: str, span: Span, narrowed: Narrowed, *, shown: bool = True
) -> Table:
    conditions = span.conditions + narrowed.on_views()
    sql = PARTS[name][1].format(", ".join(asking.key), _where(conditions))
    within = narrowed.within(span)
    return asking.rows(f"{sql} LIMIT {_MOST_OF_PART + 1}", _MOST_OF_PART, within, shown=shown)


def _newest(asking: Asking, span: Span) -> Span:
    """Give the newest part of the time that has events.

    A view finds all rows of a time before it gives the newest: of hundreds of thousands that takes
    seconds, and a list shows a dozen. Where this part has fewer, the whole time is asked.
    """
    last = (span.high << SERIAL_BITS) | SERIAL_MASK  # fits where the next number need not
    of_span = f"id BETWEEN {span.low << SERIAL_BITS} AND {last}"
    ends = [
        f"SELECT {end}(id) AS id FROM {table} WHERE {of_span}"  # noqa: S608 - numbers
        for end in ("min", "max")
        for table in ("syscall", "event")
    ]
    sql = f"SELECT min(id), max(id) FROM ({' UNION ALL '.join(ends)}) ends"  # noqa: S608 - as above
    ((low, high),) = asking.rows(sql, 1, shown=False).rows
    if low is None:
        return span
    oldest, newest = int(low) >> SERIAL_BITS, int(high) >> SERIAL_BITS
    return Span(newest - (newest - oldest) // _SHARE, span.high)


_NEW: Final = {
    NEW_PROGRAMS: ("syscalls", "exe", "exe IS NOT NULL"),
    NEW_ADDRESSES: ("sockaddrs", "address", "family IN ('inet', 'inet6') AND address IS NOT NULL"),
}
"""Lists of what is new: the view, its column, and the condition on its rows."""


def _new_in_fleet(
    asking: Asking, period: Period, narrowed: Narrowed, new: tuple[str, str, str]
) -> Table:
    """Give values that no host had in the seven days before: where first, and on how many hosts.

    `new`: one of `_NEW`.
    """
    view, column, which = new
    low = period.span.low
    before = Span(max(0, low - _WEEK), low - 1).conditions if low else ["1 = 0"]
    now = [which, *(period.span.conditions or ["event_id >= 0"]), *narrowed.on_views("host")]
    sql = (
        f"SELECT min(event_id) AS event_id, arg_min(host, event_id) AS host,"  # noqa: S608 - numbers, literals
        f" arg_min(store, event_id) AS store, {column}, count(*) AS uses,"
        f" count(DISTINCT host) AS hosts FROM {view} WHERE {' AND '.join(now)}"
        f" AND {column} NOT IN (SELECT {column} FROM {view} WHERE {' AND '.join([which, *before])})"
        f" GROUP BY {column} ORDER BY 1 DESC LIMIT {_MOST_OF_PART + 1}"
    )
    within = Reach(Span(max(0, low - _WEEK), period.span.high))  # of all hosts, for the week
    found = asking.rows(sql, _MOST_OF_PART, within)
    rows = [(*row[:2], second_text(int(row[0]) >> SERIAL_BITS), *row[2:]) for row in found.rows]
    columns = ("event_id", "first host", "time", *found.columns[2:])
    return replace(found, columns=columns, rows=rows)


def new_addresses(asking: Asking, period: Period) -> Table:
    """Give the addresses of a period that the seven days before did not have, newest first."""
    within = period.span.conditions or ["event_id >= 0"]
    recent = (
        "SELECT address, max(event_id) AS event_id, count(*) AS uses"  # noqa: S608 - numbers
        " FROM (SELECT address, family, event_id FROM sockaddrs"
        f" WHERE {' AND '.join(within)} ORDER BY event_id DESC LIMIT {_CONNECTIONS}) AS newest"
        " WHERE family IN ('inet', 'inet6') GROUP BY address ORDER BY 2 DESC"
    )
    rows = asking.rows(recent, _CANDIDATES, shown=False).rows
    low = period.span.low
    before = Span(max(0, low - _WEEK), low - 1).conditions if low else ["1 = 0"]
    new: list[tuple[Any, ...]] = []
    for at in range(0, len(rows), _AT_ONCE):
        some = rows[at : at + _AT_ONCE]
        asked = " UNION ALL ".join(
            f"SELECT {value} AS address WHERE EXISTS (SELECT 1 FROM sockaddrs"  # noqa: S608 - literals
            f" WHERE address = {value} AND {' AND '.join(before)})"
            for value in (literal(str(row[0])) for row in some)
        )
        known = {str(row[0]) for row in asking.rows(asked, shown=False).rows}
        new += [row for row in some if str(row[0]) not in known]
        if len(new) > _MOST_OF_PART:
            break
    shown_rows = [(row[1], second_text(int(row[1]) >> SERIAL_BITS), row[0], row[2]) for row in new]
    found = shown_rows[:_MOST_OF_PART]
    asking.access.rows += len(found)
    columns = ("event_id", "time", "address", "uses")
    return Table(columns, found, len(new) > len(found))


def _where(conditions: Iterable[str]) -> str:
    found = " AND ".join(conditions)
    return f" WHERE {found}" if found else ""
