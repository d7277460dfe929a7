"""The values of a record in words, as `ausearch -i` has them, by our own tables.

Which kind a value is of follows from its field's name and the record's type; of a system
call's arguments from the call (`auditsvc.tables.arguments`). What has no words stays as it is;
an argument without a kind is hex with 0x before it. Names of users are those that auditd wrote
into the log behind its separator, else those of this machine.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from auditsvc.decode.reference.records import parse_address
from auditsvc.host.accounts import group_name, user_name
from auditsvc.record import types
from auditsvc.record.fields import UNSET
from auditsvc.tables import arguments as tables
from auditsvc.tables import names, shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from auditsvc.search.records import Record, Value

    _Words = Callable[[Record, str], str]

_UIDS: Final = frozenset(
    [
        "auid",
        "uid",
        "euid",
        "suid",
        "fsuid",
        "ouid",
        "oauid",
        "iuid",
        "id",
        "inode_uid",
        "obj_uid",
        "old-auid",
        "new-auid",
        "old_uid",
        "new_uid",
        "sauid",
        "loginuid",
    ]
)
_GIDS: Final = frozenset(
    "gid egid sgid fsgid ogid igid inode_gid obj_gid new_gid old_gid".split()  # noqa: SIM905
)
_SESSIONS: Final = ("ses", "old-ses", "new-ses", "oses")
_CAPABILITIES: Final = frozenset(
    [
        "cap_fp",
        "cap_fi",
        "cap_pp",
        "cap_pi",
        "cap_pe",
        "cap_pa",
        "old_pp",
        "old_pi",
        "old_pe",
        "old_pa",
        "fp",
        "fi",
        "fe_",
        "pa",
        "pp",
        "pi",
        "pe",
        "old_fp",
        "old_fi",
    ]
)
_OF_USER: Final = {name: name.upper().replace("-", "_") for name in (*_UIDS, *_GIDS)}


class Interpreter:
    """Gives a record's fields in words."""

    def fields(self, record: Record) -> Iterator[tuple[str, str]]:
        """Give names and values in words; the names that auditd added are in them already."""
        enriched = {name: value for name, value in record.fields if name.isupper() and value}
        call = _call_of(record)
        for name, value in record.fields:
            if name.isupper():
                continue
            yield name, self._value(record, call, name, value, enriched)

    def _value(
        self,
        record: Record,
        call: str | None,
        name: str,
        value: Value,
        enriched: Mapping[str, str | None],
    ) -> str:
        if value is None:
            return "(null)"
        if record.number == types.SYSCALL and name in _ARGUMENTS:
            known = "" if call in tables.OURS else call or ""
            return argument(known, _ARGUMENTS[name], value)
        if name in _UIDS and _is_uid(record, name):
            return enriched.get(_OF_USER[name]) or user(value)
        if name in _GIDS:
            return enriched.get(_OF_USER[name]) or group(value)
        words = _BY_NAME.get(name)
        if words is not None:
            return words(record, value)
        return value


def _is_uid(record: Record, name: str) -> bool:
    """Whether it is a user's: `id=` is also that of a group."""
    return name != "id" or record.type not in ("ADD_GROUP", "DEL_GROUP", "GRP_MGMT")


_DECIMAL: Final = re.compile("-?[0-9]{1,10}")
"""Whatever means a user, a call or an errno; a program's message may have any text in its place."""


def _decimal(value: str) -> int | None:
    return int(value) if _DECIMAL.fullmatch(value) else None


def _call_of(record: Record) -> str | None:
    arch, nr = record.get("arch"), record.get("syscall")
    number = _decimal(nr or "")
    if arch is None or number is None or number < 0:
        return None
    machine = names.arch_number(arch)
    return None if machine is None else names.syscall_name(machine, number)


_ARGUMENTS: Final = {f"a{place}": place for place in range(4)}


# --- users ---------------------------------------------------------------------------------


def user(value: str) -> str:
    """Give a user's name, `unset`, or unknown(1001) where this machine has none."""
    number = _decimal(value)
    if number is None:
        return value
    if number in (-1, UNSET):
        return "unset"
    return user_name(number) or f"unknown({number})"


def group(value: str) -> str:
    """Give a group's name, in the same way."""
    number = _decimal(value)
    if number is None:
        return value
    if number in (-1, UNSET):
        return "unset"
    return group_name(number) or f"unknown({number})"


def session(value: str) -> str:
    """Give a session's number, or `unset`."""
    return "unset" if value in ("-1", str(UNSET)) else value


# --- numbers of calls -------------------------------------------------------------------------


@lru_cache(4096)
def argument(call: str, place: int, value: str) -> str:
    """Give an argument of a system call in words; `value` is hex without 0x."""
    kind = tables.ARGUMENTS.get((call, place))
    try:
        number = int(value, 16)
    except ValueError:
        return value
    if kind is None:
        return f"0x{value}"
    if kind == "mode":
        return _mode(number)
    if kind in shapes.SPECIAL:
        return (user if kind == "uid" else group)(str(number & shapes.WORD))
    return shapes.words(kind, number)


