"""The first page: calls by hour and outcome, who and what made them, and what is new.

All of it is counted by the view `activity`, whose size does not grow with the calls. The same
page narrowed to a program, a user, a call or a key is the history of that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.errors import UsageError
from auditsvc.host.accounts import user_name
from auditsvc.search.dialect import literal
from auditsvc.store.read.events import second_text
from auditsvc.store.read.time_span import Span
from auditsvc.web.asking import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from auditsvc.web.asking import Asking
    from auditsvc.web.period import Period

HISTORIES: Final = {"exe": "/what?program", "auid": "/who?user"}
"""Pages of one value of a column."""
TEXTS: Final = ("exe", "comm", "syscall", "key", "host")
NUMBERS: Final = ("auid", "uid")
_TOP: Final = 10
_SEARCHED: Final = {
    "exe": "executable",
    "comm": "comm",
    "syscall": "syscall",
    "key": "key",
    "host": "node",
    "auid": "loginuid",
    "uid": "uid",
}
"""Names of the same conditions on the page of events."""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What the page is narrowed to: a value of each column that the address names."""

    values: dict[str, str]

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Narrowed:
        """Read an address; UsageError if a number is none."""
        values = {name: params[name] for name in (*TEXTS, *NUMBERS) if params.get(name)}
        for name in NUMBERS:
            value = values.get(name, "unset")
            if value != "unset" and not (value.isascii() and value.isdecimal() and len(value) < 11):
                raise UsageError(f"{name}={value}: not a number", "give digits, or `unset`")
        return cls(values)

    def conditions(self) -> list[str]:
        """Give the conditions on the columns of `activity`."""
        found = []
        for name, value in self.values.items():
            if value == "unset" and name in NUMBERS:
                found.append(f"{name} IS NULL")
            else:
                found.append(f"{name} = {value if name in NUMBERS else literal(value)}")
        return found

    def address(self, period: Period, **more: str) -> str:
        """Give the address of this page with further conditions."""
        return f"/?{urlencode(period.words | self.values | more)}"

    def events(self, period: Period, **more: str) -> str:
        """Give the address of the events."""
        found = {_SEARCHED.get(name, name): each for name, each in (self.values | more).items()}
        whole = {"word": "1"} if found.keys() & {"executable", "comm", "key"} else {}
        return f"/events?{urlencode(period.words | found | whole)}"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a list: what it is called, its share in percent, and where it leads."""

    text: str
    calls: int
    share: int
    address: str
    events: str
    key: str = ""
    """The value as an address has it."""


@dataclass(frozen=True, slots=True)
class Top:
    """A list of the most frequent values."""

    title: str
    lines: tuple[Line, ...]
    more: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Hours:
    """Calls by hour (seconds since 1970): all, and those that failed."""

    hours: tuple[int, ...]
    calls: tuple[int, ...]
    failed: tuple[int, ...]

    @property
    def total(self) -> int:
        """All calls."""
        return sum(self.calls)

    @property
    def total_failed(self) -> int:
        """Calls that failed."""
        return sum(self.failed)

    def rows(self) -> Iterable[tuple[str, int, int]]:
        """Give the hours as a table has them."""
        times = (second_text(each)[:-3] for each in self.hours)
        return zip(times, self.calls, self.failed, strict=True)


def hours(asking: Asking, period: Period, narrowed: Narrowed) -> Hours:
    """Count the calls of each hour."""
    where = _where([*period.hours(), *narrowed.conditions()])
    sql = f"SELECT hour, success, sum(calls) FROM activity{where} GROUP BY hour, success"  # noqa: S608 - literals
    calls: dict[int, int] = {}
    failed: dict[int, int] = {}
    for hour, success, count in asking.rows(sql).rows:
        second = _second(hour)
        calls[second] = calls.get(second, 0) + int(count)
        if success is not None and not success:
            failed[second] = failed.get(second, 0) + int(count)
    known = tuple(sorted(calls))
    return Hours(
        known, tuple(calls[each] for each in known), tuple(failed.get(each, 0) for each in known)
    )


def tops(asking: Asking, period: Period, narrowed: Narrowed) -> list[Top]:
    """Give the lists."""
    where = [*period.hours(), *narrowed.conditions()]
    false = f"success = {asking.dialect.false}"

    def top(title: str, column: str, conditions: list[str], **more: str) -> Top:
        return _Lists(asking, period, narrowed).top(title, column, conditions, more)

    found = [
        top("Programs", "exe", where),
        top("Login users", "auid", where),
        top("Calls", "syscall", where),
        top("Calls that failed", "syscall", [*where, false], success="no"),
        top("Keys of rules", "key", [*where, "key IS NOT NULL"]),
    ]
    if "exe" not in narrowed.values:
        before = _where([*period.week_before(), "exe IS NOT NULL"])
        new = [*where, f"exe NOT IN (SELECT exe FROM activity{before})"]  # noqa: S608 - literals
        note = "Programs that made no call in the seven days before."
        found.append(replace(top("New programs", "exe", new), note=note))
    return found


def top_of(asking: Asking, period: Period, narrowed: Narrowed, column: str) -> Top:
    """Give the most frequent values of one column."""
    where = [*period.hours(), *narrowed.conditions(), f"{column} IS NOT NULL"]
    return _Lists(asking, period, narrowed).top("", column, where, {})


@dataclass(frozen=True, slots=True)
class _Lists:
    """Makes lists of one page."""

    asking: Asking
    period: Period
    narrowed: Narrowed

    def top(self, title: str, column: str, conditions: list[str], more: Mapping[str, str]) -> Top:
        """Make one; `more`: what its events must have beside the page's conditions."""
        sql = (
            f"SELECT {column}, sum(calls) FROM activity{_where(conditions)}"  # noqa: S608 - literals
            f" GROUP BY {column} ORDER BY 2 DESC, 1 LIMIT {_TOP + 1}"
        )
        rows = self.asking.rows(sql, _TOP)
        most = max((int(row[1]) for row in rows.rows), default=1) or 1
        lines = tuple(self._line(column, row[0], int(row[1]), most, more) for row in rows.rows)
        return Top(title, lines, rows.more)

    def _line(
        self, column: str, value: Any, calls: int, most: int, more: Mapping[str, str]
    ) -> Line:
        key = "unset" if value is None and column in NUMBERS else value
        address = events = ""
        if key is not None:
            found = {column: str(key)}
            address = self.narrowed.address(self.period, **found)
            events = self.narrowed.events(self.period, **found, **more)
        share = max(1, round(calls * 100 / most))
        return Line(shown(column, value), calls, share, address, events, str(key or ""))


