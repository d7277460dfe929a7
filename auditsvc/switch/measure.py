"""Flip `enabled` and account for every call that a probe made around it.

    fork a probe --> flip --> which of its calls have a record, by their numbers

What must hold: the flip is done even where it cannot be measured; neither a rule of ours
nor a probe outlives it, signals included.

From kernel/auditsc.c: __audit_syscall_entry asks `audit_enabled`, __audit_syscall_exit
asks only for the context that the entry began. So a call that was entered before `off`
is logged when it ends, and one that was entered before `on` never is. The change to 0
makes a record itself, before it takes effect (audit_do_config_change): a call whose
record has a later serial ended after it.
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
from auditsvc.switch.probe_records import Heard
from auditsvc.switch.probe_rule import (
    call_number,
    reached,
    remove,
    remove_leftovers,
    rule_for,
    traces,
)
from auditsvc.switch.socket_filter import sieve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from auditsvc.kernel import Status
    from auditsvc.rule import Rule

_APPEARS: Final = 2.0
"""Seconds for a first record; it takes milliseconds, but the kernel's queue may be full."""
_GOES_ON: Final = 0.02
"""Seconds that the probe calls after the flip was seen."""
_QUIET: Final = 0.1
"""Seconds without a record after which none is on its way."""
_DRAINED: Final = 5.0
"""Seconds that the records already made may take at most."""


def flip(directory: Path, *, on: bool) -> Flip:
    """Put audit on or off; `directory` is where the request is written down (switch.py).

    LockedError under -e 2; KernelError without privilege, and for `on` where no audit
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
            records = RecordSocket.multicast()
        except KernelError as error:
            result.notes.append(f"not measured: {error}")
            turn(on=on)
            return result
        stack.callback(records.close)
        records.set_filter(sieve(native_arch(), call_number()))
        heard = Heard(records)
        if on:
            _measure_on(turn, heard)
        else:
            _measure_off(turn, heard, records)
            result.still_in_calls = in_calls(leave_out=(os.getpid(), status.pid))
        if heard.overflows:
            result.notes.append(
                "our own socket was full: `missing` may count records that only we did not get"
            )
        return result


def _refuse(status: Status, *, on: bool) -> None:
    if status.enabled == LOCKED:
        raise LockedError(
            "audit is locked (-e 2): nobody can switch it", "only a reboot unlocks it"
        )
    if on and not alive(status.pid):
        raise KernelError(
            "no audit daemon is registered: the records would flood the kernel's log",
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
        """When it had answered."""
        self._directory = directory
        self._stack = stack
        self._probed: list[Rule] = []

    def __call__(self, *, on: bool) -> None:
        """Flip. Who watches the flag finds the request before an `off` and after an `on`."""
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
        """Microseconds from the asking to a moment."""
        return (moment - self.asked) / 1000

    def probe(self) -> Probe:
        """Fork a probe, with a rule of its own if the loaded ones may not reach it."""
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


def _measure_on(turn: _Turn, heard: Heard) -> None:
    result = turn.result
    probe = turn.probe()
    seen = heard.expect(probe.pid)
    turn(on=True)
    result.covers_running_tasks = heard.until(lambda: bool(seen), _APPEARS)
    if result.covers_running_tasks:
        result.probe = _account_on(turn, heard, probe, "before")
        return
    probe.stop()
    blinded = never_task(turn.rules)
    if blinded:
        result.notes.append(
            f"a task forked before is not traced: `{printing.text(blinded[0])}` leaves every task "
            "that it matches without the flag for good: delete it and restart them"
        )
    second = turn.probe()
    if heard.until(lambda: bool(heard.expect(second.pid)), _APPEARS):
        result.probe = _account_on(turn, heard, second, "after")
        if not blinded:
            result.notes.append(
                "audit was not enabled before in this boot: tasks that run already are never "
                "traced: restart them, or boot with audit=1; `auditsvc coverage` lists them"
            )
    elif not blinded:
        result.covers_running_tasks = None
        result.notes.append(
            f"no record of a probe came in {_APPEARS:.0f} s, forked before or after: "
            "`auditsvc doctor` looks for the reason"
        )


def _account_on(
    turn: _Turn, heard: Heard, probe: Probe, forked: Literal["before", "after"]
) -> Probed:
    time.sleep(_GOES_ON)
    last = probe.stop() - 1
    seen = heard.expect(probe.pid)
    _hear_out(turn, heard, lambda: last in seen)
    first = min(seen)
    return Probed(
        forked=forked,
        calls=last - first + 1,
        missing=last - first + 1 - len(seen),
        late=sum(probe.began(number) > turn.answered for number in range(first)),
        first_call_us=turn.since(probe.began(first)),
    )


def _measure_off(turn: _Turn, heard: Heard, records: RecordSocket) -> None:
    result = turn.result
    probe = turn.probe()
    seen = heard.expect(probe.pid)
    traced = heard.until(lambda: bool(seen), _APPEARS)
    # From now on every task's calls count; our own make no records any more.
    records.set_filter(None)
    turn(on=False)
    if not traced:
        result.notes.append(
            "the probe was not traced while audit was on, so it cannot show when that ceased: "
            "`auditsvc doctor` looks for the reason"
        )
    time.sleep(_GOES_ON)
    made = probe.stop()
    _hear_out(turn, heard, lambda: False)
    if heard.off is not None:
        result.in_flight = heard.after_off
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
        ceased_us=turn.since(probe.began(last + 1)) if last + 1 < made else None,
    )


def _hear_out(turn: _Turn, heard: Heard, done: Callable[[], bool]) -> None:
    """Read on until it is done or no record is on its way any more."""

    def over() -> bool:
        return done() or (heard.silent > _QUIET and turn.control.status().backlog == 0)

    heard.until(over, _DRAINED)
