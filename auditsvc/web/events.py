"""The page of events: search's filters, newest first, a sentence an event, page by page.

A page is known by the id before which it begins, so that what arrives meanwhile moves nothing.
The address has the names of search's long options (`auditsvc.search.options.Options`).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from auditsvc.errors import UsageError
from auditsvc.search.options import Options
from auditsvc.search.select import explained_for_archive
from auditsvc.search.slices import slices
from auditsvc.search.statement import statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.datastructures import QueryParams

    from auditsvc.search.criteria import Criteria
    from auditsvc.web.asking import Asking
    from auditsvc.web.period import Period

PAGE: Final = 50
EXPORTED: Final = 10_000
"""Events of an export: more is a task for `auditsvc search`."""
FIELDS: Final = {
    "loginuid": ("Login user", "name or number"),
    "executable": ("Program", "/usr/bin/ssh"),
    "syscall": ("System call", "openat"),
    "success": ("Outcome", "yes or no"),
    "exit": ("Result", "EACCES"),
    "file": ("File", "a part of its name"),
    "path": ("Full path", "/etc"),
    "host": ("Remote host", "192.0.2.1"),
    "key": ("Key", "of the rule"),
    "message": ("Record type", "USER_LOGIN,AVC"),
    "pid": ("Process", "number"),
    "session": ("Session", "number"),
    "comm": ("Command", "sshd"),
    "node": ("Host", "exactly"),
}
"""Fields of the form: the option, what it is called, an example."""
COLUMNS: Final = {
    "outcome": "outcome",
    "pid": "process",
    "auid": "login user",
    "uid": "user",
    "ses": "session",
    "how": "program",
    "action": "action",
    "object": "object",
    "key": "key",
    "host": "host",
}
"""Columns of `story` to choose, beside time and sentence: what each is called."""
_SHOWN: Final = ("outcome", "pid", "key", "host")
_COLUMN: Final = "column"
_NAMES: Final = frozenset(field.name for field in fields(Options))
_LISTS: Final = ("message", "node")
_FLAGS: Final = ("word", "utc")
_ALIASES: Final = {
    "exe": "executable",
    "program": "executable",
    "auid": "loginuid",
    "user": "loginuid",
    "call": "syscall",
    "type": "message",
    "ses": "session",
}
_OUTCOMES: Final = {"failed": "no", "succeeded": "yes"}


@dataclass(frozen=True, slots=True)
class Found:
    """A page of events; `next` begins the following one, None: there is none."""

    rows: list[dict[str, Any]]
    next: int | None
    sql: str


def given(params: Mapping[str, str]) -> dict[str, str]:
    """Give the conditions in an address that are not empty."""
    return {
        name: value.strip()
        for name, value in params.items()
        if name in _NAMES and value.strip() and name not in ("since", "until")
    }


def columns_in(params: QueryParams) -> tuple[str, ...]:
    """Give the columns that an address chooses, in their order; UsageError for another one."""
    chosen = params.getlist(_COLUMN)
    for each in chosen:
        if each not in COLUMNS:
            raise UsageError(f"column={each}: no such one", f"there are {', '.join(COLUMNS)}")
    return tuple(each for each in COLUMNS if each in chosen) if chosen else _SHOWN


def options_in(params: Mapping[str, str]) -> Options:
    """Read the conditions of an address, without its time."""
    words: dict[str, Any] = dict(given(params))
    for name in _LISTS:
        if name in words:
            words[name] = (words[name],)
    for name in _FLAGS:
        words[name] = bool(words.get(name))
    return Options(**words)


def criteria_in(params: Mapping[str, str], url: str, period: Period) -> Criteria:
    """Read an address; UsageError for what is no condition."""
    found = options_in(params).criteria(url)
    return replace(found, period=found.period.both(period.span))


def from_words(words: str) -> dict[str, str]:
    """Read conditions as they are typed: `syscall=openat failed user=mia /etc`.

    NAME=VALUE has a name of the form or of search; `failed` and `succeeded` are the outcome, a
    full path is that of a file, anything else a part of a file's name.
    """
    found: dict[str, str] = {}
    try:
        parts = shlex.split(words)
    except ValueError as error:
        raise UsageError(f"{words}: {error}", "close the quote") from error
    for part in parts:
        name, sign, value = part.partition("=")
        name = _ALIASES.get(name, name)
        if sign and name in _NAMES:
            found[name] = value
        elif sign and not part.startswith("/"):
            raise UsageError(f"{part}: no such condition", f"there are {', '.join(FIELDS)}")
        elif part in _OUTCOMES:
            found["success"] = _OUTCOMES[part]
        else:
            found["path" if part.startswith("/") else "file"] = part
    return found


def to_words(params: Mapping[str, str]) -> str:
    """Write the conditions of an address as they would be typed."""
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in given(params).items())


def command(params: Mapping[str, str], period: Period) -> str:
    """Give the command line that shows the same."""
    words = ["auditsvc", "search"]
    for name, value in period.words.items():
        words += [f"--{name}", value]
    for name, value in given(params).items():
        option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
        words += [option] if name in _FLAGS else [option, value]
    return shlex.join(words)


_OPTIONS: Final = {"host": "--host", "node": "--node", "message": "-m"}


def page(asking: Asking, criteria: Criteria, before: int | None) -> Found:
    """Read one page; the statement that it shows gives the same in one piece."""
    if asking.archive is not None:
        sql = explained_for_archive(criteria, limit=PAGE + 1, newest=True, before=before)
        ids = [int(row[0]) for row in asking.rows(sql, PAGE + 1, shown=False).rows]
        return _found(asking, ids, sql)
    sql = statement(criteria, asking.dialect, limit=PAGE + 1, newest=True, before=before)

    def ask(sql: str) -> Sequence[tuple[Any, ...]]:
        return asking.rows(sql, shown=False).rows

    ids = []
    for part in slices(criteria, asking.dialect, ask, newest=True, before=before):
        limited = f"{part} LIMIT {PAGE + 1 - len(ids)}"
        ids += [int(row[0]) for row in asking.rows(limited, PAGE + 1, shown=False).rows]
        if len(ids) > PAGE:
            break
    return _found(asking, ids, sql)


def _found(asking: Asking, ids: list[int], sql: str) -> Found:
    more = ids[PAGE - 1] if len(ids) > PAGE else None
    return Found(sentences(asking, ids[:PAGE]), more, sql)


def sentences(asking: Asking, ids: list[int]) -> list[dict[str, Any]]:
    """Give the row of `story` of each event that is still there, in the order of `ids`."""
    if not ids:
        return []
    listed = ", ".join(map(str, ids))
    sql = (
        f"SELECT event_id, time, sentence, {', '.join(COLUMNS)} FROM story"  # noqa: S608 - numbers
        f" WHERE event_id IN ({listed})"
    )
    found = {row["event_id"]: row for row in asking.rows(sql, len(ids) + 1).named()}
    return [found[each] for each in ids if each in found]


def address(params: QueryParams, period: Period, at: str = "/events", **more: str) -> str:
    """Give the address of the same conditions and columns."""
    words = [*(period.words | given(params) | more).items(), *_chosen(params)]
    return f"{at}?{urlencode(words)}"


def live_address(params: QueryParams) -> str:
    """Give the address of the events of the same conditions that arrive, of whatever time."""
    return f"/events/live?{urlencode([*given(params).items(), *_chosen(params)])}"


def _chosen(params: QueryParams) -> list[tuple[str, str]]:
    return [(_COLUMN, each) for each in params.getlist(_COLUMN)]
