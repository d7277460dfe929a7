"""Reads what our own service told in its records: names of users, and where processes are.

In: stored events of our own spool. Only DAEMON_CONFIG records are looked at, which are few, and
none that another program passed on (FOREIGN).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from auditsvc.record.line import FOREIGN
from auditsvc.record.types import DAEMON_CONFIG
from auditsvc.store.schema import account_name, process_cgroup
from auditsvc.store.sign_sql import listed
from auditsvc.store.write import account_names, process_cgroups

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Table

    from auditsvc.store.database import Database

_FIELDS: Final = (
    "SELECT e.id, e.ms, e.host, e.pid, t.value FROM {listed} JOIN event e ON e.id = j.value"  # noqa: S608 - ours
    f" JOIN text t ON t.id = e.fields WHERE e.type = {DAEMON_CONFIG}"
)


def added(database: Database, connection: Connection, events: Collection[int]) -> None:
    """Add what events of our own spool tell, by their ids; they are stored already."""
    names, cgroups = {}, set()
    for table, row in said(listed(connection, _FIELDS, events)):
        if table is account_name:
            names[row[:4]] = row
        else:
            cgroups.add(row)
    if names:
        database.insert_absent(connection, account_name, list(names.values()))
    if cgroups:
        database.insert_absent(connection, process_cgroup, list(cgroups))


def said(told: Iterable[Sequence[Any]]) -> Iterator[tuple[Table, tuple[Any, ...]]]:
    """Give the rows that DAEMON_CONFIG records make, with their tables.

    Of each record its id, milliseconds, host, pid, and its fields as JSON.
    """
    for event, ms, host, pid, text in told:
        fields = json.loads(text)
        if FOREIGN.decode() in fields:
            continue
        row: tuple[Any, ...] | None = None
        if fields.get("op") == account_names.OPERATION:
            row, table = account_names.row(event, ms, host, fields), account_name
        elif fields.get("op") == process_cgroups.OPERATION:
            row, table = process_cgroups.row(event, ms, host, pid, fields), process_cgroup
        if row is not None:
            yield table, row


def prune(connection: Connection, at: int) -> None:
    """Delete what was told before a time; what still holds was told again on each day after."""
    account_names.prune(connection, at)
    process_cgroups.prune(connection, at)
