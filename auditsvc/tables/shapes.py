"""How the kinds of arguments are written in words: one description for Python and for SQL.

A number of a kind is a mask of `flags`, with one part (`part`) that is a number with names of
its own (`names`), as O_RDWR is in the flags of open. `auditsvc.search.interpret` writes it so
with `words`; `auditsvc.store.builtin` puts the same description into each store, where the
views do it in SQL (`auditsvc.store.views.words`). A test holds both equal.

    O_WRONLY|O_CREAT|0x8000     part, flags, and the rest in hex
    SIGKILL                     a kind without flags: the name, or the number in hex as it came
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.tables import arguments as tables

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL: Final = (1 << 64) - 1
WORD: Final = 0xFFFFFFFF
_AT_FDCWD: Final = 0xFFFFFF9C


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of number."""

    mask: int = ALL
    """Bits that the kernel looks at."""
    part: int = 0
    """Bits that are one number."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Of the values of the part."""
    flags: Mapping[int, str] = field(default_factory=dict)
    """Names of the other bits, in the order in which they are written."""
    last: bool = False
    """Whether the part comes after the flags."""
    nothing: str = "0x0"
    """What a number without any bit is, unless 0 is a name."""

    @property
    def rest(self) -> int:
        """The bits without a name."""
        return self.mask & ~self.part & ~sum(self.flags)


def _named(names: Mapping[int, str], mask: int = WORD) -> Shape:
    return Shape(mask, mask, names)


_SIGNALS: Final = {**tables.SIGNALS, **{n: f"SIGRT{n - 32}" for n in range(32, 65)}}
_OPENED_FOR: Final = {0: "O_RDONLY", 1: "O_WRONLY", 2: "O_RDWR", 3: "O_ACCMODE"}
_OPEN_FLAGS: Final = {bit: word for bit, word in tables.OPEN_FLAGS.items() if bit > 3}
_SOCKET_FLAGS: Final = {0o2000000: "SOCK_CLOEXEC", 0o4000: "SOCK_NONBLOCK"}

SHAPES: Final = {
    "dirfd": _named({_AT_FDCWD: "AT_FDCWD"}),
    "open": Shape(WORD, 3, _OPENED_FOR, _OPEN_FLAGS),
    "access": Shape(0xF, flags=tables.ACCESS, nothing="F_OK"),
    "protection": Shape(flags=tables.PROTECTION, nothing="PROT_NONE"),
    "mapping": Shape(WORD, flags=tables.MAPPING),
    "signal": _named(_SIGNALS, 0x7FFFFFFF),
    "family": _named(tables.FAMILIES),
    "socket": Shape(WORD, 0xF, tables.SOCKET_TYPES, _SOCKET_FLAGS),
    "clone": Shape(WORD, 0xFF, {n: word for n, word in _SIGNALS.items() if n}, tables.CLONE, True),
    "whence": _named(tables.WHENCE),
    "limit": _named(tables.LIMITS),
    "ptrace": _named(tables.PTRACE),
    "reboot": _named(tables.REBOOT),
    "prctl": _named(tables.PRCTL),
    "clock": _named(tables.CLOCKS),
    "mount": Shape(flags=tables.MOUNT),
    "umount": Shape(flags=tables.UMOUNT),
    "unlink": Shape(flags=tables.UNLINK),
    "capability": _named(dict(enumerate(tables.CAPABILITIES))),
    "socketcall": _named(tables.SOCKET_CALLS),
    "ipc": _named(tables.IPC_CALLS, 0xFFFF),
}
"""By kind. `mode`, `uid` and `gid` are written in ways of their own."""

SPECIAL: Final = ("mode", "uid", "gid")
"""Kinds that are no names: permissions in octal, and ids."""


def words(kind: str, number: int) -> str:
    """Give a number (64 bits, unsigned) of a kind of SHAPES in words."""
    shape = SHAPES[kind]
    seen = number & shape.mask
    value = seen & shape.part
    name = shape.names.get(value)
    if not shape.flags:
        return name or f"0x{number:x}"
    if name is None and value:
        name = f"0x{value:x}"
    found = [word for bit, word in shape.flags.items() if seen & bit]
    if seen & shape.rest:
        found.append(f"0x{seen & shape.rest:x}")
    if name is not None:
        found.insert(len(found) if shape.last else 0, name)
    return "|".join(found) or shape.nothing
