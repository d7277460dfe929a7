"""A configuration change: one CONFIG_CHANGE record, and who made it as far as known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auditsvc.record.daemon import Actor, actor
from auditsvc.record.fields import UNSET

KnownBy = Literal[
    "",  # unknown
    "record",  # CONFIG_CHANGE: only the login
    "call",  # the SYSCALL of the same event
    "socket",  # the process of that login session that opened an audit socket just before
    "proc",  # /proc, by the pid that the kernel gave
]


@dataclass(frozen=True, slots=True)
class ActorInfo:
    """Who made a change; None, 0 and UNSET are unknown."""

    actor: Actor = Actor()  # noqa: RUF009 - frozen
    comm: bytes | None = None
    exe: bytes | None = None
    known_by: KnownBy = ""


def actor_info(pid: int) -> ActorInfo:
    """Look up a process in /proc; what no longer exists stays unknown."""
    folder = Path("/proc") / str(pid)
    try:
        comm = (folder / "comm").read_bytes().removesuffix(b"\n")
        exe = bytes((folder / "exe").readlink())
    except OSError:
        return ActorInfo(Actor(pid=pid), known_by="proc")
    return ActorInfo(actor(pid), comm, exe, "proc")


@dataclass(slots=True)
class ConfigChange:
    """`filter_list` and `key` of an added or deleted rule, or `setting` and its new `value`."""

    stamp: str
    """SEC.MMM:SERIAL."""
    second: int
    op: str
    filter_list: int | None = None
    key: bytes | None = None
    setting: str = ""
    """A name such as `backlog_limit`, or `pid` for the registered audit daemon."""
    value: int = 0
    done: bool = True
    """Whether the kernel allowed it."""
    auid: int = UNSET
    ses: int = UNSET
    call: ActorInfo | None = None
    """Who made the system call, once its SYSCALL record is found."""

    @property
    def adds(self) -> bool:
        """Whether a rule was added."""
        return self.op == "add_rule"

    @property
    def removes(self) -> bool:
        """Whether a rule was deleted, by the kernel too, when what it watched was deleted."""
        return self.op in {"remove_rule", "autoremove_rule"}
