"""One stay as the kernel's audit daemon: what was found, what was added, and the way back.

    register -> begin (limits, rules, enabled) -> ... -> quiet (rules, enabled) -> leave (limits)

What must hold: whatever ends the stay, the kernel is left as it was found, but for what
`rules load` has made meanwhile: that stays. What was found is written down before anything
is changed, so that after a crash the next stay knows our own rules for ours, and the true
old values.
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
from auditsvc.rule import Add, Rule, printing
from auditsvc.ruleset.plan import plan
from auditsvc.runtime import boot_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditsvc.kernel.messages import SignalInfo, Status
    from auditsvc.kernel.netlink import RecordSocket

_QUIET_SECONDS = 5.0


@dataclass(slots=True)
class Found:
    """The kernel's state before we came, and our rules, as hex of their structs."""

    enabled: int
    backlog_limit: int
    added: list[str] = field(default_factory=list)
    """Those that go when we go."""
    holds: list[str] = field(default_factory=list)
    """All that we need; some may have been there."""
    order: list[str] = field(default_factory=list)
    """All rules that were there, in their order, if one of them had to move for ours."""


def _structs(found: Found | None) -> frozenset[bytes]:
    return frozenset(bytes.fromhex(data) for data in found.added) if found else frozenset()


def own_rules(runtime: Path) -> frozenset[bytes]:
    """Structs of the rules that a stay added, from its memory; none if there is no stay."""
    try:
        rules = boot_file.recall_rules(runtime / boot_file.SESSION, "added")
    except AuditsvcError:
        return frozenset()
    return frozenset(rule.to_bytes() for rule in rules)


class Session:
    """Registers as the audit daemon and puts everything back."""

    def __init__(self, runtime: Path) -> None:
        """`runtime`: the folder in which what was found survives a crash."""
        self.notes: list[str] = []
        """What could not be done, for the log."""
        self.control = Control()
        """By which every change goes, also those of the guard."""
        self._memory = runtime / boot_file.SESSION
        self._loads = runtime / boot_file.LOADED
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
            self.control.set(backlog_limit=backlog_limit)
        self.hold(rules)
        if not status.enabled:
            self.control.set(enabled=1)

    def hold(self, rules: Sequence[Add]) -> None:
        """Have these rules in this order while we stay, and of ours no others.

        One that is there already stays whose it is. KernelError if the kernel refuses one;
        the rules are as before then.
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
            there = wanted.intersection(self.control.rules())
            found.added = boot_file.as_hex(rule for rule in (*ours, *new) if rule in there)
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
        return self.control.status()

    def signalled_by(self) -> SignalInfo:
        """Who last signalled us, by the kernel's word."""
        return self.control.signal_info()

    def new_lost(self) -> int:
        """Records that the kernel gave up since the last call (its counter wraps at 2^32)."""
        lost = self.status().lost
        new = lost - self._lost if lost >= self._lost else lost  # somebody may have reset it
        self._lost = lost
        return new

    def quiet(self, *, stay_off: bool = False) -> None:
        """Take our rules out, put the enabled flag back, and wait for the kernel's queue.

        `stay_off`: somebody put audit off on purpose meanwhile, so it is not put on again.
        """
        if self._found is not None:
            self._remove_rules(self._found)
            if not stay_off:
                self._put_back(enabled=self._found.enabled)
            elif self._found.enabled:
                self.notes.append("audit was on before and stays off, as was asked for meanwhile")
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
                self.notes.append(f"audit was locked meanwhile: {name} stays as it is")

    def _remove_rules(self, found: Found) -> None:
        """Take ours out, and put those that we had to move where they were."""
        loaded = self.control.rules()
        ours = boot_file.from_hex(found.added)
        self.notes += [
            f"somebody else had deleted our rule: {printing.text(rule)}"
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
            self.notes.append(f"our rules stay until the next boot: {error}")
        else:
            found.added = []

    def _wanted_by_loads(self) -> frozenset[Rule]:
        """Rules that the files of the last `rules load` name, whoever added them."""
        try:
            return boot_file.recall_rules(self._loads, "wanted")
        except AuditsvcError as error:
            self.notes.append(str(error))
            return frozenset()

    def _settings_of_loads(self, names: dict[str, int]) -> dict[str, int]:
        """Of these settings what `rules load` has made of them."""
        try:
            made = (boot_file.recall(self._loads) or {}).get("settings", {})
        except AuditsvcError as error:
            self.notes.append(str(error))
            return {}
        return {name: value for name, value in made.items() if name in names}

    def _take_over(self, status: Status) -> Found:
        """What was found: by us now, or by a stay of ours that crashed since the last boot."""
        now = Found(status.enabled, status.backlog_limit)
        try:
            values = boot_file.recall(self._memory)
            if values is None:
                return now
            before = Found(**values)
        except (boot_file.DamagedError, TypeError):
            self.notes.append(f"{self._memory} is damaged: what was found before is not known")
            return now
        self.notes.append(f"an earlier run crashed: going on with its {len(before.added)} rules")
        return before

    def _remember(self) -> None:
        assert self._found is not None
        boot_file.remember(self._memory, asdict(self._found))
