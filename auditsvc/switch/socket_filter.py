"""A BPF socket filter that passes only the records that a flip reads.

Where every call is traced, our own recvfrom is too: each record that we receive makes three
new ones. With this filter on the socket we do not receive those.

What passes: CONFIG_CHANGE, and a SYSCALL record whose text begins

    audit(SECOND.MMM:SERIAL): arch=ARCH syscall=NR_

with ARCH and NR of the probe's call. A second has ten digits (2001 to 2286), a serial one
to ten. Classic BPF (linux/bpf_common.h): a word is compared as four bytes in their
order; a read beyond the end drops the message.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from auditsvc.record.types import CONFIG_CHANGE, SYSCALL

if TYPE_CHECKING:
    from auditsvc.kernel.netlink import Instruction

_TYPE_AT: Final = 4  # struct nlmsghdr: length u32, type u16
_SERIAL_AT: Final = 16 + len("audit(1700000000.000:")

# BPF_LD|BPF_H|BPF_ABS and so on.
_LOAD_HALF, _LOAD_WORD, _LOAD_WORD_AT_X, _LOAD_BYTE_AT_X = 0x28, 0x20, 0x40, 0x50
_SET_X, _JUMP, _JUMP_EQUAL, _RETURN = 0x01, 0x05, 0x15, 0x06
_ALL: Final = 0xFFFFFFFF


def socket_filter(arch: int, nr: int) -> list[Instruction]:
    """Make the program for the system call `nr` of AUDIT_ARCH_* `arch`."""
    text = f"): arch={arch:x} syscall={nr} ".encode()
    words = [text[at : at + 4] for at in range(0, len(text), 4)]
    matched: list[Instruction] = []  # X is the length of the serial; else the message is dropped
    for at, word in enumerate(words):
        full = len(word) == 4
        for offset, part in [(0, word)] if full else list(enumerate(map(_byte, word))):
            load = _LOAD_WORD_AT_X if full else _LOAD_BYTE_AT_X
            matched.append((load, 0, 0, _SERIAL_AT + 4 * at + offset))
            matched.append((_JUMP_EQUAL, 1, 0, int.from_bytes(part, "big")))
            matched.append((_RETURN, 0, 0, 0))
    matched.append((_RETURN, 0, 0, _ALL))
    search: list[Instruction] = []
    first = int.from_bytes(words[0], "big")
    for length in range(1, 11):
        search += [
            (_LOAD_WORD, 0, 0, _SERIAL_AT + length),
            (_JUMP_EQUAL, 0, 2, first),
            (_SET_X, 0, 0, length),
            (_JUMP, 0, 0, 4 * (10 - length) + 1),
        ]
    return [
        (_LOAD_HALF, 0, 0, _TYPE_AT),
        (_JUMP_EQUAL, 0, 1, _half(CONFIG_CHANGE)),
        (_RETURN, 0, 0, _ALL),
        (_JUMP_EQUAL, 1, 0, _half(SYSCALL)),
        (_RETURN, 0, 0, 0),
        *search,
        (_RETURN, 0, 0, 0),
        *matched,
    ]


def _half(number: int) -> int:
    """A u16 of this machine as BPF loads it: as big-endian."""
    return int.from_bytes(struct.pack("=H", number), "big")


def _byte(number: int) -> bytes:
    return bytes((number,))
