"""The store's views over the fleet's wide rows, by the same names, in DuckDB's SQL.

    select("paths", rows)    the view, of a relation `rows` of current wide rows

A view has the columns of docs/sql.md, and before them `host` and `store`: with `event_id` they are
the key by which views are joined. `host` is who shipped the event; `node` is the store's `host`,
which differs where a store has logs of others. Rows are current (`current`): of the versions of an
event the last, and none that was taken back.

Types are the table's: a `time` is a timestamp, `success` boolean. `auditsvc.fleet.ask` shows them
as SQLite has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.fleet import schema
from auditsvc.fleet.names import BATCH, GONE
from auditsvc.store.views.sentence import kept

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY: Final = ("host", "store", "event_id")
_HEAD: Final = (*_KEY, "node", "time")
_WHO: Final = ("pid", "auid", "uid", "ses")
_ARGUMENTS: Final = tuple(f"a{n}" for n in range(4))
_CALL: Final = (
    *("serial", "arch", "syscall", "nr", *_ARGUMENTS, *(f"a{n}_number" for n in range(4))),
    *schema.RECORDED[schema.RECORDED.index("a0_words") : schema.RECORDED.index("fields")],
)
_EVENT: Final = ("serial", "type", *_WHO, "fields", "auid_name", "uid_name")
_ALL: Final = ("serial", "kind", "type", "syscall", *_WHO, "comm", "exe", "key", "outcome")
_PLAIN: Final = ("paths", "sockaddrs", "records")
"""Lists without the time and the process of their event."""
_RENAMED: Final = {"access": {"store": "asked_store"}}
"""Columns whose name is one of the key."""


_HEX: Final = "lower(hex({0}))"
"""A signed number of 64 bits as the kernel prints it."""
_UNNESTED: Final = "(SELECT *, unnest({list}) AS one FROM {rows})"
"""Rows of `{rows}`, each once for each member of its list `{list}`, called `one`."""

_SENTENCE: Final = kept("story.")
_STORY: Final = tuple(name for name in schema.STORY if name != "sentence")


def current(rows: str, later: str | None) -> str:
    """Give the events of `rows`: of versions the last one, and none that was taken back.

    `later`: a relation of the keys with versions above 0, each with its highest `version`; None if
    it is known that there are none.
    """
    events = f"type IS DISTINCT FROM '{BATCH}'"
    if later is None:
        return f"SELECT * FROM {rows} WHERE {events}"  # noqa: S608 - of this package's text
    same = " AND ".join(f"r.{name} = l.{name}" for name in _KEY)
    return (
        f"SELECT r.* FROM {rows} r LEFT JOIN {later} l ON {same}"  # noqa: S608 - as above
        f" WHERE r.{events} AND r.type IS DISTINCT FROM '{GONE}'"
        " AND (l.version IS NULL OR r.version = l.version)"
    )


def later(rows: str) -> str:
    """Give the keys of `rows` with versions above 0, each with its highest `version`."""
    key = ", ".join(_KEY)
    return f"SELECT {key}, max(version) AS version FROM {rows} WHERE version > 0 GROUP BY {key}"  # noqa: S608


def columns(view: str) -> tuple[str, ...]:
    """Give the columns of a view of events, in their order."""
    return tuple(_values(view))


def select(view: str, rows: str) -> str:
    """Give the view, of the current wide rows `rows`."""
    shown = ", ".join(f"{value} AS {name}" for name, value in _values(view).items())
    if view == "activity":
        return f"SELECT {shown} FROM ({_counted(rows)}) counted"  # noqa: S608 - as above
    if view in schema.LISTS:
        source = _UNNESTED.format(rows=rows, list=view)
        if view == "files":  # most are paths
            own = ", ".join(f"{value} AS {name}" for name, value in _of_paths().items())
            paths = _UNNESTED.format(rows=rows, list="paths")
            return (
                f"SELECT {own} FROM {paths} named WHERE one.action IS NOT NULL"  # noqa: S608
                f" UNION ALL SELECT {shown} FROM {source} listed"
            )
        if view == "logins":  # a login is told again with its end
            source = f"({_LAST_LOGIN.format(source)})"
        return f"SELECT {shown} FROM {source} listed"  # noqa: S608 - as above
    where = _WHERE.get(view)
    return f"SELECT {shown} FROM {rows}" + (f" WHERE {where}" if where else "")  # noqa: S608


_WHERE: Final = {
    "syscalls": "kind = 'call'",
    "events": "kind IS DISTINCT FROM 'call'",
    "partials": "partial_reason IS NOT NULL",
    "story": "story IS NOT NULL",
}
_ACTIVITY: Final = (
    *("hour", "host", "store", "node", "exe", "comm", "auid", "uid", "key", "syscall"),
    *("success", "errno", "calls"),
)
VIEWS: Final = (
    *("syscalls", "events", "partials", "origins", "story", "all_events", "activity"),
    *schema.LISTS,
)
"""The views of docs/sql.md that the fleet has."""


def _values(view: str) -> Mapping[str, str]:
    """Give the columns of a view by name, each with its expression."""
    if view == "activity":
        return {name: name for name in _ACTIVITY}
    head = {name: name for name in _HEAD} | {"node": "coalesce(node, host)"}
    if view in _PLAIN or view in ("partials", "origins"):
        head.pop("time")
    if view in schema.LISTS:
        return _listed(view, head)
    own = {
        "syscalls": {name: _call(name) for name in _CALL},
        "events": {name: name for name in _EVENT},
        "all_events": {name: name for name in _ALL},
        "partials": {"reason": "partial_reason"},
        "origins": {"kind": "origin_kind", "source": "origin_source"},
        "story": {
            **{name: name for name in _WHO},
            **{name: f"story.{name}" for name in _STORY},
            "key": "key",
            "sentence": _SENTENCE,
        },
    }
    return head | own[view]


def _call(name: str) -> str:
    return _HEX.format(f"{name}_number") if name in _ARGUMENTS else name


def _of_paths() -> dict[str, str]:
    """Give the columns of `files` of a path that is a row of it."""
    head = {name: name for name in (*_HEAD, *_WHO)} | {"node": "coalesce(node, host)"}
    of_path = (*schema.OF_PATH, *schema.LISTS["paths"])
    own = {name: f"one.{name}" if name in of_path else name for name in schema.LISTS["files"]}
    return head | own


def _listed(view: str, head: dict[str, str]) -> dict[str, str]:
    names = [name for name in schema.LISTS[view] if view != "paths" or name not in schema.OF_PATH]
    renamed = _RENAMED.get(view, {})
    own = {renamed.get(name, name): f"one.{name}" for name in names}
    who = {name: name for name in _WHO_OF.get(view, _WHO)}
    if view == "commands":  # of an exec it is the effective user
        who["uid"] = "CASE WHEN kind = 'call' THEN euid ELSE uid END"
    return head | who | own


_WHO_OF: Final = {
    **dict.fromkeys((*_PLAIN, "coverage", "access", "logins"), ()),
    "tamper": ("auid", "pid", "ses"),
}
"""Columns about the process that views have of their event, where these are not all."""
_LAST_LOGIN: Final = (
    "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY host, store, one.event_id"
    " ORDER BY batch DESC, CASE WHEN one.end_event_id IS NULL THEN 1 ELSE 0 END) AS place"
    " FROM {0} listed) ranked WHERE place = 1"
)


def _counted(rows: str) -> str:
    keys = {
        "hour": "date_trunc('hour', time)",
        **{name: name for name in ("host", "store")},
        "node": "coalesce(node, host)",
        **{name: name for name in ("exe", "comm", "auid", "uid", "key", "arch", "nr", "syscall")},
        "success": "success",
        "errno": "CASE WHEN NOT success AND exit BETWEEN -4095 AND -1 THEN -exit END",
    }
    listed = ", ".join(f"{value} AS {name}" for name, value in keys.items())
    places = ", ".join(str(n) for n in range(1, len(keys) + 1))
    return (
        f"SELECT {listed}, count(*) AS calls FROM {rows}"  # noqa: S608 - as above
        f" WHERE kind = 'call' GROUP BY {places}"
    )
