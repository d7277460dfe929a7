"""Records that must be joined or parsed further: EXECVE and SOCKADDR.

EXECVE: the kernel (audit_log_execve_info) begins a new record after about 7500 bytes, and
splits a long argument into pieces: `aN_len=` (the number of bytes, or of hex digits), and
then `aN[0]=`, `aN[1]=` ...

SOCKADDR: `saddr=` is the hex of the struct sockaddr of the system call; its fields are in
the machine's byte order, except those in network byte order.
"""

from __future__ import annotations

import re
from array import array
from ipaddress import IPv4Address, IPv6Address
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.record.fields import Field, to_int, to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PIECE: Final = re.compile(rb"a([0-9]{1,9})(?:\[([0-9]{1,9})\])?")
_PIECE_MASK: Final = (1 << 32) - 1
_MOST_PIECES: Final = 700_000
"""The most arguments of an execve: 6 MiB, with a pointer and a NUL for each (exec.c)."""
_LENGTH: Final = re.compile(rb"a([0-9]{1,9})_len")
_HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2})+")


class Arguments(NamedTuple):
    """The arguments in EXECVE records, in order, and whether all are present."""

    values: list[bytes]
    complete: bool


def join_arguments(fields: Iterable[Field]) -> Arguments:
    """Join the fields of the EXECVE records of one event.

    Complete means: argc arguments, numbered from 0 without a gap, with all their pieces, and
    as many bytes or hex digits as `aN_len=` says. Missing arguments are left out, so that a
    number in a damaged record cannot make a long empty list; the numbers can be found in
    the records, which are kept then.
    """
    positions = array("Q")  # number and piece, 32 bits each
    pieces: list[bytes] = []
    lengths: dict[int, int | None] = {}
    argc = None
    complete = True
    for name, value in fields:
        if match := _PIECE.fullmatch(name):
            if len(pieces) < _MOST_PIECES:
                positions.append(int(match[1]) << 32 | int(match[2] or 0))
                pieces.append(value or b"")
                complete &= value is not None
            else:
                complete = False
        elif match := _LENGTH.fullmatch(name):
            lengths[int(match[1])] = to_int(value)
        elif name == b"argc" and argc is None:
            argc = to_int(value)
        else:
            complete = False
    values: list[bytes] = []
    for number, argument, fits in _grouped(positions, pieces):
        complete &= fits and number == len(values)
        value = argument[0] if len(argument) == 1 else b"".join(argument)
        if number in lengths:
            complete &= lengths[number] in (len(value), 2 * len(value))
        values.append(value)
    return Arguments(values, complete and argc == len(values))


def _grouped(positions: array[int], pieces: list[bytes]) -> Iterator[tuple[int, list[bytes], bool]]:
    """Give each argument's number and pieces, in order, and whether each piece exists once."""
    order: Iterable[int] = range(len(positions))
    if any(one >= other for one, other in pairwise(positions)):
        order = sorted(order, key=positions.__getitem__)
    for number, group in groupby(order, key=lambda at: positions[at] >> 32):
        argument: list[bytes] = []
        fits, last = True, -1
        for at in group:
            piece = positions[at] & _PIECE_MASK
            if piece == last:  # the first one counts
                fits = False
                continue
            fits &= piece == last + 1
            argument.append(pieces[at])
            last = piece
        yield number, argument, fits


class Address(NamedTuple):
    """The columns of the table `address`."""

    family: str | None
    address: str | None
    port: int | None
    path: str | None
    saddr: str


def parse_address(saddr: bytes, *, little_endian: bool) -> Address:  # noqa: C901 - a case a family
    """Read the hex of a struct sockaddr; `little_endian` is the machine's byte order.

    If it is not hex, or too short for its family, only `saddr` has a value.
    Sources: unix(7), ip(7), ipv6(7), netlink(7), packet(7), vsock(7).
    """
    shown = to_text(saddr)[0]
    unread = Address(None, None, None, None, shown)
    if not _HEX.fullmatch(saddr) or len(saddr) < 4:
        return unread
    data = bytes.fromhex(saddr.decode())

    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], "little" if little_endian else "big")

    family = number(0, 2)
    size = len(data)
    match family:
        case 1:
            return Address("unix", None, None, _unix_path(data[2:]), shown)
        case 2 if size >= 8:
            port = int.from_bytes(data[2:4], "big")
            return Address("inet", str(IPv4Address(data[4:8])), port, None, shown)
        case 10 if size >= 24:
            port = int.from_bytes(data[2:4], "big")
            address = _ipv6(data[8:24])
            if size >= 28 and (scope := number(24, 4)):
                address += f"%{scope}"
            return Address("inet6", address, port, None, shown)
        case 16 if size >= 12:
            return Address("netlink", str(number(8, 4)), number(4, 4), None, shown)
        case 17 if size >= 12 and size >= 12 + data[11]:
            hardware = data[12 : 12 + data[11]].hex(":") or None
            return Address("packet", hardware, number(4, 4), None, shown)
        case 40 if size >= 12:
            return Address("vsock", str(number(8, 4)), number(4, 4), None, shown)
        case 2 | 10 | 16 | 17 | 40:
            return unread
    return Address(str(family), None, None, None, shown)


def _unix_path(name: bytes) -> str | None:
    """Show a unix name: a path ends at NUL, an abstract name begins with @; None if empty."""
    if not name:
        return None
    if name[0]:
        return to_text(name.split(b"\0", 1)[0])[0]
    abstract = name[1:].rstrip(b"\0")
    return "@" + to_text(abstract)[0] if abstract else None


def _ipv6(packed: bytes) -> str:
    """Write an address as in RFC 5952, an IPv4-mapped one with its IPv4 part."""
    address = IPv6Address(packed)
    if (mapped := address.ipv4_mapped) is not None:
        return f"::ffff:{mapped}"
    return address.compressed
