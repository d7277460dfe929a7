"""SQL of the view `names`, and of names beside ids as they were when an event came.

An id's name is, in this order: what auditd's ENRICHED format wrote into the record itself; what
our service had recorded last before the event; what it recorded within an hour after it, as an
id is first looked up when it is first seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS

if TYPE_CHECKING:
    from auditsvc.store.views.dialect import Dialect

SOON: Final = 3_600_000
"""Milliseconds."""
USER, GROUP = 0, 1
_EVENT_TIME: Final = f"((e.id >> {SERIAL_BITS}) * 1000 + e.ms)"


_PLAIN: Final = "{0}"
"""A name as it is: for a column of names."""
QUOTED: Final = """CASE WHEN trim({0}, '0123456789') = '' THEN '"' || {0} || '"' ELSE {0} END"""
"""A name for a place where ids stand, too, as `auditsvc.host.users.as_name` has it."""


def name_of(kind: int, number: str, host: str, at: str, shown: str = _PLAIN) -> str:
    """Give the recorded name of an id at a time (milliseconds since 1970)."""
    key = f"n.host = {host} AND n.kind = {kind} AND n.number = {number}"
    before = f"SELECT max(n.at) FROM account_name n WHERE {key} AND n.at <= {at}"  # noqa: S608 - of this module's text
    after = (
        f"SELECT min(n.at) FROM account_name n WHERE {key} AND n.at > {at}"  # noqa: S608 - as above
        f" AND n.at <= {at} + {SOON}"
    )
    return (
        f"(SELECT {shown.format('n.name')} FROM account_name n WHERE {key}"  # noqa: S608 - as above
        f" AND n.at = coalesce(({before}), ({after})))"
    )


def _named(d: Dialect, extra: str, kind: int, column: str, at: str, *, shown: str = _PLAIN) -> str:
    """Give the name of an id in a row; `extra`: the id of a text with enriched fields."""
    told = shown.format(d.json_get.format("t.value", column.partition(".")[2].upper()))
    enriched = f"(SELECT {told} FROM text t WHERE t.id = {extra})"  # noqa: S608 - as above
    table = column.partition(".")[0]
    recorded = name_of(kind, column, f"{table}.host", at, shown)
    return f"CASE WHEN {column} IS NOT NULL THEN coalesce({enriched}, {recorded}) END"


def in_call(d: Dialect, name: str, kind: int, shown: str = _PLAIN) -> str:
    """Give the name of an id of a call's context; `s`: the call, `c`: its context."""
    at = f"((s.id >> {SERIAL_BITS}) * 1000 + s.ms)"
    return _named(d, "c.extra", kind, f"c.{name}", at, shown=shown)


def in_event(enriched: str, number: str) -> str:
    """Give the name of a user that an event without a call tells, beside ids; `e`: the event.

    SQL for the name in an enriched record, NULL in others, and for the id.
    """
    recorded = name_of(USER, number, "e.host", _EVENT_TIME, QUOTED)
    return f"coalesce({QUOTED.format(enriched)}, {recorded})"


def of_call(d: Dialect) -> str:
    """Give the columns of `syscalls` with names."""
    wanted = (("auid", USER), ("uid", USER), ("gid", GROUP), ("euid", USER), ("egid", GROUP))
    return ", ".join(f"{in_call(d, name, kind)} AS {name}_name" for name, kind in wanted)


def of_event(d: Dialect) -> str:
    """Give the columns of `events` with names; `e`: the event."""
    return ", ".join(
        f"{_named(d, 'e.fields', USER, f'e.{name}', _EVENT_TIME)} AS {name}_name"
        for name in ("auid", "uid")
    )


def names(d: Dialect) -> str:
    """The names that our service recorded, and since when."""
    time = d.time.format(f"((n.at / 1000) << {SERIAL_BITS})", "(n.at % 1000)")
    return f"""
        SELECT (SELECT h.name FROM host h WHERE h.id = n.host) AS host,
            CASE n.kind WHEN {USER} THEN 'user' ELSE 'group' END AS kind, n.number AS id,
            {time} AS since, n.name
        FROM account_name n"""  # noqa: S608 - as above
