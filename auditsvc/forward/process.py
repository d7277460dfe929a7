"""The forwarder as a process: its signals, how the service runs it, and what `status` shows.

    in the forwarder:  Running   (signals, a tick each second, the state file)
    in the service:    Child     (starts it, starts it again, stops it)

It is a separate process because libsystemd waits for journald with the interpreter lock
held: in the service that would stop collecting.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from auditsvc.config import settings_file
from auditsvc.errors import of_system
from auditsvc.host.capabilities import Capability, given_to_children
from auditsvc.runtime.forward_state import ForwardState, remove_state, write_state

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from auditsvc.config import Settings

log = structlog.get_logger()


_REPORT_EVERY: Final = 1.0


_AGAIN_FIRST, _AGAIN_MOST = 1.0, 60.0
_STABLE: Final = 60.0  # seconds after which a child counts as stable


class Running:
    """This process as a forwarder; made once, in the main thread."""

    def __init__(self, directory: Path, drain: float, *, is_child: bool = False) -> None:
        """The state goes into `directory`; after SIGTERM or SIGINT `drain` seconds are left.

        `is_child`: of the service. Then SIGHUP, which reaches it too when a terminal closes, is
        for the service to act upon.
        """
        self._directory = directory
        self._drain = drain
        self._ends: float | None = None
        self._reported = 0.0
        self._last: tuple[int, str] | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if is_child:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, _tick)
        # The service blocks what it waits for, and its children inherit that.
        signal.pthread_sigmask(
            signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
        )
        signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
        reduce_garbage_collection()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._ends = self._ends or time.monotonic() + self._drain

    def ends(self) -> bool:
        """Whether to stop at once."""
        return self._ends is not None and time.monotonic() >= self._ends

    def draining(self) -> bool:
        """Whether to stop when nothing is left to send."""
        return self._ends is not None

    def report(self, sent: int, problem: str) -> None:
        """Write the state, at most once a second; a failure is logged and does not stop it."""
        now = time.monotonic()
        if now - self._reported < _REPORT_EVERY:
            return
        self._reported = now
        state = ForwardState(os.getpid(), time.time(), sent, problem)
        try:
            write_state(self._directory, state)
        except OSError as error:
            if self._last is None:
                log.warning("the state cannot be written", why=of_system(error))
        self._last = (sent, problem)

    def close(self) -> None:
        """Remove the state: no forwarder runs any more."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            remove_state(self._directory)
        except OSError as error:
            log.warning("the state cannot be written", why=of_system(error))


def reduce_garbage_collection() -> None:
    """Run the garbage collector rarely: events have no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


def _tick(number: int, frame: FrameType | None) -> None:
    """Do nothing: the signal itself ends a call that waits."""
    del number, frame


class Child:
    """The service's forwarder."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is started before `watch`."""
        self._settings = settings
        self._process: subprocess.Popen[Any] | None = None
        self._began = 0.0
        self._due = 0.0
        self._pause = _AGAIN_FIRST
        self._reloads = False

    @property
    def pid(self) -> int | None:
        """Its pid until it was waited for: until then no other process can have that pid."""
        return self._process.pid if self._process is not None else None

    def watch(self) -> None:
        """Start it, and start it again after it ended; called once a second."""
        now = time.monotonic()
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                return
            self._process = None
            if self._reloads:
                self._reloads, self._due = False, now
                return
            self._pause = _AGAIN_FIRST if now - self._began > _STABLE else self._pause
            self._due = now + self._pause
            log.error("the forwarder ended", status=status, again_in=self._pause)
            self._pause = min(self._pause * 2, _AGAIN_MOST)
        elif now >= self._due:
            self._began = now
            try:
                self._process = self._start()
            except OSError as error:
                log.error("the forwarder cannot be started", why=error.strerror)  # noqa: TRY400
                self._due = now + _AGAIN_MOST

    def _start(self) -> subprocess.Popen[Any]:
        settings = self._settings
        file = settings_file()
        config = ["--config", str(file)] if file.exists() else []
        # In the environment, as a URL may hold a password and command lines are public.
        environment = os.environ | {"AUDITSVC_STORE": settings.store}
        # The settings may be root's alone; it gives that up when it has read them.
        with given_to_children([Capability.DAC_READ_SEARCH]):
            return subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "auditsvc", *config),
                    *("forward", "--parent", str(os.getpid())),
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                close_fds=True,
            )

    def reload(self, settings: Settings) -> None:
        """End it; `watch` then starts it with these settings, which it reads itself."""
        self._settings = settings
        if self._process is not None:
            self._reloads = True
            self._process.terminate()

    def stop(self) -> None:
        """Let it send waiting events, for a limited time, and end it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(self._settings.forward.drain + 3)
        except subprocess.TimeoutExpired:
            log.warning("the forwarder does not end: waiting events are sent after the next start")
            process.kill()
            process.wait()
