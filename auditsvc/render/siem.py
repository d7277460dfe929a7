"""Rows of `logins`, `commands`, `files` and `connections` as events of OCSF or ECS.

    for event in as_events(result, "ocsf"): ...     # nested dictionaries

Of which view rows are follows from their columns: SELECT * of one of the four gives all. What a row
does not say is left out. The mapping is data: `auditsvc.tables.siem`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from auditsvc.errors import UsageError
from auditsvc.tables import siem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from auditsvc.store.read.result import Result

    Row = Mapping[str, Any]

_TARGETS: Final[dict[str, dict[str, dict[str, Any]]]] = {"ocsf": siem.OCSF, "ecs": siem.ECS}
_SENT: Final = ("connect", "send")
_RECEIVED: Final = ("accept", "receive")


def as_events(result: Result, form: str) -> Iterator[dict[str, Any]]:
    """Give an event for each row; UsageError if the rows are of none of the views."""
    columns = [name.lower() for name in result.columns]
    view = _view_of(set(columns))
    fields, only = _TARGETS[form][view], siem.ONLY[view]
    for values in result:
        row = dict(zip(columns, values, strict=True))
        if only is None or row[only[0]] in only[1]:
            yield _event(row, fields)


def _view_of(columns: set[str]) -> str:
    for view, wanted in siem.VIEWS.items():
        if wanted <= columns:
            return view
    raise UsageError(
        "these rows are not those of logins, commands, files or connections",
        "ask SELECT * FROM one of them, with any WHERE",
    )


def _event(row: Row, fields: Mapping[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = {}
    for path, source in fields.items():
        if (value := _value(row, source)) is not None:
            *around, last = path.split(".")
            place = event
            for name in around:
                place = place.setdefault(name, {})
            place[last] = value
    if "class_uid" in event:
        event.setdefault("activity_id", 0)
        event.setdefault("status_id", 0)
        event["type_uid"] = 100 * event["class_uid"] + event["activity_id"]
    return event


def _value(row: Row, source: Any) -> Any:
    if isinstance(source, str):
        return row.get(source)
    shape, what = source[0], source[1]
    if shape == "is":
        return what
    value = row.get(what)
    if value is None:
        return None
    return source[2].get(value) if shape == "of" else _SHAPES[shape](row, value)


def _moment(value: Any) -> datetime:
    """Give a time as SQLite (text) and PostgreSQL (a datetime) have it."""
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _iso(value: Any) -> str:
    return _moment(value).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(value: Any) -> int:
    return round(_moment(value).timestamp() * 1000)


def _is_ip(value: Any) -> bool:
    try:
        ip_address(str(value))
    except ValueError:
        return False
    return True


def _name(value: Any) -> str | None:
    return str(value).rstrip("/").rpartition("/")[2] or None


def _identity(row: Row, value: Any) -> str:
    """Give an event's identity: in a fleet with its host and store."""
    return f"{row['host']}/{row['store']}/{value}" if "store" in row else str(value)


_SHAPES: Final[dict[str, Callable[[Row, Any], Any]]] = {
    "text": lambda _, value: str(value),
    "milliseconds": lambda _, value: _milliseconds(value),
    "iso": lambda _, value: _iso(value),
    "ip": lambda _, value: value if _is_ip(value) else None,
    "no_ip": lambda _, value: None if _is_ip(value) else value,
    "name": lambda _, value: _name(value),
    "identity": _identity,
    "sent": lambda row, value: value if row.get("action") in _SENT else None,
    "received": lambda row, value: value if row.get("action") in _RECEIVED else None,
}
"""By name: what a column's value becomes."""
