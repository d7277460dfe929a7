"""A SYSCALL record -> the facts of its call, and its other fields, which describe the process.

The kernel writes one layout (audit_log_exit); a record in another order is read field by
field, with the same result.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.record.fields import Field, parse_fields, signed, to_int
from auditsvc.record.types import SYSCALL

if TYPE_CHECKING:
    from collections.abc import Sequence

CALL: Final = (
    rb"arch=([0-9a-f]{1,8}) syscall=(-?[0-9]{1,10})( per=[0-9a-f]{1,16})?"
    rb"(?: success=(yes|no) exit=(-?[0-9]{1,19}))?"
    rb" a0=([0-9a-f]{1,16}) a1=([0-9a-f]{1,16}) a2=([0-9a-f]{1,16}) a3=([0-9a-f]{1,16})"
    rb" items=([0-9]{1,9})"
)
"""Pattern of a call's facts, as the kernel writes them; ` ppid=` follows."""

_CALL: Final = re.compile(CALL + rb"( ppid=.*)", re.DOTALL)
_HEX: Final = re.compile(rb"[0-9a-f]{1,16}")
_FACTS: Final = (b"arch", b"syscall", b"a0", b"a1", b"a2", b"a3", b"items", b"success", b"exit")
_HEX_FACTS: Final = (b"arch", b"a0", b"a1", b"a2", b"a3")
_INT32: Final = 1 << 31
_INT64: Final = 1 << 63


class Call(NamedTuple):
    """The facts of a SYSCALL record; `rest` has the other fields, as bytes or parsed."""

    arch: int
    nr: int
    success: int | None
    exit: int | None
    a0: int
    a1: int
    a2: int
    a3: int
    items: int
    rest: bytes | tuple[Field, ...]


def read_call(groups: Sequence[bytes]) -> Call | None:
    """Make a Call from the groups of `CALL` and of the rest; None if a number is out of range."""
    arch, nr, per, success, result, a0, a1, a2, a3, items, rest = groups
    number = int(nr)
    if not -_INT32 <= number < _INT32:
        return None
    v0, v1, v2, v3 = int(a0, 16), int(a1, 16), int(a2, 16), int(a3, 16)
    code = None if result is None else int(result)
    if code is not None and not -_INT64 <= code < _INT64:
        return None
    return Call(
        int(arch, 16),
        number,
        None if success is None else int(success == b"yes"),
        code,
        v0 if v0 < _INT64 else v0 - (1 << 64),
        v1 if v1 < _INT64 else v1 - (1 << 64),
        v2 if v2 < _INT64 else v2 - (1 << 64),
        v3 if v3 < _INT64 else v3 - (1 << 64),
        int(items),
        rest if per is None else per + rest,
    )


def parse_call(body: bytes) -> Call | None:
    """Read a SYSCALL record in any order; None if a field that a row needs is missing."""
    match = _CALL.fullmatch(body)
    if match and (call := read_call(match.groups())):
        return call
    found: dict[bytes, bytes] = {}
    rest = []
    for field in parse_fields(SYSCALL, body):
        if field.name in _FACTS and field.name not in found and field.value is not None:
            found[field.name] = field.value
        else:
            rest.append(field)
    needed = [found.get(name, b"") for name in _HEX_FACTS]
    nr, items = to_int(found.get(b"syscall")), to_int(found.get(b"items"))
    if nr is None or items is None or not all(map(_HEX.fullmatch, needed)):
        return None
    arch, *arguments = (int(value, 16) for value in needed)
    if not (-_INT32 <= nr < _INT32 and 0 <= items < _INT32 and arch < 1 << 32):
        return None
    success = {b"yes": 1, b"no": 0}.get(found.get(b"success", b""))
    result = to_int(found.get(b"exit"))
    rest += [
        Field(name, found[name])
        for name, value in ((b"success", success), (b"exit", result))
        if name in found and value is None
    ]
    a0, a1, a2, a3 = map(signed, arguments)
    code = None if result is None else signed(result)
    return Call(arch, nr, success, code, a0, a1, a2, a3, items, tuple(rest))
