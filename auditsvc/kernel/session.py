"""One stay as the kernel's audit daemon: what was found, what was added, and the way back.

    register -> begin (limits, rules, enabled) -> ... -> quiet (rules, enabled) -> leave (limits)

What must hold: whatever ends the stay, the kernel is left as it was found. What was
found is written down before anything is changed, so that after a crash the next stay
knows our own rules for ours, and the true old values.
"""

from __future__ import annotations

import errno
import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from auditsvc.errors import AuditsvcError, KernelError, LockedError
from auditsvc.files import replace_file
from auditsvc.kernel.control import Control
from auditsvc.kernel.messages import LOCKED
from auditsvc.rule import Add, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditsvc.kernel.messages import SignalInfo, Status
    from auditsvc.kernel.netlink import RecordSocket

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_QUIET_SECONDS = 5.0


@dataclass(slots=True)
class Found:
    """The kernel's state before we came; `added` are our rules, as hex of their structs."""

    boot: str
    enabled: int
    backlog_limit: int
    added: list[str] = field(default_factory=list)


def _structs(found: Found | None) -> frozenset[bytes]:
    return frozenset(bytes.fromhex(data) for data in found.added) if found else frozenset()


def own_rules(memory: Path) -> frozenset[bytes]:
    """Structs of the rules that a stay added, from its memory; none if there is no stay."""
    try:
        return _structs(Found(**json.loads(memory.read_text())))
    except (OSError, ValueError, TypeError):
        return frozenset()


class Session:
    """Registers as the audit daemon and puts everything back."""

    def __init__(self, memory: Path) -> None:
        """`memory`: the file in which what was found survives a crash."""
        self.notes: list[str] = []
        """What could not be done, for the log."""
        self._memory = memory
        self._control = Control()
        self._records: RecordSocket | None = None
        self._found: Found | None = None
        self._lost = 0

    def register(self, records: RecordSocket) -> None:
        """Become the audit daemon; IncumbentError if another process is. Changes nothing else."""
        self._lost = self.status().lost
        records.register()
        self._records = records

    def begin(self, rules: Sequence[Add], backlog_limit: int) -> None:
        """Raise the limit, add the rules that are not there yet, and switch audit on."""
        status = self.status()
        self._found = self._take_over(status)
        self._remember()
        if status.enabled == LOCKED:
            self.notes.append(
                "audit is locked until the next boot (-e 2): rules and limits stay as they are"
            )
            return
        if status.backlog_limit < backlog_limit:
            self._control.set(backlog_limit=backlog_limit)
        self.add(rules)
        self.keep_only(rules)  # what a run that crashed left behind may be older
        if not status.enabled:
            self._control.set(enabled=1)

    def add(self, rules: Sequence[Add]) -> None:
        """Add rules that go again at the end; one that is there already stays whose it is."""
        assert self._found is not None
        there = {rule.to_bytes() for rule in self._control.rules()}
        for each in rules:
            data = each.rule.to_bytes()
            if data in there:
                continue
            self._found.added.append(data.hex())
            self._remember()
            try:
                self._control.add_rule(each.rule, prepend=each.prepend)
            except LockedError:
                self._found.added.pop()
                self.notes.append(f"audit was locked meanwhile: not added: {each.rule}")
            except KernelError:
                self._found.added.pop()
                raise

    def keep_only(self, rules: Iterable[Add]) -> None:
        """Take out what is ours and not among `rules`."""
        assert self._found is not None
        wanted = {each.rule.to_bytes().hex() for each in rules}
        for data in [data for data in self._found.added if data not in wanted]:
            self._remove(data)
        self._remember()

    @property
    def registered(self) -> bool:
        """Whether the kernel still sends its records to us."""
        return self.status().pid == os.getpid()

    def register_again(self) -> None:
        """Ask for the place that the kernel took from us; `registered` tells whether it worked."""
        assert self._records is not None
        self._records.ask_again()

    @property
    def own_rules(self) -> frozenset[bytes]:
        """Structs of the rules that are ours."""
        return _structs(self._found)

    @property
    def added(self) -> int:
        """Rules that are ours."""
        return len(self._found.added) if self._found else 0

    def status(self) -> Status:
        """Ask the kernel."""
        return self._control.status()

    def signalled_by(self) -> SignalInfo:
        """Who last signalled us, by the kernel's word."""
        return self._control.signal_info()

    def new_lost(self) -> int:
        """Records that the kernel gave up since the last call (its counter wraps at 2^32)."""
        lost = self.status().lost
        new = lost - self._lost if lost >= self._lost else lost  # somebody may have reset it
        self._lost = lost
        return new

    def quiet(self) -> None:
        """Take our rules out, put the enabled flag back, and wait for the kernel's queue."""
        if self._found is not None:
            self._remove_rules()
            self._put_back(enabled=self._found.enabled)
        ends = time.monotonic() + _QUIET_SECONDS
        while self.status().backlog and time.monotonic() < ends:
            time.sleep(0.005)

    def leave(self) -> None:
        """Put the limits back and stop being the audit daemon."""
        try:
            if self._found is not None:
                self._put_back(backlog_limit=self._found.backlog_limit)
                self._forget()
            if self._records is not None:
                self._control.unregister()
        except KernelError as error:
            self.notes.append(str(error))
        finally:
            if self._records is not None:
                self._records.close()
            self._control.close()

    def _forget(self) -> None:
        try:
            self._memory.unlink(missing_ok=True)
        except OSError as error:
            self.notes.append(f"{self._memory} cannot be deleted: {error.strerror}")

    def _put_back(self, **values: int) -> None:
        status = self.status()
        for name, value in values.items():
            if getattr(status, name) == value:
                continue
            try:
                self._control.set(**{name: value})
            except LockedError:
                self.notes.append(f"audit was locked meanwhile: {name} stays as it is")

    def _remove_rules(self) -> None:
        assert self._found is not None
        for data in self._found.added[::-1]:
            if not self._remove(data):
                return

    def _remove(self, data: str) -> bool:
        """Delete a rule of ours; False if audit is locked."""
        assert self._found is not None
        rule = Rule.from_bytes(bytes.fromhex(data))
        try:
            self._control.delete_rule(rule)
        except LockedError:
            self.notes.append("audit was locked meanwhile: our rules stay until the next boot")
            return False
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            self.notes.append(f"somebody else had deleted our rule: {rule}")
        self._found.added.remove(data)
        return True

    def _take_over(self, status: Status) -> Found:
        """What was found: by us now, or by a stay of ours that crashed since the last boot."""
        boot = _BOOT_ID.read_text().strip()
        now = Found(boot, status.enabled, status.backlog_limit)
        try:
            before = Found(**json.loads(self._memory.read_text()))
        except FileNotFoundError:
            return now
        except (ValueError, TypeError):
            self.notes.append(f"{self._memory} is damaged: what was found before is not known")
            return now
        if before.boot != boot:
            return now
        self.notes.append(f"an earlier run crashed: going on with its {len(before.added)} rules")
        return before

    def _remember(self) -> None:
        assert self._found is not None
        try:
            replace_file(self._memory, json.dumps(asdict(self._found)))
        except OSError as error:
            raise AuditsvcError(
                f"{self._memory} cannot be written: {error.strerror}",
                "make room, or set runtime_directory: there stands how to put the kernel back",
            ) from error
