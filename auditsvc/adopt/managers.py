"""Who starts and stops the daemons: systemd, or this program where auditd has no unit.

manager = choose(name, settings)
manager.start_ours()      manager.stop_ours()
manager.start_auditd(command)
manager.settle(ours=True)       # which of them starts at boot
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from auditsvc.adopt import daemons
from auditsvc.config import settings_file
from auditsvc.errors import AuditsvcError
from auditsvc.host.files import make_folder, open_file
from auditsvc.runtime.service_state import read_state

if TYPE_CHECKING:
    from auditsvc.config import Settings

SYSTEMD: Final = "systemd"
PROCESS: Final = "process"
_OURS: Final = "auditsvc.service"
_THEIRS: Final = "auditd.service"
_THEIR_RULES: Final = "audit-rules.service"
"""Since audit 4 augenrules is a unit of its own, enabled beside auditd's: at boot it deletes all
rules that there are (`-D`), also those of a service that was there first."""
_SECONDS: Final = 120.0
_DROP_IN: Final = Path("/etc/systemd/system/auditsvc.service.d/adopt.conf")


class Manager(Protocol):
    """Starts and stops; each method returns when that is done, or raises AuditsvcError."""

    name: str

    def check(self) -> None:
        """See whether it can start our service; changes nothing."""

    def prepare(self, rules: Path | None) -> list[str]:
        """Have our service start at boot, and run `rules load` if it is to; says what was done."""

    def start_ours(self) -> int:
        """Start our service; gives its pid when it is registered and ready."""

    def stop_ours(self) -> None:
        """Stop our service."""

    def start_auditd(self, command: list[str]) -> int:
        """Start auditd; gives its pid when it is registered."""

    def settle(self, *, ours: bool) -> list[str]:
        """Have one of the two start at boot, and not the other; says what was done."""


class Systemd:
    """Units of the system's manager."""

    name = SYSTEMD

    def __init__(self, settings: Settings) -> None:
        self._runtime = settings.runtime_directory

    def check(self) -> None:
        """Our unit must be there."""
        if _systemctl("cat", _OURS, check=False).returncode:
            raise AuditsvcError(f"there is no unit {_OURS}", "install it: packaging/README.md")

    def prepare(self, rules: Path | None) -> list[str]:
        """Enable our unit; auditd's stays enabled until we have taken over."""
        said = []
        if rules is not None:
            program = shutil.which("auditsvc") or str(Path(sys.argv[0]).absolute())
            text = f"[Service]\nExecStartPost={program} rules load {rules}\n"
            _DROP_IN.parent.mkdir(parents=True, exist_ok=True)
            part = _DROP_IN.with_name(f".{_DROP_IN.name}.new")
            part.write_text(text)
            part.replace(_DROP_IN)
            _systemctl("daemon-reload")
            said.append(f"{_DROP_IN}: loads {rules} after each start")
        _systemctl("enable", _OURS)
        return [*said, f"{_OURS} is enabled"]

    def start_ours(self) -> int:
        """Start our unit; systemctl waits until it is ready."""
        _systemctl("start", _OURS)
        return daemons.wait_for(self._is_ours, str, _SECONDS)

    def stop_ours(self) -> None:
        """Stop our unit; systemctl waits for its end."""
        _systemctl("stop", _OURS)

    def start_auditd(self, command: list[str]) -> int:
        """Start auditd's unit, which loads its rules itself; a manual start is never refused."""
        del command
        _systemctl("start", _THEIRS)
        return daemons.wait_for(daemons.is_auditd, str, _SECONDS)

    def settle(self, *, ours: bool) -> list[str]:
        """Disable the units of the other; ours needs nothing more of auditd's rules then."""
        theirs = [_THEIRS]
        if not _systemctl("cat", _THEIR_RULES, check=False).returncode:
            theirs.append(_THEIR_RULES)
        units, others = ([_OURS], theirs) if ours else (theirs, [_OURS])
        _systemctl("enable", *units)
        _systemctl("disable", *others)
        if not ours and _DROP_IN.exists():
            _DROP_IN.unlink()
            _systemctl("daemon-reload")
        return [f"at boot {' and '.join(units)} starts, and not {' and '.join(others)}"]

    def _is_ours(self, pid: int) -> bool:
        return daemons.is_ours(pid, self._runtime)


class Processes:
    """Processes of their own, where no systemd runs auditd; boot is left to who set it up."""

    name = PROCESS

    def __init__(self, settings: Settings) -> None:
        self._runtime = settings.runtime_directory
        self._log = settings.state_directory / "adopt/run.log"
        self._process: subprocess.Popen[bytes] | None = None

    def check(self) -> None:
        """Nothing is needed."""

    def prepare(self, rules: Path | None) -> list[str]:
        """Say what this program cannot do."""
        load = f", and `auditsvc rules load {rules}` after it" if rules is not None else ""
        return [f"at boot: have `auditsvc run` started in auditd's place{load}"]

    def start_ours(self) -> int:
        """Start `auditsvc run` in a session of its own."""
        self._start(
            [sys.executable, "-P", "-m", "auditsvc", "--config", str(settings_file()), "run"]
        )
        return daemons.wait_for(
            lambda pid: daemons.is_ours(pid, self._runtime), self._failed, _SECONDS
        )

    def stop_ours(self) -> None:
        """End it by SIGTERM: it stores what it has, and restores the kernel's state."""
        state = read_state(self._runtime)
        if state is not None:
            daemons.stop(state.pid, lambda pid: daemons.is_ours(pid, self._runtime))
        ends = time.monotonic() + _SECONDS
        while read_state(self._runtime) is not None and time.monotonic() < ends:
            time.sleep(0.05)

    def start_auditd(self, command: list[str]) -> int:
        """Start it as it ran before."""
        if not command:
            raise AuditsvcError("it is not known how auditd ran", "start it yourself")
        self._start(command)
        return daemons.wait_for(daemons.is_auditd, self._failed, _SECONDS)

    def settle(self, *, ours: bool) -> list[str]:
        """Say what is left to do."""
        wanted, other = ("auditsvc run", "auditd") if ours else ("auditd", "auditsvc run")
        return [f"at boot: have `{wanted}` started, and not `{other}`"]

    def _start(self, command: list[str]) -> None:
        make_folder(self._log.parent)
        log = open_file(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise AuditsvcError(f"{command[0]}: {error.strerror}") from error
        finally:
            os.close(log)

    def _failed(self) -> str:
        """Say why the process that was started has ended; "" for one that goes on as a daemon."""
        if self._process is None or not self._process.poll():
            return ""
        lines = self._log.read_text(errors="replace").splitlines()
        last = f": {lines[-1]}" if lines else ""
        return f"it ended with status {self._process.returncode}{last}"


def choose(name: str, settings: Settings) -> Manager:
    """Give the manager of this name."""
    return Systemd(settings) if name == SYSTEMD else Processes(settings)


def name_for(auditd: daemons.Auditd | None) -> str:
    """Name the manager: systemd if it runs auditd, or if auditd does not run and systemd does."""
    if auditd is not None:
        return SYSTEMD if auditd.has_unit else PROCESS
    return SYSTEMD if Path("/run/systemd/system").is_dir() else PROCESS


def _systemctl(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(
            ["systemctl", *words],  # noqa: S607 - of the administrator's own PATH
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise AuditsvcError(f"systemctl: {error.strerror}") from error
    if check and done.returncode:
        lines = done.stderr.strip().splitlines()
        raise AuditsvcError(
            f"systemctl {' '.join(words)}: {lines[0] if lines else done.returncode}",
            f"see `systemctl status {words[-1]}`",
        )
    return done
