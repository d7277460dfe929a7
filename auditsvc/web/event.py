"""The page of one event: what it did, in words and as the kernel wrote it, and its neighbours."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.search.dialect import literal
from auditsvc.search.interpret import Interpreter
from auditsvc.search.lines import Bytes, lines_of
from auditsvc.search.nearest import NEAR, nearest
from auditsvc.search.records import records_of
from auditsvc.store.origins import OWN
from auditsvc.store.read.events import second_text
from auditsvc.store.read.time_span import Span
from auditsvc.web.events import sentences
from auditsvc.web.key import Key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.store.read.events import Event
    from auditsvc.web.asking import Asking

_NEAR: Final = NEAR[-1]
"""Seconds around an event in which its process's other calls are looked for."""
_DAY: Final = 86400
_NEIGHBOURS: Final = 4


@dataclass(frozen=True, slots=True)
class Shown:
    """An event for its page."""

    key: Key
    story: dict[str, Any]
    facts: list[tuple[str, str]]
    records: list[tuple[str, list[tuple[str, str]]]]
    lines: list[str]
    paths: list[dict[str, Any]]
    addresses: list[dict[str, Any]]
    origin: str
    proof: str
    """The command that proves that it is as it was signed; "" if it is not of an own log."""
    sql: str
    command: str
    process: dict[str, str]
    """Conditions of the events of its process."""
    links: dict[str, str]
    """Of facts, the page of that user, session or program."""
    day: str
    """The time around it, as words of an address."""
    is_of_hosts: bool
    """Whether pages that the store alone has do not know it."""

    def file_link(self, row: dict[str, Any]) -> str:
        """Give the page of a file, or the events of its name."""
        name = str(row["name"])
        if self.is_of_hosts:
            option = "path" if name.startswith("/") else "file"
            return f"/events?{urlencode({option: name})}&{self.day}"
        return f"/what?{urlencode({'file': name})}&{self.day}"

    def address_link(self, row: dict[str, Any]) -> str:
        """Give the page of an address, or its events."""
        if self.is_of_hosts:
            return f"/events?{urlencode({'host': row['address']})}&{self.day}"
        return f"/what?{urlencode({'address': row['address']})}&{self.day}"


def shown(asking: Asking, key: Key) -> Shown | None:
    """Read an event; None if there is none of this key."""
    story = sentences(asking, [key])
    second = key.id >> SERIAL_BITS
    with asking.one(key) as found:
        event = next(found.events, None)
        if event is None or not story:
            return None
        records = records_of(event)
        known = Bytes()
        known.look_up(found.connection, records)
        lines = [each.decode(errors="backslashreplace") for each in lines_of(event, records, known)]
    words = Interpreter()
    process = _process(event, second)
    of_hosts = asking.is_of_hosts
    links = _links_of_hosts(event, second) if of_hosts else _links(event, second)
    kind, source = _origin(asking, key)
    return Shown(
        key,
        story[0],
        list(_facts(event)),
        [(record.type, list(words.fields(record))) for record in records],
        lines,
        event.paths,
        event.sockaddrs,
        f"{kind} {source}".strip(),
        shlex.join(["auditsvc", "verify", "--since", second_text(second)]) if kind == OWN else "",
        sql := f"SELECT * FROM story WHERE {key.condition}",  # noqa: S608 - a number, literals
        _command(event, second) if not of_hosts else _query(asking, sql),
        process,
        dict(links),
        _day(second),
        of_hosts,
    )


