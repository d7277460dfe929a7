"""The pages *Who* and *What*: the history of one user, session, program, file, ... at a glance.

Of users and programs the calls are counted by hour (`activity`); of anything else the newest
events are looked at, and the page says how many.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.plural import counted
from auditsvc.search.dialect import literal
from auditsvc.web import events, groups, overview
from auditsvc.web.answers import page, store_page
from auditsvc.web.key import Key
from auditsvc.web.overview import Hours, Line, Narrowed, Top, shown
from auditsvc.web.period import period_in
from auditsvc.web.subjects import EXAMPLES, MOST, WHAT, WHO, ids_of, subject_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from auditsvc.web.asking import Asker, Asking
    from auditsvc.web.groups import Member
    from auditsvc.web.period import Period
    from auditsvc.web.subjects import Subject

_HOUR: Final = 3600
_LAST: Final = 20
"""Events that are shown."""
_TOP: Final = 10
_COLUMNS: Final = {
    "file": {"action": "What was done", "exe": "Programs", "auid": "Login users"},
    "address": {"action": "What was done", "port": "Ports", "exe": "Programs", "auid": "Users"},
    "session": {"exe": "Programs", "syscall": "Calls", "uid": "Users"},
}
_VIEWS: Final = {"file": ("files", "name"), "address": ("connections", "address")}
_LINKS: Final = {"exe": ("/what", "program"), "auid": ("/who", "user")}


@dataclass(frozen=True, slots=True)
class History:
    """What a page shows; `note` says of which events it is."""

    hours: Hours
    tops: list[Top]
    last: list[dict[str, Any]]
    members: list[Member]
    logins: bool
    note: str
    links: dict[str, str]


class HistoryPages:
    """The pages of who and what."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def who(self, request: Request) -> Response:
        """Show a user or a session."""
        return self._page(request, "/who", "Who", WHO)

    def what(self, request: Request) -> Response:
        """Show a program, a file, an address, a container or a unit."""
        return self._page(request, "/what", "What", WHAT)

    def _page(self, request: Request, at: str, title: str, kinds: Mapping[str, str]) -> Response:
        subject = subject_in(request.query_params, kinds)
        period = period_in(request.query_params, self._asker.newest_here)
        if period.is_empty:
            return page(
                "empty.html",
                title,
                store=self._asker.url.rpartition("@")[2],
                fleet=False,
                alone=self._asker.alone,
            )
        values: dict[str, Any] = {
            "kinds": kinds,
            "examples": EXAMPLES,
            "period": period,
            "at": at,
        }
        with self._asker.recorded(request) as asking:
            if subject is None:
                tops = _common(asking, period, kinds)
                return store_page(self._asker, asking, "histories.html", title, tops=tops, **values)
            found = _history(asking, subject, period)
        return store_page(
            self._asker,
            asking,
            "history.html",
            title,
            subject=subject,
            history=found,
            address=f"{at}?{urlencode({subject.kind: subject.value} | period.words)}",
            **values,
        )


def _common(asking: Asking, period: Period, kinds: Mapping[str, str]) -> list[Top]:
    """Give what is there most, to choose from."""
    column, at, kind = ("auid", "/who", "user") if "user" in kinds else ("exe", "/what", "program")
    top = overview.top_of(asking, period, column)
    lines = tuple(
        Line(line.text, line.calls, line.share, _link(at, kind, line.key, period), line.events)
        for line in top.lines
    )
    return [Top("Login users" if kind == "user" else "Programs", lines, top.more)]


def _link(at: str, kind: str, value: object, period: Period) -> str:
    return f"{at}?{urlencode({kind: str(value)} | period.words)}"


def _history(asking: Asking, subject: Subject, period: Period) -> History:
    members: list[Member] = []
    tops: list[Top] = []
    if subject.kind in ("container", "unit"):
        members, is_all = groups.members(asking, subject, period)
        ids = groups.newest_calls(asking, members, _LAST)
        seconds = [each.second for each in members]
        note = f"{_all_or_newest(is_all)} {counted(len(members), 'process', 'processes')} that the"
        note += " service saw in it first; what these ran is below them in their trees."
        hours = _hours(seconds, [0] * len(seconds))
    elif subject.is_counted:
        narrowed = Narrowed(subject.narrowed())
        hours, tops = overview.counts_of(asking, period, narrowed)
        ids, _ = ids_of(asking, subject, period, _LAST)
        note = "All calls of this time."
    else:
        ids, is_all = ids_of(asking, subject, period, MOST)
        hours, tops = _looked_at(asking, subject, ids, period)
        note = f"{_all_or_newest(is_all)} {counted(len(ids), 'event')} of this time."
    if subject.kind == "session":
        members, is_all = groups.of_session(asking, subject, period)
        if not is_all:
            note += " Of its processes, the newest that none of these started."
    searched = subject.searched()
    links = {}
    if searched:
        links["Its events"] = f"/events?{urlencode(searched | period.words)}"
    if subject.is_counted:
        links["Overview of it alone"] = Narrowed(subject.narrowed()).address(period)
    return History(
        hours,
        tops,
        events.sentences(asking, [Key(each) for each in ids[: -_LAST - 1 : -1]]),
        members,
        subject.kind == "user",
        note,
        links,
    )


def _all_or_newest(is_all: bool) -> str:
    return "All" if is_all else "The newest"


def _hours(seconds: Iterable[int], failed: Iterable[int]) -> Hours:
    all_of: Counter[int] = Counter()
    failures: Counter[int] = Counter()
    for second, has_failed in zip(seconds, failed, strict=True):
        hour = second // _HOUR * _HOUR
        all_of[hour] += 1
        failures[hour] += has_failed
    known = tuple(sorted(all_of))
    return Hours(known, tuple(all_of[h] for h in known), tuple(failures[h] for h in known))


def _looked_at(
    asking: Asking, subject: Subject, ids: list[int], period: Period
) -> tuple[Hours, list[Top]]:
    """Count some events by hour, and by what they have in common."""
    if not ids:
        return _hours([], []), []
    columns = _COLUMNS[subject.kind]
    within = f"event_id IN ({', '.join(map(str, ids))})"
    if subject.kind in _VIEWS:
        view, column = _VIEWS[subject.kind]
        within += f" AND {column} = {literal(subject.value)}"
    else:
        view = "syscalls"
    errno = "errno IS NOT NULL AND errno <> 'EINPROGRESS'"
    sql = (
        f"SELECT event_id, CASE WHEN {errno} THEN 1 ELSE 0 END AS failed, {', '.join(columns)}"  # noqa: S608 - numbers, a literal
        f" FROM {view} WHERE {within}"
    )
    rows = asking.rows(sql, shown=False).named()
    failed = {row["event_id"]: int(row["failed"]) for row in rows}
    hours = _hours((each >> SERIAL_BITS for each in ids), (failed.get(each, 0) for each in ids))
    tops = [
        _top(title, column, Counter(row[column] for row in rows), period)
        for column, title in columns.items()
    ]
    return hours, tops


def _top(title: str, column: str, found: Counter[Any], period: Period) -> Top:
    ordered = sorted(found.items(), key=lambda item: (-item[1], str(item[0])))
    most = ordered[0][1] if ordered else 1
    lines = []
    for value, count in ordered[:_TOP]:
        address = ""
        if value is not None and column in _LINKS:
            address = _link(*_LINKS[column], value, period)
        name = shown(column, value) if column in ("auid", "uid") or value is None else str(value)
        lines.append(Line(name, count, max(1, count * 100 // most), address, ""))
    return Top(title, tuple(lines), len(ordered) > _TOP)
