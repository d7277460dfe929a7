"""Session: register as the audit daemon, change rules and settings, restore them at the end.

    register -> begin (limits, rules, enabled) -> ... -> restore (rules, enabled) -> close (limits)

Invariant: however the session ends, the kernel's rules and settings are as before it,
except for changes that `rules load` made meanwhile: these stay. The old state is written
to a file before anything is changed, so that after a crash the next session knows which
rules are its own, and the old values.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from auditsvc.errors import AuditsvcError, KernelError, LockedError
from auditsvc.kernel import apply_plan
from auditsvc.kernel.control import Control
from auditsvc.kernel.messages import LOCKED
from auditsvc.kernel.takeover import take_over
from auditsvc.plural import counted
from auditsvc.rule import Add, Rule, printing
from auditsvc.ruleset.plan import plan
from auditsvc.runtime import boot_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from auditsvc.kernel.messages import SignalInfo, Status
    from auditsvc.kernel.netlink import RecordSocket

_BACKLOG_SECONDS = 5.0


@dataclass(slots=True)
class Before:
    """The kernel's state before the session, and the session's rules, as hex of their structs."""

    enabled: int
    backlog_limit: int
    added: list[str] = field(default_factory=list)
    """Rules that the session added and deletes at its end."""
    holds: list[str] = field(default_factory=list)
    """Rules that the session needs; some may have been loaded before."""
    order: list[str] = field(default_factory=list)
    """All rules that were loaded before, in order, if the session had to move one of them."""
    lost: int | None = None
    """The kernel's `lost` up to which the loss is in the log."""
    left: bool = False
    """Whether the session ended in order and left its rules to the next one."""
    needs_backlog: int = 0
    """The backlog limit that the session needs at least; `rules load` does not go below it."""


def _ignore() -> None:
    """Do nothing: the default callback."""


def _structs(found: Before | None) -> frozenset[bytes]:
    return frozenset(bytes.fromhex(data) for data in found.added) if found else frozenset()


def own_rules(runtime: Path) -> frozenset[bytes]:
    """Structs of the rules that a session added, from its file; empty without a session."""
    try:
        rules = boot_file.recall_rules(runtime / boot_file.SESSION, "added")
    except AuditsvcError:
        return frozenset()
    return frozenset(rule.to_bytes() for rule in rules)


