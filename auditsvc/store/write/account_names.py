"""Keeps the names of users and groups that the service recorded, in the transaction of its records.

In: stored events. Of those of our own spool, DAEMON_CONFIG records with `op=name` become rows of
`account_name`; a line that another program passed on (FOREIGN) is not believed, and a log of
others never. Names are few: each is recorded when it is first seen, when it changes, and once a
day.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.record.line import FOREIGN
from auditsvc.record.types import DAEMON_CONFIG
from auditsvc.store.schema import account_name
from auditsvc.store.sign_sql import form, listed

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from auditsvc.store.database import Database

KINDS: Final = {"user": 0, "group": 1}
OPERATION: Final = "name"
_MOST_ID: Final = (1 << 32) - 2
_FIELDS: Final = (
    "SELECT e.id, e.ms, e.host, t.value FROM {listed} JOIN event e ON e.id = j.value"  # noqa: S608 - ours
    f" JOIN text t ON t.id = e.fields WHERE e.type = {DAEMON_CONFIG}"
)
_PRUNE: Final = "DELETE FROM account_name WHERE at < ?"


def added(database: Database, connection: Connection, events: Collection[int]) -> None:
    """Add the names that events of our own spool tell, by their ids; they are stored already."""
    rows = {}
    for event, ms, host, text in listed(connection, _FIELDS, events):
        if (row := _row(host, (event >> SERIAL_BITS) * 1000 + ms, text)) is not None:
            rows[row[:4]] = row
    if rows:
        database.insert_absent(connection, account_name, list(rows.values()))


def prune(connection: Connection, at: int) -> None:
    """Delete the names from before a time: each was recorded again on every day after."""
    connection.exec_driver_sql(form(connection, _PRUNE), (at,))


def _row(host: int, at: int, text: str) -> tuple[int, int, int, int, str | None] | None:
    fields = json.loads(text)
    if fields.get("op") != OPERATION or FOREIGN.decode() in fields:
        return None
    kind, number, name = KINDS.get(str(fields.get("kind"))), fields.get("id"), fields.get("acct")
    if kind is None or not isinstance(number, str) or not number.isdecimal():
        return None
    if int(number) > _MOST_ID or not (name is None or isinstance(name, str)):
        return None
    return host, kind, int(number), at, name
