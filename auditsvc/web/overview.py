"""The first page: calls by hour and outcome, who and what made them, and what is new.

All of it is of the counts by hour (`auditsvc.web.counts`), whose size does not grow with the
calls. The same page narrowed to a program, a user, a call or a key is the history of that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from auditsvc.arrow.reach import Reach
from auditsvc.errors import UsageError
from auditsvc.host.accounts import user_name
from auditsvc.search.dialect import literal
from auditsvc.store.read.events import second_text
from auditsvc.web.counts import CALL, HOST, HOUR, Counts, call_names, names_of, programs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from auditsvc.search.dialect import Dialect
    from auditsvc.store.read.time_span import Span
    from auditsvc.web.asking import Asking
    from auditsvc.web.period import Period

HISTORIES: Final = {"exe": "/what?program", "auid": "/who?user"}
"""Pages of one value of a column."""
TEXTS: Final = ("exe", "comm", "syscall", "key", "host")
NUMBERS: Final = ("auid", "uid")
_TOP: Final = 10
_NAMED: Final = 5000
"""Values of a column whose names are looked up, the most frequent first."""
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

    def only(self, *names: str) -> Narrowed:
        """Give it without the conditions on other columns."""
        return Narrowed({name: self.values[name] for name in names if name in self.values})

    def on_activity(self, asking: Asking) -> list[str]:
        """Give the conditions on the columns of `activity_row`."""
        if asking.source is not None:
            return self.on_views(*self.values)
        return [_condition(name, value, asking.dialect) for name, value in self.values.items()]

    def within(self, span: Span) -> Reach:
        """Give what a question of views asks for at most, of the events of a time."""
        return Reach(span, self.values.get("host"))

    def on_views(self, *names: str) -> list[str]:
        """Give the conditions on columns of views; those that each view of events has."""
        found = []
        for name in names or ("auid", "host"):
            value = self.values.get(name)
            if value == "unset" and name in NUMBERS:
                found.append(f"{name} IS NULL")
            elif value is not None:
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


def counts_of(asking: Asking, period: Period, narrowed: Narrowed) -> tuple[Hours, list[Top]]:
    """Count the calls of each hour, and make the lists."""
    where, host = narrowed.on_activity(asking), narrowed.values.get("host")
    counts = Counts.of(asking, period.counted, where, host=host)
    lists = _Lists(asking, period, narrowed, counts)
    found = [
        lists.top("Programs", "exe"),
        lists.top("Login users", "auid"),
        lists.top("Calls", CALL),
        lists.top("Calls that failed", CALL, failed=True),
        lists.top("Keys of rules", "key", known=True),
    ]
    if asking.is_of_hosts:
        found.insert(0, lists.top("Hosts", HOST))
    elif "exe" not in narrowed.values:
        before = programs(asking, period.week_before)
        note = "Programs that made no call in the seven days before."
        found.append(replace(lists.top("New programs", "exe", known=True, but=before), note=note))
    return _hours(asking, counts), found


def _hours(asking: Asking, counts: Counts) -> Hours:
    known = tuple(sorted(hour for hour, count in counts.hours.items() if count.calls))
    asking.access.rows += len(known)
    return Hours(
        tuple(hour * HOUR for hour in known),
        tuple(counts.hours[hour].calls for hour in known),
        tuple(counts.hours[hour].failed for hour in known),
    )


def top_of(asking: Asking, period: Period, column: str) -> Top:
    """Give the most frequent values of a user or program."""
    counts = Counts.of(asking, period.counted, calls=False)
    return _Lists(asking, period, Narrowed({}), counts).top("", column, known=True)


@dataclass(frozen=True, slots=True)
class _Lists:
    """Makes lists of one page."""

    asking: Asking
    period: Period
    narrowed: Narrowed
    counts: Counts

    def top(
        self,
        title: str,
        column: str,
        *,
        failed: bool = False,
        known: bool = False,
        but: Collection[int] = (),
    ) -> Top:
        """Make one, of failed calls alone, of known values alone, or without some values."""
        found: dict[Any, int] = {}
        counted = self.counts.values[column].items()
        some = {
            value: each.failed if failed else each.calls
            for value, each in counted
            if value not in but
        }
        named = self._named(column, {value: calls for value, calls in some.items() if calls})
        for value, calls in named:
            if not known or value is not None:
                found[value] = found.get(value, 0) + calls
        ordered = sorted(found.items(), key=lambda each: (-each[1], _order(each[0])))
        most = ordered[0][1] if ordered else 1
        more = {"success": "no"} if failed else {}
        name = "syscall" if column == CALL else column
        lines = tuple(self._line(name, *each, most, more) for each in ordered[:_TOP])
        self.asking.access.rows += len(lines)
        return Top(title, lines, len(ordered) > _TOP)

    def _named(self, column: str, calls: Mapping[Any, int]) -> Iterator[tuple[Any, int]]:
        """Give the values that ids stand for: None is none, or an unknown one."""
        if column == "auid":
            yield from ((None if value == -1 else value, n) for value, n in calls.items())
            return
        most = sorted(calls, key=lambda value: -calls[value])[:_NAMED]
        names = (call_names if column == CALL else names_of)(self.asking, most)
        yield from ((names.get(value), calls[value]) for value in most)

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
        # Names of users are those of this host: of other hosts only numbers are known here.
        named = value is None or not self.asking.is_of_hosts
        text = shown(column, value) if named else str(value)
        return Line(text, calls, share, address, events, str(key or ""))


def _order(value: Any) -> tuple[bool, Any]:
    """Order numbers, or texts, and what is not known after them."""
    return value is None, "" if value is None else value


def _condition(name: str, value: str, dialect: Dialect) -> str:
    """Give the condition on a column of `activity_row` that it has a value."""
    if name in NUMBERS:
        return f"{name} = {-1 if value == 'unset' else int(value)}"
    said = literal(value)
    if name == "syscall":
        return f"(arch, nr) IN (SELECT arch, nr FROM syscall_name WHERE name = {said})"  # noqa: S608 - a literal
    if name == "host":
        return f"host IN (SELECT id FROM host WHERE name = {said})"  # noqa: S608 - a literal
    indexed = dialect.store.indexed.format("t")
    return f"{name} IN (SELECT t.id FROM text t WHERE t.value = {said}{indexed})"  # noqa: S608 - a literal


def shown(column: str, value: Any) -> str:
    """Write a value for a person: a user with the name that this host knows."""
    if value is None:
        return "nobody logged in" if column == "auid" else "not known"
    if column in NUMBERS:
        name = user_name(int(value))
        return f"{name} ({value})" if name else str(value)
    return str(value)