class Session:
    """Registers as the audit daemon, and restores rules and settings at the end."""

    def __init__(self, runtime: Path, purposes: Collection[str] = ()) -> None:
        """`runtime`: the folder for the file with the state before the session.

        `purposes`: keys of rules that nobody adds but a session.
        """
        self._purposes = frozenset(purposes)
        self.notes: list[str] = []
        """What could not be done, for the log."""
        self.control = Control()
        """Makes every change, also those of the guard."""
        self._memory = runtime / boot_file.SESSION
        self._loads = runtime / boot_file.LOADED
        self._records: RecordSocket | None = None
        self._found: Before | None = None
        self._lost = 0

    def register(
        self,
        records: RecordSocket,
        left: Sequence[RecordSocket] = (),
        drain: Callable[[], None] = _ignore,
    ) -> bool:
        """Become the audit daemon; IncumbentError if another process is. Changes nothing else.

        `left`: sockets of an earlier run that are still open, and `drain` reads them. Gives
        whether every record since that run is on one of the sockets (`take_over`).
        """
        self._lost = self.status().lost
        if left:
            is_certain = take_over(self.control, left, records, drain)
        else:
            is_certain = False
            records.register()
        self._records = records
        return is_certain

    def begin(self, rules: Sequence[Add], backlog_limit: int) -> None:
        """Raise the backlog limit, add the rules that are not loaded yet, and enable audit."""
        status = self.status()
        self._found = self._take_over(status)
        self._found.needs_backlog = backlog_limit
        self._remember()
        if status.enabled == LOCKED:
            self.notes.append(
                "audit is locked until the next boot (-e 2): rules and limits stay as they are"
            )
            return
        if status.backlog_limit < backlog_limit:
            self.control.set(backlog_limit=backlog_limit)
        self._claim(self._found)
        self.set_rules(rules)
        if not status.enabled:
            self.control.set(enabled=1)

    def _claim(self, found: Before) -> None:
        """Take exclusion rules of a run that left no file for our own: we are the only daemon.

        They name a process that has ended, and another one may get its pid.
        """
        ours = {*boot_file.from_hex(found.added)}
        left = [
            rule
            for rule in self.control.rules()
            if self._purposes.intersection(rule.keys) and rule not in ours
        ]
        if left:
            found.added += boot_file.as_hex(left)
            count = counted(len(left), "rule")
            self.notes.append(f"{count} that excluded a process of an earlier run: deleted")

    def set_rules(self, rules: Sequence[Add]) -> None:
        """Load these rules in this order, and delete the session's other rules.

        A rule that is already loaded keeps its owner. KernelError if the kernel refuses
        one; the rules are then as before.
        """
        found = self._found
        assert found is not None
        loaded = self.control.rules()
        ours = boot_file.from_hex(found.added)
        wanted = {each.rule for each in rules}
        changes = plan(rules, loaded, set(ours) - self._wanted_by_loads())
        moved = {change.rule for change in changes if change.verb == "delete"} & wanted
        if not moved <= set(ours) and not found.order:
            found.order = boot_file.as_hex(loaded)
        added = [change.rule for change in changes if change.verb != "delete"]
        new = [rule for rule in added if rule in wanted and rule not in loaded]
        found.added += boot_file.as_hex(new)
        found.holds = boot_file.as_hex(wanted)
        self._remember()
        try:
            apply_plan.apply(self.control, changes)
        except LockedError as error:
            self.notes.append(f"the rules stay as they are: {error}")
        finally:
            held = wanted.intersection(self.control.rules())
            found.added = boot_file.as_hex(rule for rule in (*ours, *new) if rule in held)
            self._remember()

    @property
    def registered(self) -> bool:
        """Whether the kernel still sends its records to this process."""
        return self.status().pid == os.getpid()

    def register_again(self) -> None:
        """Register again after the kernel dropped us; `registered` shows whether it worked."""
        assert self._records is not None
        self._records.request_registration()

    @property
    def own_rules(self) -> frozenset[bytes]:
        """Structs of the rules that the session added."""
        return _structs(self._found)

    @property
    def added(self) -> int:
        """Number of rules that the session added."""
        return len(self._found.added) if self._found else 0

    def status(self) -> Status:
        """Read the kernel's audit status."""
        return self.control.status()

    def signalled_by(self) -> SignalInfo:
        """Ask the kernel who sent the last signal to this process."""
        return self.control.signal_info()

    def new_lost(self) -> int:
        """Give the records that the kernel lost since the last call (the counter is 32 bits)."""
        lost = self.status().lost
        new = lost - self._lost if lost >= self._lost else lost  # it may have been reset
        self._lost = lost
        if new and self._found is not None:
            self._remember()
        return new

    def restore(self, *, stay_off: bool = False) -> None:
        """Delete the session's rules, restore the enabled flag, wait until the backlog is empty.

        `stay_off`: audit was switched off on request meanwhile, so it is not enabled again.
        """
        if self._found is not None:
            self._remove_rules(self._found)
            if not stay_off:
                self._put_back(enabled=self._found.enabled)
            elif self._found.enabled:
                self.notes.append("audit was on before and stays off, as requested meanwhile")
        ends = time.monotonic() + _BACKLOG_SECONDS
        while self.status().backlog and time.monotonic() < ends:
            time.sleep(0.005)

    def leave(self) -> None:
        """End without a change in the kernel: the next run takes over rules and socket."""
        try:
            if self._found is not None:
                self._found.left = True
                self._remember()
        finally:
            if self._records is not None:
                self._records.close()
            self.control.close()

    def close(self) -> None:
        """Restore the limits and stop being the audit daemon."""
        try:
            if self._found is not None:
                self._put_back(backlog_limit=self._found.backlog_limit)
                self._forget()
            if self._records is not None:
                self.control.unregister()
        except KernelError as error:
            self.notes.append(str(error))
        finally:
            if self._records is not None:
                self._records.close()
            self.control.close()

    def _forget(self) -> None:
        try:
            self._memory.unlink(missing_ok=True)
        except OSError as error:
            self.notes.append(f"{self._memory} cannot be deleted: {error.strerror}")

    def _put_back(self, **values: int) -> None:
        status = self.status()
        for name, value in (values | self._settings_of_loads(values)).items():
            if getattr(status, name) == value:
                continue
            try:
                self.control.set(**{name: value})
            except LockedError:
                self.notes.append(f"audit was locked meanwhile: {name} is not restored")

    def _remove_rules(self, found: Before) -> None:
        """Delete the session's rules, and move the rules that it moved back to their places."""
        loaded = self.control.rules()
        ours = boot_file.from_hex(found.added)
        self.notes += [
            f"a rule of this service was deleted by somebody else: {printing.text(rule)}"
            for rule in ours
            if rule not in loaded
        ]
        staying = self._wanted_by_loads()
        going = [rule for rule in ours if rule not in staying]
        before = [
            Add(rule)
            for rule in boot_file.from_hex(found.order)
            if rule in loaded and rule not in going
        ]
        try:
            apply_plan.apply(self.control, plan(before, loaded, going))
        except LockedError as error:
            self.notes.append(f"the service's rules stay until the next boot: {error}")
        else:
            found.added = []

    def _wanted_by_loads(self) -> frozenset[Rule]:
        """Give the rules that the files of the last `rules load` name, whoever added them."""
        try:
            return boot_file.recall_rules(self._loads, "wanted")
        except AuditsvcError as error:
            self.notes.append(str(error))
            return frozenset()

    def _settings_of_loads(self, names: dict[str, int]) -> dict[str, int]:
        """Give the values that `rules load` gave to these settings."""
        try:
            loaded = dict((boot_file.recall(self._loads) or {}).get("settings", {}))
        except (AuditsvcError, TypeError, ValueError) as error:
            self.notes.append(str(error))
            return {}
        return {name: value for name, value in loaded.items() if name in names}

    def _take_over(self, status: Status) -> Before:
        """Give the state before this session, or before one that crashed since the last boot."""
        now = Before(status.enabled, status.backlog_limit)
        try:
            values = boot_file.recall(self._memory)
            if values is None:
                return now
            before = Before(**values)
        except (boot_file.DamagedError, TypeError):
            self.notes.append(f"{self._memory} is damaged: the kernel's state before is unknown")
            return now
        if not before.left:
            count = len(before.added)
            self.notes.append(f"an earlier run crashed: its {count} rules are taken over")
        before.left = False
        if before.lost is not None:
            self._lost = before.lost  # what was lost since then is noted by this run
        return before

    def _remember(self) -> None:
        assert self._found is not None
        self._found.lost = self._lost
        boot_file.remember(self._memory, asdict(self._found))
