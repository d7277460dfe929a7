"""Changes that the service itself makes, so that they are not taken for anybody else's.

The kernel tells of ours (CONFIG_CHANGE) as of others. As the daemon's own calls are
exempt, no SYSCALL follows, and such a record says nothing but login, session and what
was done: so each one that we cause is expected, for a while, and recognized by these.
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
    from auditsvc.guard.config_change import Deed

_EXPECTED_SECONDS: Final = 10.0
"""After that a record has come, or never will: with audit switched off none does."""


class Ours:
    """Hears of every change that goes through our Control."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        ourselves = actor(self._pid)
        self._login = (ourselves.auid, ourselves.ses)
        self._expected: deque[tuple[float, tuple[object, ...]]] = deque()
        self._changes: list[Change] = []

    def heard(self, kind: int, payload: bytes) -> None:
        """Take a request that the kernel has carried out (`Control.listener`)."""
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
        """Rule changes since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

    def did(self, deed: Deed) -> bool:
        """Whether a deed is ours; one that was expected is expected no more. Ask once a deed."""
        if deed.setting == "pid" and deed.value == self._pid:
            return True  # nobody can register for another process
        if deed.call is not None and deed.call.actor.pid != self._pid:
            return False
        while self._expected and self._expected[0][0] < time.monotonic() - _EXPECTED_SECONDS:
            self._expected.popleft()
        by_us = deed.call is not None
        if not by_us and (deed.auid, deed.ses) != self._login:
            return False
        said = (
            ("set", deed.setting, deed.value)
            if deed.op == "set"
            else (deed.op, deed.filter_list, deed.key)
        )
        for place, (_, what) in enumerate(self._expected):
            if what == said:
                del self._expected[place]
                return True
        return by_us


def key_of(rule: Rule) -> bytes | None:
    """Give a rule's key as CONFIG_CHANGE has it."""
    return "\x01".join(rule.keys).encode(errors="surrogateescape") if rule.keys else None
