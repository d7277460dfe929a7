"""A process that loads, as `run` has it: forked while `run` has no threads, else started anew."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auditsvc.service.frames import Channel
from auditsvc.service.loader_process import serve

if TYPE_CHECKING:
    import threading


@dataclass(slots=True)
class Child:
    """One process."""

    pid: int
    channel: Channel
    started: subprocess.Popen[bytes] | None = None
    """None if it was forked."""
    began: float = field(default_factory=time.monotonic)
    is_released: bool = False
    fault: str = ""
    """Why it was killed."""
    silent: int = 0
    """Calls of `watch` since it was heard."""
    head: str = ""
    busy: bool = False
    reader: threading.Thread | None = None
    has_hung_up: bool = False
    """Whether nothing more is heard from it."""
    notes: int = 0
    outbox: deque[dict[str, Any]] = field(default_factory=deque)
    """What it is told next."""

    def has_ended(self) -> bool:
        """Whether it has; it is not waited for, so that its pid stays its own."""
        which = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, which) is not None

    def kill(self, why: str = "") -> None:
        """Kill it."""
        self.fault = self.fault or why
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """End one that was told nothing."""
        if not self.has_ended():
            self.kill()
        self.reap()
        self.channel.close()

    @staticmethod
    def how(status: int) -> str:
        """Say how it ended, by what `reap` gave."""
        if status >= 0:
            return f"with status {status}"
        with suppress(ValueError):
            return f"by {signal.Signals(-status).name}"
        return f"by signal {-status}"

    def reap(self) -> int:
        """Wait for it; gives its status, negative for a signal."""
        if self.started is not None:
            return self.started.wait()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def fork_loader() -> Child:
    """Make the process of a run that has no threads yet: it waits for what it is told."""
    ours, theirs = socket.socketpair()
    parent, pid = os.getpid(), os.fork()
    if not pid:
        ours.close()
        serve(theirs, parent)
    theirs.close()
    return Child(pid, Channel(ours))


def start_loader() -> Child:
    """Make the process of a run that has threads."""
    ours, theirs = socket.socketpair()
    with theirs:
        number = theirs.fileno()
        command = [sys.executable, "-P", "-m", "auditsvc", "run", "--loader", str(number)]
        started = subprocess.Popen(command, pass_fds=(number,), stdin=subprocess.DEVNULL)
    return Child(started.pid, Channel(ours), started)