def exit_code(value: str) -> str:
    """Give a result; an errno with its name and its meaning."""
    number = _decimal(value)
    name = None if number is None or number >= 0 else names.errno_name(-number)
    return value if number is None or name is None else f"{name}({os.strerror(-number)})"


def _bits(number: int, words: Mapping[int, str], nothing: str = "0x0") -> str:
    found = [word for bit, word in words.items() if number & bit]
    rest = number & ~sum(words)
    if rest:
        found.append(f"0x{rest:x}")
    return "|".join(found) or nothing


def _mode(number: int) -> str:
    number &= 0xFFFF
    special = [word for bit, word in _SPECIAL if number & bit]
    return ",".join([*special, f"0{number & 0o777:03o}"])


_SPECIAL: Final = ((0o4000, "suid"), (0o2000, "sgid"), (0o1000, "sticky"))


def file_mode(value: str) -> str:
    """Give the type and the permissions of a file: `file,644`; `value` is octal."""
    try:
        number = int(value, 8)
    except ValueError:
        return value
    kind = tables.FILE_TYPES.get(number & 0o170000, f"{number & 0o170000:03o}")
    special = [word for bit, word in _SPECIAL if number & bit]
    return ",".join([kind, *special, f"{number & 0o777:03o}"])


# --- other fields -----------------------------------------------------------------------------


def capabilities(value: str) -> str:
    """Give the names in a mask of capabilities, which is hex."""
    try:
        mask = int(value, 16)
    except ValueError:
        return value
    found = [name for bit, name in enumerate(tables.CAPABILITIES) if mask >> bit & 1]
    return ",".join(found) or "none"


def _arch(_: Record, value: str) -> str:
    number = names.arch_number(value)
    return value if number is None else names.arch_name(number)


def _syscall(record: Record, value: str) -> str:
    return _call_of(record) or value


def _yes(_: Record, value: str) -> str:
    return {"1": "yes", "0": "no"}.get(value, value)


def _sig(_: Record, value: str) -> str:
    if not value.isdecimal() or len(value) >= 10:
        return value
    return shapes.SHAPES["signal"].names.get(int(value), value)


def _code(record: Record, value: str) -> str:
    if record.number != types.SECCOMP:
        return value
    try:
        number = int(value, 16)
    except ValueError:
        return value
    return tables.SECCOMP_ACTIONS.get(number & 0xFFFF0000, value)


def _saddr(record: Record, value: str) -> str:
    if record.number != types.SOCKADDR:
        return value
    return address(value)


def address(saddr: str) -> str:
    """Give the address in the hex of a struct sockaddr, of a little-endian machine."""
    try:
        data = bytes.fromhex(saddr)
        found = parse_address(saddr.encode(), little_endian=True)
    except ValueError:
        return saddr
    family = int.from_bytes(data[:2], "little")
    name = tables.FAMILIES.get(family, str(family))
    if found.path is not None:
        return f"{{ saddr_fam={name} path={found.path} }}"
    if found.family in ("inet", "inet6") and found.address is not None:
        return f"{{ saddr_fam={name} laddr={found.address} lport={found.port} }}"
    if found.family == "netlink":
        return f"{{ saddr_fam={name} nlnk-fam={family} nlnk-pid={found.port or 0} }}"
    return f"{{ saddr_fam={name} }}"


def _uring(_: Record, value: str) -> str:
    return (
        names.uring_op_name(int(value)) if value.isdecimal() and len(value) < 10 else None
    ) or value


def _list(_: Record, value: str) -> str:
    return tables.FILTER_LISTS.get(value, value)


def _number_of(record_types: tuple[int, ...], base: int, words: Callable[[int], str]) -> _Words:
    """Give the words of a field that is a number of this base in records of these types."""

    def shown(record: Record, value: str) -> str:
        if record.number not in record_types:
            return value
        try:
            return words(int(value, base))
        except ValueError:
            return value

    return shown


def _of_file(record: Record, value: str) -> str:
    """Give a mode: of a file with its type, of a call that makes one without."""
    if record.number not in _OPENING:
        return file_mode(value)
    return _number_of(_OPENING, 8, _mode)(record, value)


_MMAP, _MQ_OPEN, _OPENAT2 = 1323, 1312, 1337
_OPENING: Final = (_MQ_OPEN, _OPENAT2)
_BY_NAME: Final[dict[str, Callable[[Record, str], str]]] = {
    "arch": _arch,
    "syscall": _syscall,
    "exit": lambda _, value: exit_code(value),
    "mode": _of_file,
    "list": _list,
    "oflag": lambda record, value: _number_of(
        _OPENING, 8 if record.number == _OPENAT2 else 16, partial(shapes.words, "open")
    )(record, value),
    "resolve": _number_of((_OPENAT2,), 16, lambda number: _bits(number, tables.RESOLVE)),
    "flags": _number_of((_MMAP,), 16, partial(shapes.words, "mapping")),
    "omode": lambda _, value: file_mode(value),
    "res": _yes,
    "sig": _sig,
    "code": _code,
    "saddr": _saddr,
    "uring_op": _uring,
    **dict.fromkeys(_SESSIONS, lambda _, value: session(value)),
    **dict.fromkeys(_CAPABILITIES, lambda _, value: capabilities(value)),
}
