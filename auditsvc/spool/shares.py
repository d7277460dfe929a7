"""Chooses the records that are written while the spool's room is short; finds who floods it.

    shares = Shares(left)             # bytes that remain
    kept, count = shares.choose(lines)
    shares.flood(now)                 # who made most records lately

What must hold:

* Half of what remains is for important records: logins and accounts (LOGIN, USER_*), execs,
  configuration changes, and the service's own DAEMON_*. Other records never use that half.
* Of each half a login user (auid) gets a record only if he has then had at most as much as is
  left for all others (the dynamic threshold of Choudhury and Hahne, 1998). So a single user
  cannot take more than half, and who comes later always finds room. Records without an
  auid share one. DAEMON_* need none.
* An event is kept or dropped whole, unless it is longer than its user's share.

Lines are parsed only here, while room is short.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final

from auditsvc.record.fields import UNSET, decode_value, to_text
from auditsvc.record.line import untrusted
from auditsvc.record.types import SYSCALL
from auditsvc.tables.names import syscall_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEAD: Final = re.compile(rb"(?:node=\S+ )?type=([A-Z0-9_\[\]]+) msg=(audit\([0-9.:]+\)):")
_CALL: Final = re.compile(rb" arch=([0-9a-f]{1,8}) syscall=([0-9]{1,10}) ")
_AUID: Final = re.compile(rb" auid=([0-9]{1,10})(?= |\Z)")
_EXE: Final = re.compile(rb' exe=("[^"\s]+"|[0-9A-F]+)(?= |\Z)')
_FAR: Final = 2000
"""Bytes of a line in which its auid and exe are looked for: `comm` and `exe` may be long."""
_IMPORTANT: Final = frozenset(
    b"LOGIN EXECVE CONFIG_CHANGE FEATURE_CHANGE MAC_STATUS MAC_POLICY_LOAD MAC_CONFIG_CHANGE"
    b" ADD_USER DEL_USER ADD_GROUP DEL_GROUP CRED_ACQ CRED_REFR CRED_DISP ACCT_LOCK ACCT_UNLOCK"
    b" CHUSER_ID CHGRP_ID GRP_AUTH GRP_MGMT GRP_CHAUTHTOK ROLE_ASSIGN ROLE_REMOVE".split()
)
_OTHER_USER: Final = frozenset((b"USER_AVC", b"USER_TTY"))
_EXECS: Final = frozenset(("execve", "execveat"))
_MOST_OPEN: Final = 64
"""Events of one batch whose records may continue in the next."""
_MOST_USERS: Final = 4096
INTERVAL: Final = 10.0
"""Seconds over which the records of each user are counted."""


@dataclass(frozen=True, slots=True)
class Flood:
    """The login user with most records in an interval."""

    auid: int
    records: int
    of: int
    """Records of all users."""
    seconds: float
    exe: str
    """The program of one of his calls; "" if none had one."""

    def fields(self) -> str:
        """Write it as fields of a record."""
        exe = untrusted(self.exe.encode(errors="surrogateescape")) if self.exe else "(null)"
        return (
            f" most_auid={self.auid} most_records={self.records} most_of={self.of} most_exe={exe}"
        )

    def __str__(self) -> str:
        who = "no login user" if self.auid == UNSET else f"auid {self.auid}"
        program = f", {self.exe}" if self.exe else ""
        return f"{who}{program}: {self.records} of {self.of} records in {self.seconds:.0f} s"


class _Half:
    """Bytes that users share."""

    def __init__(self, left: int) -> None:
        self.left = left
        self._taken: dict[int, int] = {}

    def take(self, auid: int, size: int) -> bool:
        """Take bytes for a user, if he has then at most as much as is left."""
        taken = self._taken.get(auid, 0) + size
        if taken > self.left - size:
            return False
        self._taken[auid] = taken
        self.left -= size
        return True


@dataclass(slots=True)
class _Event:
    """Records of one stamp in one batch."""

    auid: int = UNSET
    size: int = 0
    is_important: bool = False
    is_own: bool = False
    is_kept: bool | None = None
    """None: not decided."""


@dataclass(slots=True)
class _Tally:
    records: int = 0
    exe: bytes = b""


class Shares:
    """The remaining room, until there is enough again."""

    def __init__(self, left: int, now: float) -> None:
        """`left`: bytes that remain; `now`: seconds of a monotonic clock."""
        self._reserved = _Half(left // 2)
        self._shared = _Half(left - left // 2)
        self._open: dict[bytes, _Event] = {}
        self._tallies: dict[int, _Tally] = {}
        self._since = now
        self._last: Flood | None = None

    def choose(self, lines: bytes) -> tuple[bytes, int]:
        """Give the lines that are kept, in their order, and their number."""
        events: dict[bytes, _Event] = {}
        found: list[tuple[_Event, bytes]] = []
        for line in lines.split(b"\n")[:-1]:
            event = self._see(line, events)
            event.size += len(line) + 1
            found.append((event, line))
        for event in events.values():
            event.is_kept = event.is_kept is not False and self._decide(event)
        self._count(found)
        kept = [line + b"\n" for event, line in found if event.is_kept]
        last = islice(reversed(events.items()), _MOST_OPEN)
        self._open = {stamp: event for stamp, event in last if not event.is_own}
        return b"".join(kept), len(kept)

    def _see(self, line: bytes, events: dict[bytes, _Event]) -> _Event:
        """Give the event of a line, with what the line says about it."""
        head = _HEAD.match(line)
        name, stamp = (head[1], head[2]) if head else (b"", line)
        own = name.startswith(b"DAEMON_")
        event = events.get(stamp)
        if event is None:
            event = events[stamp] = _Event()
            if before := self._open.get(stamp):
                event.auid, event.is_kept = before.auid, before.is_kept
                event.is_important = before.is_important
        event.is_own |= own
        event.is_important |= _is_important(name, line)
        if event.auid == UNSET and (auid := _AUID.search(line, 0, _FAR)):
            event.auid = int(auid[1])
        return event

    def _decide(self, event: _Event) -> bool:
        if event.is_own:
            self._reserved.left -= event.size
            return True
        auid, size = event.auid, event.size
        if event.is_important and self._reserved.take(auid, size):
            return True
        return self._shared.take(auid, size)

    def _count(self, found: Iterable[tuple[_Event, bytes]]) -> None:
        for event, line in found:
            tally = self._tallies.get(event.auid)
            if tally is None:
                if len(self._tallies) >= _MOST_USERS:
                    continue
                tally = self._tallies[event.auid] = _Tally()
            tally.records += not event.is_own
            if not tally.exe and (exe := _EXE.search(line, 0, _FAR)):
                tally.exe = exe[1]

    def flood(self, now: float) -> Flood | None:
        """Give who made most records in the last full interval, or up to now if there is none."""
        seconds = now - self._since
        if seconds < INTERVAL and self._last is not None:
            return self._last
        auid, most = max(
            self._tallies.items(), key=lambda each: each[1].records, default=(UNSET, _Tally())
        )
        of = sum(tally.records for tally in self._tallies.values())
        exe = to_text(decode_value(SYSCALL, b"exe", most.exe) or b"")[0]
        flood = Flood(auid, most.records, of, seconds, exe) if most.records else self._last
        if seconds >= INTERVAL:
            self._last, self._since = flood, now
            self._tallies.clear()
        return flood


def _is_important(name: bytes, line: bytes) -> bool:
    if name == b"SYSCALL":
        call = _CALL.search(line, 0, _FAR)
        return call is not None and _is_exec(call[1], call[2])
    if name.startswith(b"USER_"):
        return name not in _OTHER_USER
    return name in _IMPORTANT


@lru_cache(1024)
def _is_exec(arch: bytes, number: bytes) -> bool:
    return syscall_name(int(arch, 16), int(number)) in _EXECS
