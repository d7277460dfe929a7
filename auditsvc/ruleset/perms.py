"""The system calls that match `perm=`.

The kernel's classes of calls (include/asm-generic/audit_*.h of Linux 6.18; older kernels
have fewer), and the calls whose arguments decide (kernel/auditsc.c audit_match_perm):
open, openat and openat2 by their access mode; execve and execveat are always x.
"""

from __future__ import annotations

from typing import Final

from auditsvc.rule import fields
from auditsvc.tables import names

READ: Final = fields.PERMS["r"]
WRITE: Final = fields.PERMS["w"]
EXECUTE: Final = fields.PERMS["x"]
ATTRIBUTE: Final = fields.PERMS["a"]

_CLASSES: Final = {
    READ: "readlink readlinkat quotactl listxattr llistxattr flistxattr listxattrat"
    " getxattr lgetxattr fgetxattr getxattrat",
    WRITE: "creat link linkat symlink symlinkat mkdir mkdirat mknod mknodat unlink unlinkat rmdir"
    " rename renameat renameat2 truncate truncate64 ftruncate ftruncate64 fallocate acct swapon"
    " quotactl bind",
    EXECUTE: "execve execveat",
    ATTRIBUTE: "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat chown32 fchown32"
    " lchown32 setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr"
    " removexattrat link linkat",
}

_OPENS: Final = {"open": 1, "openat": 2, "openat2": None}
# open_by_handle_at is not among them: a watch does not match it.


def calls(arch: int, perms: int) -> frozenset[int]:
    """Numbers of the calls of a machine that match `perms` with any arguments."""
    found = (
        names.syscall_number(arch, name)
        for perm, members in _CLASSES.items()
        if perms & perm
        for name in members.split()
    )
    return frozenset(number for number in found if number is not None)


def opens(arch: int, perms: int) -> dict[int, int | None]:
    """Numbers of the calls whose flags decide -> the index of the argument with the flags.

    None: the flags are in memory, so the arguments of an event do not have them.
    """
    if not perms & (READ | WRITE):
        return {}
    found = {names.syscall_number(arch, name): index for name, index in _OPENS.items()}
    return {number: index for number, index in found.items() if number is not None}
