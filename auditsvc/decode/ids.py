"""Ids of rows: event ids are ordered by time, dimension ids are hashes.

An event id is made from the event's identity, so that no shared counter is needed and the
primary key is the index by time:

    id = second << 30 | (serial + host id) mod 2^30

`second` counts from 1970 and has 33 bits. Adding the host's id keeps the events of one
host in the order of their serials and separates hosts. Two events can still have the same
id (the clock was set back over a reboot): the store then uses `next_event_id`.

For an event whose id is already used by another, first the next serials of the same second
are tried, then ids that are a hash of its content. So many events with one identity do not
make the search longer for each of them.

A dimension id is the first 47 bits of a hash of the row's content, keyed with the store's
secret, so that nobody who chooses the content can choose the id. 47 bits are 6 bytes in
SQLite's record format instead of 8; the store detects equal ids of different rows and uses
the next `attempt`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SERIAL_BITS: Final = 30
SERIAL_MASK: Final = (1 << SERIAL_BITS) - 1
DIMENSION_MASK: Final = (1 << 47) - 1

# Odd, so that repeated steps reach every serial; large, so that one step leaves the
# range of serials that a host can use within a second.
_STEP: Final = 0x15555555


def event_id(second: int, serial: int, host: int) -> int:
    """Id of the event `serial` of `host` (a dimension id) in `second`."""
    return second << SERIAL_BITS | (serial + host) & SERIAL_MASK


def next_event_id(taken: int) -> int:
    """Give the id to try if `taken` is the id of another event: same second, other serial bits."""
    return taken & ~SERIAL_MASK | (taken + _STEP) & SERIAL_MASK


def hashed_event_id(second: int, content: tuple[object, ...], attempt: int) -> int:
    """Give the id in this second that is a hash of `content` and `attempt`."""
    text = b"event#%d;%b" % (attempt, canonical(content))
    digest = blake2b(text, digest_size=8).digest()
    return second << SERIAL_BITS | int.from_bytes(digest, "little") & SERIAL_MASK


def canonical(values: tuple[object, ...]) -> bytes:
    """Write a row's content; different contents always give different bytes.

    None is `N`, an integer `I` and its decimal, text or bytes `S`, the length in
    bytes, `:` and the bytes; each ends with `;`.
    """
    return b"".join(_parts(values))


def _parts(values: tuple[object, ...]) -> Iterator[bytes]:
    for value in values:
        if value is None:
            yield b"N;"
        elif isinstance(value, int):
            yield b"I%d;" % value
        else:
            data = value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
            yield b"S%d:" % len(data)
            yield data
            yield b";"


def content_digest(values: tuple[object, ...]) -> bytes:
    """Digest a row's content: nobody finds two contents with the same digest."""
    state = blake2b(digest_size=32)
    for part in _parts(values):
        state.update(part)
    return state.digest()


def dimension_id(secret: bytes, table: str, content: tuple[object, ...], attempt: int = 0) -> int:
    """Id (1 to 2^47 - 1) of a row of `table` with this content; `secret` has at most 64 bytes."""
    state = blake2b(b"%b#%d;" % (table.encode(), attempt), digest_size=8, key=secret)
    for part in _parts(content):  # not joined: a text may have megabytes
        state.update(part)
    return int.from_bytes(state.digest(), "little") & DIMENSION_MASK or 1
