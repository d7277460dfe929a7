"""The page of events: search's filters, newest first, a sentence an event, page by page.

A page is known by the id before which it begins, so that what arrives meanwhile moves nothing.
The address has the names of search's long options (`auditsvc.search.options.Options`).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from auditsvc.arrow.reach import Reach
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.errors import UsageError
from auditsvc.search.options import Options
from auditsvc.search.pace import Pace, Step
from auditsvc.search.slices import slices
from auditsvc.search.sources import is_of_hosts, reach_of
from auditsvc.search.statement import Page, statement
from auditsvc.store.read.events import second_text
from auditsvc.web.key import Key
from auditsvc.web.numbers import number_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.datastructures import QueryParams

    from auditsvc.search.criteria import Criteria
    from auditsvc.search.sources import Source
    from auditsvc.web.asking import Asking
    from auditsvc.web.period import Period

PAGE: Final = 50
SECONDS: Final = 0.35
"""How long is looked for a page; what was found by then is shown, and the next one goes on."""
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
    """A page of events; `next` is what the following one begins behind, None: there is none."""

    rows: list[dict[str, Any]]
    next: Key | None
    sql: str
    looked: str = ""
    """Back to which time was looked, if that was all that there was time for."""
    step: Step | None = None
    """What the search that goes on there is told (`auditsvc.search.pace`)."""


def given(params: Mapping[str, str]) -> dict[str, str]:
    """Give the conditions in an address that are not empty."""
    return {
        name: value.strip()
        for name, value in params.items()
        if name in _NAMES and value.strip() and name not in ("since", "until")
    }


def step_in(params: Mapping[str, str]) -> Step | None:
    """Read how a search goes on; None if it begins. UsageError."""
    words = params["step"].split("/") if "step" in params else []
    numbers = [number_in({"step": each}, "step") for each in words]
    found = [each for each in numbers if each is not None]
    if len(found) not in (0, len(Step._fields)):
        raise UsageError(f"step={params['step']}: not how a search goes on")
    return Step(*found) if found else None


def columns_in(params: QueryParams) -> tuple[str, ...]:
    """Give the columns that an address chooses, in their order; UsageError for another one."""
    chosen = params.getlist(_COLUMN)
    for each in chosen:
        if each not in COLUMNS:
            raise UsageError(
                f"column={each}: there is no such column", f"there are {', '.join(COLUMNS)}"
            )
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


def command(params: Mapping[str, str], period: Period, source: Source | None, sql: str) -> str:
    """Give the command line that shows the same; of a fleet that of the SQL."""
    if source is not None and is_of_hosts(source):
        return shlex.join(["auditsvc", source.name, "query", sql])
    words = ["auditsvc", "search", *([] if source is None else [f"--{source.name}"])]
    for name, value in period.words.items():
        words += [f"--{name}", value]
    for name, value in given(params).items():
        option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
        words += [option] if name in _FLAGS else [option, value]
    return shlex.join(words)


_OPTIONS: Final = {"host": "--host", "node": "--node", "message": "-m"}


def page(asking: Asking, criteria: Criteria, before: Key | None, step: Step | None = None) -> Found:
    """Read one page; the statement that it shows gives the same in one piece.

    `step`: of the page before, if that did not look through all.
    """
    last = None if before is None else before.values
    if asking.source is not None:
        sql = asking.source.statement(criteria, limit=PAGE + 1, newest=True, before=last)
        rows = asking.rows(sql, PAGE + 1, reach_of(criteria), shown=False).rows
        return _found(asking, [Key(*row) for row in rows], sql)
    sql = statement(criteria, asking.dialect, limit=PAGE + 1, newest=True, before=last)
    behind = None if before is None else before.id

    def ask(sql: str) -> Sequence[tuple[Any, ...]]:
        return asking.rows(sql, shown=False).rows

    ids: list[int] = []
    pace = Pace(SECONDS, step)
    of = Page(newest=True, after=behind)
    for part in slices(criteria, asking.dialect, ask, page=of, pace=pace):
        limited = f"{part} LIMIT {PAGE + 1 - len(ids)}"
        ids += [int(row[0]) for row in asking.rows(limited, PAGE + 1, shown=False).rows]
        if len(ids) > PAGE:
            break
    found = _found(asking, [Key(each) for each in ids], sql)
    if pace.left is None:
        return found
    behind = (pace.left + 1) << SERIAL_BITS
    looked = second_text(pace.left + 1)
    return replace(found, next=Key(behind), looked=looked, step=pace.step)


def _found(asking: Asking, keys: list[Key], sql: str) -> Found:
    more = keys[PAGE - 1] if len(keys) > PAGE else None
    return Found(sentences(asking, keys[:PAGE]), more, sql)


def sentences(asking: Asking, keys: list[Key]) -> list[dict[str, Any]]:
    """Give the row of `story` of each event that is still there, in the order of `keys`.

    Beside the columns a row has `address`, that of the event's page, and `process`, that of its
    process, "" if there is none.
    """
    if not keys:
        return []
    ids = sorted({each.id for each in keys})
    names = dict.fromkeys((*asking.key, "time", "sentence", *COLUMNS))
    sql = (
        f"SELECT {', '.join(names)} FROM story"  # noqa: S608 - numbers
        f" WHERE event_id IN ({', '.join(map(str, ids))})"
    )
    within = Reach.of_ids(ids, (each.host or None for each in keys))
    wanted, found = set(keys), {}
    for row in asking.rows(sql, within=within, shown=False).named():
        key = Key.of(asking.key, row)
        if key in wanted:
            process = "" if asking.is_of_hosts else f"/process?event={key.id}"
            found[key] = row | {"address": key.address(), "process": process}
    asking.access.rows += len(found)
    return [found[each] for each in keys if each in found]


def address(params: QueryParams, period: Period, at: str = "/events", **more: str) -> str:
    """Give the address of the same conditions and columns."""
    words = [*(period.words | given(params) | more).items(), *_chosen(params)]
    return f"{at}?{urlencode(words)}"


def live_address(params: QueryParams) -> str:
    """Give the address of the events of the same conditions that arrive, of whatever time."""
    return f"/events/live?{urlencode([*given(params).items(), *_chosen(params)])}"


def _chosen(params: QueryParams) -> list[tuple[str, str]]:
    return [(_COLUMN, each) for each in params.getlist(_COLUMN)]
