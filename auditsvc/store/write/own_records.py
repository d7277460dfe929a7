"""Reads what our own service told in its records: names of users, and where processes are.

In: stored events of our own spool. Only DAEMON_CONFIG records are looked at, which are few, and
none that another program passed on (FOREIGN).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from auditsvc.record.line import FOREIGN
from auditsvc.record.types import DAEMON_CONFIG
from auditsvc.store.schema import account_name, process_cgroup
from auditsvc.store.sign_sql import listed
from auditsvc.store.write import account_names, process_cgroups

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from auditsvc.store.database import Database

_FIELDS: Final = (
    "SELECT e.id, e.ms, e.host, e.pid, t.value FROM {listed} JOIN event e ON e.id = j.value"  # noqa: S608 - ours
    f" JOIN text t ON t.id = e.fields WHERE e.type = {DAEMON_CONFIG}"
)


def added(database: Database, connection: Connection, events: Collection[int]) -> None:
    """Add what events of our own spool tell, by their ids; they are stored already."""
    names, cgroups = {}, set()
    for event, ms, host, pid, text in listed(connection, _FIELDS, events):
        fields = json.loads(text)
        if FOREIGN.decode() in fields:
            continue
        if fields.get("op") == account_names.OPERATION:
            if (name := account_names.row(event, ms, host, fields)) is not None:
                names[name[:4]] = name
        elif fields.get("op") == process_cgroups.OPERATION:
            cgroups.add(process_cgroups.row(event, ms, host, pid, fields))
    if names:
        database.insert_absent(connection, account_name, list(names.values()))
    if found := [each for each in cgroups if each is not None]:
        database.insert_absent(connection, process_cgroup, found)


def prune(connection: Connection, at: int) -> None:
    """Delete what was told before a time; what still holds was told again on each day after."""
    account_names.prune(connection, at)
    process_cgroups.prune(connection, at)
