"""Names of machines, syscalls, record types and errnos.

The names of syscalls and record types come from the module `audit` (libaudit's tables) if it
can be imported, else from `auditsvc.tables`, which were generated from that module;
`auditsvc.tables.newer` completes both. So a log can be read on a machine without libaudit, and
on one whose libaudit is older than the kernel. Errnos and the numbers of machines come from
`auditsvc.tables` only: the module of libaudit 4 has neither.

All names are in dictionaries that are made at the first call.
"""

from __future__ import annotations

from auditsvc.tables.errnos import ERRNOS

from auditsvc.tables.record_types import RECORD_TYPES

from auditsvc.tables.syscalls import SYSCALLS

import re
from functools import cache
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Final

from auditsvc.errors import KernelError
from auditsvc.host.system_module import audit_module
from auditsvc.tables import newer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

X32_BIT: Final = 0x40000000
"""Set in the number of an x32 call, whose arch is that of x86_64."""

_X86_64: Final = 0xC000003E
_UNKNOWN: Final = re.compile(r"UNKNOWN\[([0-9]+)\]")
# Above all tables: libaudit has no call from 1024 on, and no type from 3000 on.
_SYSCALL_NUMBERS: Final = range(1024)
_RECORD_TYPES: Final = range(3000)


def module_syscalls(audit: ModuleType) -> dict[int, dict[int, str]]:
    """Dump the syscalls of every machine `audit` knows: arch -> number -> name."""
    tables = {}
    for arch in newer.ARCHES:
        machine = audit.audit_elf_to_machine(arch)
        if machine < 0:
            continue
        names = ((nr, audit.audit_syscall_to_name(nr, machine)) for nr in _SYSCALL_NUMBERS)
        tables[arch] = {nr: name for nr, name in names if name}
    return tables


def module_record_types(audit: ModuleType) -> dict[int, str]:
    """Dump the record types `audit` knows: number -> name."""
    names = ((number, audit.audit_msg_type_to_name(number)) for number in _RECORD_TYPES)
    return {number: name for number, name in names if name}


@cache
def _audit() -> ModuleType | None:
    try:
        return audit_module()
    except KernelError:  # the tables take its place
        return None


@cache
def _syscalls() -> Mapping[int, Mapping[int, str]]:
    audit = _audit()
    if audit is not None:
        tables = module_syscalls(audit)
    else:
        tables = {arch: dict(table) for arch, table in SYSCALLS.items()}
    for arch, (lacks, own) in newer.SYSCALLS_LIKE_AARCH64.items():
        like = {nr: name for nr, name in tables[newer.AARCH64].items() if nr not in lacks}
        tables.setdefault(arch, like | own)
    for arch, table in tables.items():
        for nr, name in (newer.SYSCALLS.get(arch, {}) | newer.SYSCALLS_EVERYWHERE).items():
            table.setdefault(nr, name)
    return {arch: MappingProxyType(table) for arch, table in tables.items()}


@cache
def _syscall_numbers(arch: int) -> Mapping[str, int]:
    numbers = {name: nr for nr, name in _syscalls().get(arch, {}).items()}
    for alias, name in newer.SYSCALL_ALIASES.items():
        if name in numbers:
            numbers.setdefault(alias, numbers[name])
    return numbers


def arches() -> Sequence[int]:
    """Give AUDIT_ARCH_* of every machine for which syscall names are known."""
    return tuple(_syscalls())


def arch_name(arch: int) -> str:
    """Give the name of an AUDIT_ARCH_*, or without one the hex text that the kernel prints."""
    return newer.ARCHES.get(arch) or f"{arch:x}"


@cache
def _arch_numbers() -> Mapping[str, int]:
    numbers = {name: number for number, name in newer.ARCHES.items()}
    return numbers | {alias: numbers[name] for alias, name in newer.ARCH_ALIASES.items()}


def arch_number(name: str) -> int | None:
    """AUDIT_ARCH_* of a machine's name or of its hex text; None if it is neither."""
    number = _arch_numbers().get(name)
    if number is None and re.fullmatch("[0-9a-f]{1,8}", name):
        return int(name, 16)
    return number


def syscalls(arch: int) -> Mapping[int, str]:
    """Give all syscalls of a machine, number -> name; empty if there is no table for it."""
    return _syscalls().get(arch, MappingProxyType({}))


def syscall_name(arch: int, nr: int) -> str | None:
    """Name of a syscall; x32's numbers carry X32_BIT."""
    if arch == _X86_64 and nr & X32_BIT:
        nr &= ~X32_BIT
        if nr in newer.X32_SYSCALLS:
            return newer.X32_SYSCALLS[nr]
    return syscalls(arch).get(nr)


def syscall_number(arch: int, name: str) -> int | None:
    """Give the number of a syscall's name; both the kernel's and libaudit's names are accepted."""
    return _syscall_numbers(arch).get(name)


@cache
def record_types() -> Mapping[int, str]:
    """Give all record types with a name, number -> name."""
    audit = _audit()
    if audit is not None:
        types = module_record_types(audit)
    else:
        types = dict(RECORD_TYPES)
    return MappingProxyType(newer.RECORD_TYPES | types)


@cache
def _record_type_numbers() -> Mapping[str, int]:
    return {name: number for number, name in record_types().items()}


def record_type_name(record_type: int) -> str:
    """Give the name of a record type, or without one as auditd writes it: UNKNOWN[1499]."""
    return record_types().get(record_type) or f"UNKNOWN[{record_type}]"


def record_type_number(name: str) -> int | None:
    """Give the number of a record type's name, UNKNOWN[n] included; None if there is none."""
    number = _record_type_numbers().get(name)
    if number is None and (match := _UNKNOWN.fullmatch(name)):
        return int(match[1])
    return number


@cache
def errnos() -> Mapping[int, str]:
    """Every errno that has a name, number -> name, as on most machines (asm-generic/errno.h)."""
    return MappingProxyType(newer.ERRNOS | ERRNOS)


@cache
def _errno_numbers() -> Mapping[str, int]:
    return newer.ERRNO_ALIASES | {name: number for number, name in errnos().items()}


@cache
def uring_ops() -> Mapping[int, str]:
    """Every io_uring operation, number -> name; the module `audit` has none of them."""
    return MappingProxyType(dict(enumerate(newer.URING_OPS)))


def uring_op_name(op: int) -> str | None:
    """Name of an io_uring operation (18 -> openat)."""
    return uring_ops().get(op)


def uring_op_number(name: str) -> int | None:
    """Give the number of an io_uring operation's name."""
    return newer.URING_OPS.index(name) if name in newer.URING_OPS else None


def errno_name(number: int) -> str | None:
    """Name of a positive errno (2 -> ENOENT)."""
    return errnos().get(number)


def errno_number(name: str) -> int | None:
    """Positive number of an errno's name; second names (EWOULDBLOCK) are known."""
    return _errno_numbers().get(name)
