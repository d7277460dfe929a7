"""Flip `enabled` and find for every call that a probe made around it whether it has a record.

    fork a probe --> flip --> which of its calls have a record, by their numbers

What must hold: the flip is done even if it cannot be measured; no rule of ours and no
probe remains after it, also after a signal.

From kernel/auditsc.c: __audit_syscall_entry checks `audit_enabled`, __audit_syscall_exit
checks only for the context that the entry began. So a call that was entered before `off`
is logged when it ends, and one that was entered before `on` never is. The change to 0
makes a record before it takes effect (audit_do_config_change): a call whose record has a
later serial ended after it.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Literal

from auditsvc.errors import AuditsvcError, KernelError, LockedError
from auditsvc.host.processes import alive
from auditsvc.kernel import Control, RecordSocket
from auditsvc.kernel.messages import LOCKED, OFF, ON
from auditsvc.record.daemon import actor
from auditsvc.rule import printing
from auditsvc.rule.host import native_arch
from auditsvc.ruleset.reach import never_task
from auditsvc.runtime import switch_requests
from auditsvc.runtime.lock import exclusive_lock
from auditsvc.runtime.probe_notice import write_notice
from auditsvc.switch.blocked_calls import in_calls
from auditsvc.switch.interrupt import interruptible
from auditsvc.switch.model import Flip, Probed
from auditsvc.switch.probe import Probe
from auditsvc.switch.probe_records import ProbeRecords
from auditsvc.switch.probe_rule import (
    call_number,
    reached,
    remove,
    remove_leftovers,
    rule_for,
    traces,
)
from auditsvc.switch.socket_filter import socket_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from auditsvc.kernel import Status
    from auditsvc.rule import Rule

_APPEARS: Final = 2.0
"""Seconds for a first record; it takes milliseconds, but the kernel's queue may be full."""
_CONTINUES: Final = 0.02
"""Seconds that the probe makes further calls after the flip took effect."""
_QUIET: Final = 0.1
"""After so many seconds without a record no more will come."""
_DRAINED: Final = 5.0
"""Seconds to wait at most for records that were already made."""


def flip(directory: Path, *, on: bool) -> Flip:
    """Switch audit on or off; `directory` is where the request is written (switch_requests).

    LockedError after -e 2; KernelError without privilege, and for `on` if no audit
    daemon would take the records.
    """
    with ExitStack() as stack:
        control = stack.enter_context(Control())
        stack.enter_context(exclusive_lock(directory))
        stack.enter_context(interruptible())
        status = control.status()
        _refuse(status, on=on)
        remove_leftovers(control)
        rules = control.rules()
        result = Flip(status.enabled, changed=status.enabled != on, traces=traces(rules))
        if not result.changed:
            switch_requests.add_request(directory, on=on)
            return result
        turn = _Turn(control, directory, rules, result, stack)
        try:
            socket = RecordSocket.multicast()
        except KernelError as error:
            result.notes.append(f"not measured: {error}")
            turn(on=on)
            return result
        stack.callback(socket.close)
        socket.set_filter(socket_filter(native_arch(), call_number()))
        records = ProbeRecords(socket)
        if on:
            _measure_on(turn, records)
        else:
            _measure_off(turn, records, socket)
            result.still_in_calls = in_calls(leave_out=(os.getpid(), status.pid))
        if records.overflows:
            result.notes.append(
                "our own socket was full: `missing` may count records that were only lost to us"
            )
        return result


def _refuse(status: Status, *, on: bool) -> None:
    if status.enabled == LOCKED:
        raise LockedError(
            "audit is locked (-e 2): it cannot be switched", "only a reboot unlocks it"
        )
    if on and not alive(status.pid):
        raise KernelError(
            "no audit daemon is registered: the records would fill the kernel's log",
            "start one (`systemctl start auditsvc`, or `auditsvc run`), which switches audit on",
        )


