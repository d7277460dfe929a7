"""The two audit daemons as processes: which one is registered, and how each is stopped.

auditd is stopped by SIGTERM to the registered process, after its program was seen to be auditd:
`systemctl stop auditd` is refused where its unit has RefuseManualStop=yes, and a pid in a file
may be another process's. The signal goes through a pidfd, so it reaches the process that was
looked at. systemd does not start it again: it exits with 0, and its unit has Restart=on-failure.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.errors import AuditsvcError
from auditsvc.host.processes import alive, exe, unit
from auditsvc.kernel.control import Control
from auditsvc.runtime.service_state import read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PROGRAM: Final = "auditd"
_UNIT: Final = "auditd.service"
_STOP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Auditd:
    """A running auditd."""

    pid: int
    command: list[str]
    """Its program (as found, not as called) and its arguments."""
    has_unit: bool
    """Whether systemd's auditd.service runs it."""


def registered() -> int:
    """Give the pid of the registered audit daemon if it lives, else 0."""
    with Control() as control:
        pid = control.status().pid
    return pid if pid and alive(pid) and exe(pid) is not None else 0


def program_of(pid: int) -> str:
    """Give the path of a process's program, also of one that an upgrade replaced."""
    return os.fsdecode(exe(pid) or b"").removesuffix(" (deleted)")


def is_auditd(pid: int) -> bool:
    """Whether a process's program is auditd, and its owner root."""
    try:
        owner = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return False
    return Path(program_of(pid)).name == _PROGRAM and owner == 0


def find_auditd() -> Auditd | None:
    """Give auditd if it is the registered daemon."""
    pid = registered()
    if not pid or not is_auditd(pid):
        return None
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:-1]
    command = [program_of(pid), *(os.fsdecode(each) for each in words)]
    return Auditd(pid, command, has_unit=_UNIT in (unit(pid) or ""))


def is_ours(pid: int, runtime: Path) -> bool:
    """Whether the registered daemon is our service, of this runtime directory."""
    state = read_state(runtime)
    return bool(pid) and state is not None and state.pid == pid


def check(runtime: Path) -> None:
    """Refuse a daemon that is neither auditd nor ours; AuditsvcError."""
    pid = registered()
    if pid and not is_auditd(pid) and not is_ours(pid, runtime):
        raise AuditsvcError(
            f"the audit daemon is pid {pid} ({program_of(pid) or 'unknown'}), which is not auditd",
            "stop it yourself: `adopt` changes over from auditd alone",
        )


def stop(pid: int, is_right: Callable[[int], bool]) -> None:
    """End a process by SIGTERM if it is the right one, and wait for its end; AuditsvcError."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not is_right(pid):
            raise AuditsvcError(f"pid {pid} is another process by now", "run it again")
        signal.pidfd_send_signal(process, signal.SIGTERM)
        ready, _, _ = select.select([process], [], [], _STOP_SECONDS)
    finally:
        os.close(process)
    if not ready:
        raise AuditsvcError(
            f"pid {pid} did not end within {_STOP_SECONDS:.0f} s of SIGTERM",
            "it is still the audit daemon; end it, then run `auditsvc adopt` again",
        )


def wait_for(is_there: Callable[[int], bool], failed: Callable[[], str], seconds: float) -> int:
    """Wait until the registered daemon is the wanted one; gives its pid. AuditsvcError."""
    ends = time.monotonic() + seconds
    while True:
        why = failed()
        pid = registered()
        if pid and is_there(pid):
            return pid
        if why or time.monotonic() > ends:
            raise AuditsvcError(why or f"it is not the audit daemon after {seconds:.0f} s")
        time.sleep(0.05)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no signal of a terminal or of systemd end this process in the block.

    Handlers, and not SIG_IGN, which programs started in the block would inherit.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(each, lambda *_: None) for each in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
