"""Values that the program itself wrote into a store, and that somebody may have changed since.

    position = whole(row.position, "source.position")    # StoreError if it is no number

SQLite keeps text and bytes in a column of numbers, too; and a text may be damaged on every
database.
"""

from __future__ import annotations

from auditsvc.errors import StoreError

_SHOWN = 40


def whole(value: object, what: str) -> int:
    """Give a number; StoreError if it is none."""
    if not isinstance(value, int):
        raise unreadable(what, value)
    return value


def data(value: object, what: str) -> bytes:
    """Give bytes; StoreError if it is none: a number would make so many bytes of zero."""
    if not isinstance(value, bytes | memoryview):
        raise unreadable(what, value)
    return bytes(value)


def unreadable(what: str, value: object) -> StoreError:
    """Give the error of a value that the program did not write."""
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return StoreError(f"{what} of the store is not what auditsvc writes: {shown}")