class _Turn:
    """The flip itself, and the probes with the rules that they need."""

    def __init__(
        self,
        control: Control,
        directory: Path,
        rules: Sequence[Rule],
        result: Flip,
        stack: ExitStack,
    ) -> None:
        self.control = control
        self.rules = rules
        self.result = result
        self.asked = 0
        """When the kernel was asked, CLOCK_MONOTONIC in nanoseconds."""
        self.answered = 0
        """When it had answered, the same clock."""
        self._directory = directory
        self._stack = stack
        self._probed: list[Rule] = []

    def __call__(self, *, on: bool) -> None:
        """Flip. The request is written before an `off` and after an `on`: a watcher finds it."""
        before = None if on else switch_requests.add_request(self._directory, on=False)
        self.asked = time.monotonic_ns()
        try:
            self.control.set(enabled=ON if on else OFF)
        except AuditsvcError:
            if before is not None:
                switch_requests.write_requests(self._directory, before)
            raise
        self.answered = time.monotonic_ns()
        self.result.switch_us = self.since(self.answered)
        self.result.enabled = int(on)
        if on:
            switch_requests.add_request(self._directory, on=True)

    def since(self, moment: int) -> float:
        """Microseconds from the request to a moment."""
        return (moment - self.asked) / 1000

    def probe(self) -> Probe:
        """Fork a probe, with a rule of its own if the loaded rules may not log it."""
        probe = self._stack.enter_context(Probe())
        rule = rule_for(probe.pid)
        if not reached(self.rules, probe.pid):
            self._probed.append(rule)
            write_notice(
                self._directory, self._probed, actor(os.getpid(), os.getuid()), time.time()
            )
            self._stack.callback(remove, self.control, rule)
            self.control.add_rule(rule, prepend=True)
        return probe


def _measure_on(turn: _Turn, records: ProbeRecords) -> None:
    result = turn.result
    probe = turn.probe()
    seen = records.expect(probe.pid)
    turn(on=True)
    result.covers_running_tasks = records.until(lambda: bool(seen), _APPEARS)
    if result.covers_running_tasks:
        result.probe = _account_on(turn, records, probe, "before")
        return
    probe.stop()
    never = never_task(turn.rules)
    if never:
        result.notes.append(
            f"a task forked before is not traced: `{printing.text(never[0])}` permanently "
            "excludes every new task that it matches: delete it and restart these tasks"
        )
    second = turn.probe()
    if records.until(lambda: bool(records.expect(second.pid)), _APPEARS):
        result.probe = _account_on(turn, records, second, "after")
        if not never:
            result.notes.append(
                "audit was not enabled before in this boot: running tasks are not traced until "
                "they are restarted, or boot with audit=1; `auditsvc coverage` lists them"
            )
    elif not never:
        result.covers_running_tasks = None
        result.notes.append(
            f"no record of a probe, forked before or after, arrived in {_APPEARS:.0f} s: "
            "`auditsvc doctor` may show the reason"
        )


def _account_on(
    turn: _Turn, records: ProbeRecords, probe: Probe, forked: Literal["before", "after"]
) -> Probed:
    time.sleep(_CONTINUES)
    last = probe.stop() - 1
    seen = records.expect(probe.pid)
    _drain(turn, records, lambda: last in seen)
    first = min(seen)
    return Probed(
        forked=forked,
        calls=last - first + 1,
        missing=last - first + 1 - len(seen),
        late=sum(probe.began(number) > turn.answered for number in range(first)),
        first_call_us=turn.since(probe.began(first)),
    )


def _measure_off(turn: _Turn, records: ProbeRecords, socket: RecordSocket) -> None:
    result = turn.result
    probe = turn.probe()
    seen = records.expect(probe.pid)
    traced = records.until(lambda: bool(seen), _APPEARS)
    # From here on calls of every task count; our own make no more records.
    socket.set_filter(None)
    turn(on=False)
    if not traced:
        result.notes.append(
            "the probe was not traced while audit was on, so it cannot show when tracing ended: "
            "`auditsvc doctor` may show the reason"
        )
    time.sleep(_CONTINUES)
    calls = probe.stop()
    _drain(turn, records, lambda: False)
    if records.off is not None:
        result.in_flight = records.after_off
    if not traced:
        return
    first, last = min(seen), max(seen)
    result.covers_running_tasks = True
    result.probe = Probed(
        forked="before",
        calls=last - first + 1,
        missing=last - first + 1 - len(seen),
        late=sum(probe.began(number) > turn.answered for number in seen),
        last_call_us=turn.since(probe.began(last)),
        ceased_us=turn.since(probe.began(last + 1)) if last + 1 < calls else None,
    )


def _drain(turn: _Turn, records: ProbeRecords, done: Callable[[], bool]) -> None:
    """Read until `done`, or until no more records will come."""

    def over() -> bool:
        return done() or (records.silent > _QUIET and turn.control.status().backlog == 0)

    records.until(over, _DRAINED)