def shown(column: str, value: Any) -> str:
    """Write a value for a person: a user with the name that this host knows."""
    if value is None:
        return "nobody logged in" if column == "auid" else "not known"
    if column in NUMBERS:
        name = user_name(int(value))
        return f"{name} ({value})" if name else str(value)
    return str(value)


def _where(conditions: Iterable[str]) -> str:
    found = " AND ".join(conditions)
    return f" WHERE {found}" if found else ""


def _second(hour: Any) -> int:
    if isinstance(hour, datetime):
        return int(hour.timestamp())
    return int(datetime.fromisoformat(str(hour)).replace(tzinfo=UTC).timestamp())


PARTS: Final = {
    "new-addresses": ("New addresses, against the week before", ""),
    "logins": (
        "Logins",
        (
            "SELECT event_id, time, kind, coalesce(account, '') AS account, auid,"
            " address, terminal, how_ended FROM logins{} ORDER BY event_id DESC"
        ),
    ),
    "denials": (
        "Denials",
        (
            "SELECT event_id, time, mechanism, permission, object, comm, auid FROM denials{}"
            " ORDER BY event_id DESC"
        ),
    ),
    "changes": (
        "Changes",
        (
            "SELECT event_id, time, what, action, object, outcome, auid, how FROM changes{}"
            " ORDER BY event_id DESC"
        ),
    ),
}
"""Lists that come after the page, as they take longer: title and SQL."""
_MOST_OF_PART: Final = 12
NEW_ADDRESSES: Final = "new-addresses"
_CONNECTIONS: Final = 20_000
"""Newest uses of an address that are looked at for new ones."""
_CANDIDATES: Final = 400
_AT_ONCE: Final = 100
_WEEK: Final = 7 * 86400


def part(asking: Asking, name: str, period: Period, narrowed: Narrowed) -> Table:
    """Give the rows of one of `PARTS`."""
    if name == NEW_ADDRESSES:
        return new_addresses(asking, period)
    conditions = period.span.conditions
    conditions += [each for each in narrowed.conditions() if each.startswith(("auid ", "host "))]
    sql = PARTS[name][1].format(_where(conditions))
    return asking.rows(f"{sql} LIMIT {_MOST_OF_PART + 1}", _MOST_OF_PART)


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
    known: set[str] = set()
    for at in range(0, len(rows), _AT_ONCE):
        asked = " UNION ALL ".join(
            f"SELECT {value} AS address WHERE EXISTS (SELECT 1 FROM sockaddrs"  # noqa: S608 - literals
            f" WHERE address = {value} AND {' AND '.join(before)})"
            for value in (literal(str(row[0])) for row in rows[at : at + _AT_ONCE])
        )
        known.update(str(row[0]) for row in asking.rows(asked, shown=False).rows)
    new = [row for row in rows if str(row[0]) not in known]
    shown_rows = [(row[1], second_text(int(row[1]) >> SERIAL_BITS), row[0], row[2]) for row in new]
    found = shown_rows[:_MOST_OF_PART]
    asking.access.rows += len(found)
    columns = ("event_id", "time", "address", "uses")
    return Table(columns, found, len(new) > len(found))
