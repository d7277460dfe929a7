"""Which calls are signs of processes (`auditsvc.store.process_lives`), and of whom."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.store.process_lives import BIRTH, BIRTHS, EXEC, EXIT, MAYBE, MOST_PID
from auditsvc.store.sign_sql import PPID
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Mapping

_KIND_OF: Final = {
    "fork": BIRTH,
    "vfork": BIRTH,
    "clone": BIRTH,
    "clone3": MAYBE,
    "execve": EXEC,
    "execveat": EXEC,
    "exit_group": EXIT,
}
_FLAGS_SECOND: Final = (0x80000016, 0x00000016)
"""Where the flags of clone are its second argument: s390x, s390 (CONFIG_CLONE_BACKWARDS2)."""
CLONE_PARENT: Final = 0x8000
CLONE_THREAD: Final = 0x10000


@cache
def kinds(arch: int) -> Mapping[int, int]:
    """Give the kind of sign of each call that can be one, by its number."""
    numbered = ((names.syscall_number(arch, name), kind) for name, kind in _KIND_OF.items())
    return {nr: kind for nr, kind in numbered if nr is not None}


@cache
def numbers() -> frozenset[int]:
    """Give the numbers of such calls on any machine."""
    return frozenset(nr for arch in names.arches() for nr in kinds(arch))


@cache
def _clone(arch: int) -> int | None:
    return names.syscall_number(arch, "clone")


def clone_flags(arch: int, nr: int, a0: int, a1: int) -> int:
    """Give the flags of a call that makes a process; 0 if it has none that the log shows."""
    if nr != _clone(arch):
        return 0
    return a1 if arch in _FLAGS_SECOND else a0


def select_calls() -> list[str]:
    """Give a SELECT of the signs of stored calls for each kind, as `signs` makes them.

    Columns: host, pid, at, low, kind, ppid, ses, exe.
    """
    numbered: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for arch in names.arches():
        for nr, kind in kinds(arch).items():
            flags = "0"
            if names.syscall_name(arch, nr) == "clone":
                flags = "s.a1" if arch in _FLAGS_SECOND else "s.a0"
            numbered[flags, kind].append((arch, nr))
    at = f"(s.id >> {SERIAL_BITS}) * 1000 + s.ms, s.id & {SERIAL_MASK}"
    made = []
    for (flags, kind), pairs in numbered.items():
        calls = " OR ".join(f"(c.arch = {arch} AND s.nr = {nr})" for arch, nr in pairs)
        pid, parent, also = "c.pid", PPID, "" if kind == EXIT else " AND s.success = 1"
        if kind in BIRTHS:
            pid = "s.exit"
            also = (
                f"{also} AND s.exit BETWEEN 1 AND {MOST_PID} AND s.exit <> c.pid"
                f" AND ({flags} & {CLONE_THREAD}) = 0"
            )
            parent = f"CASE WHEN ({flags} & {CLONE_PARENT}) <> 0 THEN {PPID} ELSE c.pid END"
        made.append(
            f"SELECT c.host, {pid}, {at}, {kind}, {parent}, c.ses, c.exe FROM context c"  # noqa: S608 - numbers and this module's text
            f" JOIN syscall s ON s.context = c.id WHERE ({calls})"
            f" AND c.pid BETWEEN 1 AND {MOST_PID}{also}"
        )
    return made
