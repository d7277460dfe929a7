"""Keeps which of our own records say where a process is, in the transaction of those records.

In: stored events. Of those of our own spool, DAEMON_CONFIG records with `op=cgroup` become rows
of `process_cgroup`; what they say stays in the event. A line that another program passed on
(FOREIGN) is not believed, and a log of others never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.store.process_lives import MOST_PID
from auditsvc.store.sign_sql import form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

OPERATION: Final = "cgroup"
_PRUNE: Final = "DELETE FROM process_cgroup WHERE at < ?"


def row(
    event: int, ms: int, host: int, pid: int | None, fields: Mapping[str, object]
) -> tuple[int, int, int, int] | None:
    """Give the row of a record; None if it says nothing."""
    if pid is None or not 0 < pid <= MOST_PID or not isinstance(fields.get("cgroup"), str):
        return None
    return host, pid, (event >> SERIAL_BITS) * 1000 + ms, event & SERIAL_MASK


def prune(connection: Connection, at: int) -> None:
    """Delete the rows from before a time: who still runs was recorded again on every day after."""
    connection.exec_driver_sql(form(connection, _PRUNE), (at,))
