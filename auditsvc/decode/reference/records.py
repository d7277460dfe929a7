"""Records that need joining or taking apart: EXECVE and SOCKADDR.

EXECVE: the kernel (audit_log_execve_info) starts a new record near 7500 bytes, and
a long argument comes in pieces: `aN_len=`, in bytes or in the hex digits it takes, and
then `aN[0]=`, `aN[1]=` ...

SOCKADDR: `saddr=` is the hex of a struct sockaddr as the syscall passed it, in the
machine's own byte order where the structure is.
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
"""An execve takes no more arguments: 6 MiB of them, of a pointer and a NUL each (exec.c)."""
_LENGTH: Final = re.compile(rb"a([0-9]{1,9})_len")
_HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2})+")


class Arguments(NamedTuple):
    """What EXECVE records say: the arguments that came, in order, and whether all did."""

    values: list[bytes]
    whole: bool


def join_arguments(fields: Iterable[Field]) -> Arguments:
    """Join the fields of the EXECVE records of one event.

    Whole means: argc arguments, numbered from 0 without a hole, each of its
    pieces there, and as many bytes or hex digits as `aN_len=` says. Holes are
    closed up, so that no number in a damaged record can make a long list of
    nothing; whoever needs the numbers keeps the records.
    """
    places = array("Q")  # number and piece, 32 bits each
    pieces: list[bytes] = []
    lengths: dict[int, int | None] = {}
    argc = None
    whole = True
    for name, value in fields:
        if match := _PIECE.fullmatch(name):
            if len(pieces) < _MOST_PIECES:
                places.append(int(match[1]) << 32 | int(match[2] or 0))
                pieces.append(value or b"")
                whole &= value is not None
            else:
                whole = False
        elif match := _LENGTH.fullmatch(name):
            lengths[int(match[1])] = to_int(value)
        elif name == b"argc" and argc is None:
            argc = to_int(value)
        else:
            whole = False
    values: list[bytes] = []
    for number, argument, fits in _grouped(places, pieces):
        whole &= fits and number == len(values)
        value = argument[0] if len(argument) == 1 else b"".join(argument)
        if number in lengths:
            whole &= lengths[number] in (len(value), 2 * len(value))
        values.append(value)
    return Arguments(values, whole and argc == len(values))


def _grouped(places: array[int], pieces: list[bytes]) -> Iterator[tuple[int, list[bytes], bool]]:
    """Give each argument's number and pieces, in order; and whether each piece is there, once."""
    order: Iterable[int] = range(len(places))
    if any(one >= other for one, other in pairwise(places)):
        order = sorted(order, key=places.__getitem__)
    for number, group in groupby(order, key=lambda at: places[at] >> 32):
        argument: list[bytes] = []
        fits, last = True, -1
        for at in group:
            piece = places[at] & _PIECE_MASK
            if piece == last:  # the first one counts
                fits = False
                continue
            fits &= piece == last + 1
            argument.append(pieces[at])
            last = piece
        yield number, argument, fits


class Address(NamedTuple):
    """A row of the table `address`, as its columns say."""

    family: str | None
    address: str | None
    port: int | None
    path: str | None
    saddr: str


def parse_address(saddr: bytes, *, little: bool) -> Address:  # noqa: C901 - a case a family
    """Read the hex of a struct sockaddr; `little` is the machine's byte order.

    One that is not hex, or too short for its family, has no family and all in `saddr`.
    Sources: unix(7), ip(7), ipv6(7), netlink(7), packet(7), vsock(7).
    """
    shown = to_text(saddr)[0]
    unread = Address(None, None, None, None, shown)
    if not _HEX.fullmatch(saddr) or len(saddr) < 4:
        return unread
    data = bytes.fromhex(saddr.decode())

    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], "little" if little else "big")

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
    """Show a unix name: a path ends at NUL, an abstract name begins with @, none is None."""
    if not name:
        return None
    if name[0]:
        return to_text(name.split(b"\0", 1)[0])[0]
    abstract = name[1:].rstrip(b"\0")
    return "@" + to_text(abstract)[0] if abstract else None


def _ipv6(packed: bytes) -> str:
    """Show an address as RFC 5952 does, IPv4-mapped ones with their IPv4 part."""
    address = IPv6Address(packed)
    if (mapped := address.ipv4_mapped) is not None:
        return f"::ffff:{mapped}"
    return address.compressed
