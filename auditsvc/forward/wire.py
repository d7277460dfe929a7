"""journald's native protocol: the fields of one entry as one datagram, and back.

A field is `NAME=value`, with any bytes in the value. In the datagram it is followed by a
newline; if the value has a newline itself, the field is written as NAME, newline, the
value's length (64 bits, little-endian), value, newline (systemd's
docs/JOURNAL_NATIVE_PROTOCOL.md). So framed fields can be joined, and a field that many
entries share is framed once.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_LENGTH: Final = struct.Struct("<Q")


def framed(field: bytes) -> bytes:
    """Give a field as it is written in a datagram."""
    if b"\n" not in field:
        return field + b"\n"
    name, _, value = field.partition(b"=")
    return name + b"\n" + _LENGTH.pack(len(value)) + value + b"\n"


def joined(fields: Iterable[bytes]) -> bytes:
    """Give the datagram of some fields."""
    return b"".join(map(framed, fields))


def fields(datagram: bytes) -> list[bytes]:
    """Give the fields of a datagram of ours."""
    found = []
    at, end = 0, len(datagram)
    while at < end:
        newline = datagram.index(b"\n", at)
        line = datagram[at:newline]
        at = newline + 1
        if b"=" not in line:
            (length,) = _LENGTH.unpack_from(datagram, at)
            at += _LENGTH.size
            line += b"=" + datagram[at : at + length]
            at += length + 1
        found.append(line)
    return found
