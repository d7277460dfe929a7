"""What SQLite's errors mean, and what to do: result codes as https://sqlite.org/rescode.html."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from sqlalchemy import exc

from auditsvc.errors import ForeignError, RefusedError, StoreError
from auditsvc.store.database import first_line

if TYPE_CHECKING:
    from collections.abc import Callable

HINTS: Final = {
    "opened": (
        "run as root, or as a user who may read it and the folders above it; members of the group"
        " that is set as `readers` may while the service runs"
    ),
    "made": "check that the folder exists and may be written to, or give another --store",
}
"""What to do if the file cannot be opened, or made."""
# Result code -> (what is wrong, what to do).
_MEANINGS: Final = {
    sqlite3.SQLITE_NOTADB: ("it is not an SQLite database", "give another path"),
    sqlite3.SQLITE_CORRUPT: (
        "it is damaged",
        "restore a backup, or load the spool into a new store (docs/backup.md)",
    ),
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space; nothing was half stored"),
    sqlite3.SQLITE_BUSY: (
        "another program keeps it locked",
        "end the other program or try again later",
    ),
    sqlite3.SQLITE_LOCKED: ("another program keeps it locked", "try again later"),
    sqlite3.SQLITE_READONLY: (
        "it cannot be written",
        "check owner and mode of file and folder; who may only read can while the service runs",
    ),
    sqlite3.SQLITE_PERM: ("access is denied", "check the owner and mode of the file"),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "check that the folder exists and may be written to",
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk failed to read or write",
        "check the disk's space and health; nothing was half stored",
    ),
}
# Errors that a retry cannot solve.
_REFUSALS: Final = (
    "SQLITE_TOOBIG",
    "SQLITE_MISMATCH",
    "SQLITE_CONSTRAINT_NOTNULL",
    "SQLITE_CONSTRAINT_CHECK",
    "SQLITE_CONSTRAINT_DATATYPE",
)
_UNDECODED: Final = "Could not decode to UTF-8"
"""How the driver's error begins for a text of ours that is none; it goes on with the whole text."""
_PASSING: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def explained(error: Exception, place: str, *, is_denied: Callable[[], bool]) -> StoreError:
    """Give the error for people; `is_denied` tells whether the file is there and closed to us."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if str(cause).startswith(_UNDECODED):
        code = sqlite3.SQLITE_CORRUPT
    what, hint = _MEANINGS.get(code, (first_line(error), ""))
    if code == sqlite3.SQLITE_CANTOPEN and is_denied():
        what, hint = "access is denied", HINTS["opened"]
    if getattr(cause, "sqlite_errorname", "") in _REFUSALS:
        return RefusedError(f"the store {place}: {what}", hint)
    if code == sqlite3.SQLITE_NOTADB:
        return ForeignError(f"the store {place}: {what}", hint)
    return StoreError(f"the store {place}: {what}", hint, retryable=code in _PASSING)


def damaged(place: str) -> StoreError:
    """Give the error of a file whose content is not what SQLite wrote."""
    what, hint = _MEANINGS[sqlite3.SQLITE_CORRUPT]
    return StoreError(f"the store {place}: {what}", hint)