def _day(second: int) -> str:
    """Give half a day before and after as words of an address, in whole hours."""
    low = max(0, second - _DAY // 2) // _NEAR * _NEAR
    return urlencode({"since": second_text(low), "until": second_text(low + _DAY + _NEAR)})


def _links(event: Event, second: int) -> Iterator[tuple[str, str]]:
    row = _row(event)
    pages = {"auid": "/who?user", "ses": "/who?session", "exe": "/what?program"}
    for name, page in pages.items():
        if row.get(name) is not None:
            yield name, f"{page}={quote(str(row[name]), safe='')}&{_day(second)}"


def _links_of_hosts(event: Event, second: int) -> Iterator[tuple[str, str]]:
    """Lead to what whole pages have of the same."""
    row = _row(event)
    for name in ("host", "auid", "exe"):
        if row.get(name) is not None:
            yield name, f"/?{urlencode({name: str(row[name])})}&{_day(second)}"
    if row.get("ses") is not None:
        of_it = urlencode({"session": str(row["ses"]), "node": str(event.host)})
        yield "ses", f"/events?{of_it}&{_day(second)}"


def _row(event: Event) -> dict[str, Any]:
    return event.syscall or event.event or {}


_FACTS: Final = (
    *("host", "serial", "syscall", "type", "arch", "success", "exit", "state", "pid", "ppid"),
    *("auid", "uid", "euid", "gid", "ses", "tty", "comm", "exe", "cwd", "proctitle", "argv"),
    *("subj", "key"),
)


def _facts(event: Event) -> Iterator[tuple[str, str]]:
    row = _row(event)
    for name in _FACTS:
        value = row.get(name)
        if value is not None:
            yield name, " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _process(event: Event, second: int) -> dict[str, str]:
    pid = _row(event).get("pid")
    if pid is None:
        return {}
    since, until = second_text(max(0, second - _NEAR)), second_text(second + _NEAR)
    return {"pid": str(pid), "node": str(event.host), "since": since, "until": until}


def around(asking: Asking, key: Key) -> list[dict[str, Any]]:
    """Give what the process of an event did before and after, the event itself between."""
    sql = f"SELECT pid, host FROM all_events WHERE {key.condition}"  # noqa: S608 - a number, literals
    found = asking.rows(sql, 1, key.reach, shown=False).rows
    if not found or found[0][0] is None:
        return []
    pid, host = found[0]
    if asking.source is not None:
        return _around_in_views(asking, key, int(pid), str(host))

    def ask(sql: str) -> list[int]:
        return [int(row[0]) for row in asking.rows(sql, shown=False).rows]

    ids = nearest(ask, key.id, (str(host), int(pid)), asking.dialect, _NEIGHBOURS)
    return sentences(asking, [Key(each) for each in sorted([*ids, key.id])])


def _around_in_views(asking: Asking, key: Key, pid: int, host: str) -> list[dict[str, Any]]:
    """Give the same of another source than the store, of an hour on each side."""
    second = key.id >> SERIAL_BITS
    low, high = max(0, second - _NEAR), second + _NEAR
    store = f" AND store = {literal(key.store)}" if key.store else ""
    found = [key]
    for side, order, span in (
        (f"< {key.id:d} AND event_id >= {low << SERIAL_BITS:d}", " DESC", Span(low, second)),
        (f"> {key.id:d} AND event_id < {(high + 1) << SERIAL_BITS:d}", "", Span(second, high)),
    ):
        sql = (
            f"SELECT {', '.join(asking.key)} FROM all_events WHERE pid = {pid:d}"  # noqa: S608 - numbers, literals
            f" AND host = {literal(host)}{store} AND event_id {side}"
            f" ORDER BY event_id{order} LIMIT {_NEIGHBOURS}"
        )
        within = key.reach._replace(span=span)
        found += [Key(*row) for row in asking.rows(sql, within=within, shown=False).rows]
    return sentences(asking, sorted(found))


def _origin(asking: Asking, key: Key) -> tuple[str, str]:
    """Give the kind of log, and which one."""
    sql = f"SELECT kind, source FROM origins WHERE {key.condition}"  # noqa: S608 - a number, literals
    for kind, source in asking.rows(sql, 1, key.reach, shown=False).rows:
        if kind is not None:
            return kind, source or ""
    return "not noted", ""


def _query(asking: Asking, sql: str) -> str:
    assert asking.source is not None
    return shlex.join(["auditsvc", asking.source.name, "query", sql])


def _command(event: Event, second: int) -> str:
    words = [
        *("auditsvc", "search", "-a", str(_row(event).get("serial"))),
        *("--since", second_text(second), "--until", second_text(second + 1)),
        *("--node", str(event.host), "-i"),
    ]
    return shlex.join(words)
