"""Keeps the names of users and groups that the service recorded, in the transaction of its records.

In: stored events. Of those of our own spool, DAEMON_CONFIG records with `op=name` become rows of
`account_name`; a line that another program passed on (FOREIGN) is not believed, and a log of
others never. Names are few: each is recorded when it is first seen, when it changes, and once a
day.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.sign_sql import form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

KINDS: Final = {"user": 0, "group": 1}
OPERATION: Final = "name"
_ID: Final = re.compile("[0-9]{1,10}")
_MOST_ID: Final = (1 << 32) - 2
_PRUNE: Final = "DELETE FROM account_name WHERE at < ?"


def prune(connection: Connection, at: int) -> None:
    """Delete the names from before a time: each was recorded again on every day after."""
    connection.exec_driver_sql(form(connection, _PRUNE), (at,))


def row(
    event: int, ms: int, host: int, fields: Mapping[str, object]
) -> tuple[int, int, int, int, str | None] | None:
    """Give the row of a record: host, kind, number, time, name; None if it is no name."""
    kind, number, name = KINDS.get(str(fields.get("kind"))), fields.get("id"), fields.get("acct")
    if kind is None or not isinstance(number, str) or not _ID.fullmatch(number):
        return None
    if int(number) > _MOST_ID or not (name is None or isinstance(name, str)):
        return None
    return host, kind, int(number), (event >> SERIAL_BITS) * 1000 + ms, name
