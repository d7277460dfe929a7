"""Changes that the service itself makes, so that they are not reported as someone else's.

The kernel makes CONFIG_CHANGE records for ours as for others. As the daemon's own calls
are exempt, no SYSCALL record follows, and the record has only login, session and the
change: so each record that we cause is expected for some time, and recognised by these.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from auditsvc.kernel import messages
from auditsvc.record.daemon import actor
from auditsvc.rule import Rule
from auditsvc.rule.model import PREPEND
from auditsvc.ruleset.plan import Change

if TYPE_CHECKING:
    from auditsvc.guard.config_change import ConfigChange

_EXPECTED_SECONDS: Final = 10.0
"""By then the record has arrived, or never will: with audit switched off there is none."""


class OwnChanges:
    """Notes every change that our Control makes."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        ourselves = actor(self._pid)
        self._login = (ourselves.auid, ourselves.ses)
        self._expected: deque[tuple[float, tuple[object, ...]]] = deque()
        self._changes: list[Change] = []

    def note(self, kind: int, payload: bytes) -> None:
        """Note a request that the kernel has carried out (`Control.listener`)."""
        if kind == messages.SET:
            for name, value in messages.changes_of(payload).items():
                self._expect("set", name, value)
        elif kind in {messages.ADD_RULE, messages.DELETE_RULE}:
            rule = Rule.from_bytes(payload)
            prepended = int.from_bytes(payload[:4], sys.byteorder) & PREPEND
            if kind == messages.DELETE_RULE:
                self._changes.append(Change("delete", rule))
                self._expect("remove_rule", rule.filter_list, key_of(rule))
            else:
                self._changes.append(Change("prepend" if prepended else "append", rule))
                self._expect("add_rule", rule.filter_list, key_of(rule))

    def _expect(self, *what: object) -> None:
        self._expected.append((time.monotonic(), what))

    def take_changes(self) -> list[Change]:
        """Give the rule changes since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

    def made(self, change: ConfigChange) -> bool:
        """Whether we made a change; call it once for each, as it is no longer expected then."""
        if change.setting == "pid" and change.value == self._pid:
            return True  # no process can register another one
        if change.call is not None and change.call.actor.pid != self._pid:
            return False
        while self._expected and self._expected[0][0] < time.monotonic() - _EXPECTED_SECONDS:
            self._expected.popleft()
        by_us = change.call is not None
        if not by_us and (change.auid, change.ses) != self._login:
            return False
        found = (
            ("set", change.setting, change.value)
            if change.op == "set"
            else (change.op, change.filter_list, change.key)
        )
        for index, (_, what) in enumerate(self._expected):
            if what == found:
                del self._expected[index]
                return True
        return by_us


def key_of(rule: Rule) -> bytes | None:
    """Give a rule's key as in a CONFIG_CHANGE record."""
    return "\x01".join(rule.keys).encode(errors="surrogateescape") if rule.keys else None
