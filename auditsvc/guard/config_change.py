"""A deed: what one CONFIG_CHANGE record tells, and who did it as far as records say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auditsvc.record.daemon import Actor, actor
from auditsvc.record.fields import UNSET

KnownBy = Literal[
    "",  # nothing tells who it was
    "record",  # CONFIG_CHANGE: the login alone
    "call",  # the SYSCALL of the same event
    "socket",  # the process of that login session that had just opened an audit socket
    "proc",  # /proc, by the pid that the kernel named
]


@dataclass(frozen=True, slots=True)
class Culprit:
    """Who did it; None, 0 and UNSET are not known."""

    actor: Actor = Actor()  # noqa: RUF009 - frozen
    comm: bytes | None = None
    exe: bytes | None = None
    known_by: KnownBy = ""


def culprit_of(pid: int) -> Culprit:
    """Look a process up in /proc; what is not there any more stays unknown."""
    folder = Path("/proc") / str(pid)
    try:
        comm = (folder / "comm").read_bytes().removesuffix(b"\n")
        exe = bytes((folder / "exe").readlink())
    except OSError:
        return Culprit(Actor(pid=pid), known_by="proc")
    return Culprit(actor(pid), comm, exe, "proc")


@dataclass(slots=True)
class Deed:
    """`filter_list` and `key` of a rule that came or went, or `setting` and its new `value`."""

    stamp: str
    """SEC.MMM:SERIAL."""
    second: int
    op: str
    filter_list: int | None = None
    key: bytes | None = None
    setting: str = ""
    """As in `backlog_limit`, or `pid` for the daemon's place."""
    value: int = 0
    done: bool = True
    """The kernel let it happen."""
    auid: int = UNSET
    ses: int = UNSET
    call: Culprit | None = None
    """Who made the call that it happened in, once its SYSCALL is there."""

    @property
    def adds(self) -> bool:
        """Whether a rule came."""
        return self.op == "add_rule"

    @property
    def removes(self) -> bool:
        """Whether a rule went; the kernel takes out what watched something that is gone."""
        return self.op in {"remove_rule", "autoremove_rule"}
