"""Records of the multicast group during a flip: probes' calls, and calls in flight.

Every reader of the group gets a copy, independent of the daemon. Only the type and a few
fields of each record are read; other records than a probe's SYSCALL and a flip are ignored.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from auditsvc.record.types import CONFIG_CHANGE, SYSCALL
from auditsvc.switch.probe import FIRST, LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from auditsvc.kernel.netlink import Record, RecordSocket

_CALL: Final = re.compile(rb"audit\(\d+\.\d+:(\d+)\): .*? a0=([0-9a-f]+) .*? pid=(\d+) ")
_OFF: Final = re.compile(rb"audit\(\d+\.\d+:(\d+)\): op=set audit_enabled=0 old=")
_HALF: Final = 1 << 31
_POLL: Final = 0.005


class ProbeRecords:
    """Sorts received records by probe and call."""

    def __init__(self, records: RecordSocket) -> None:
        """Take the records of this socket."""
        self._records = records
        self._latest = time.monotonic()
        self._numbers: dict[int, set[int]] = {}
        self.off: int | None = None
        """Serial of the last record of audit being switched off."""
        self.after_off = 0
        """Calls, of any task, that ended after that record was made: calls in flight."""

    @property
    def overflows(self) -> int:
        """How often our own socket was full; records were then lost for this reader only."""
        return self._records.overflows

    def expect(self, pid: int) -> set[int]:
        """Numbers of the calls of this task that have a record; the set grows."""
        return self._numbers.setdefault(pid, set())

    def sort(self, records: Iterable[Record]) -> None:
        """Sort records in the order in which they were received."""
        for kind, payload in records:
            if kind == SYSCALL and (match := _CALL.match(payload)):
                serial, argument, pid = int(match[1]), int(match[2], 16), int(match[3])
                if pid in self._numbers and FIRST <= argument < FIRST + LIMIT:
                    self._numbers[pid].add(argument - FIRST)
                if self.off is not None and 0 < (serial - self.off) % (1 << 32) < _HALF:
                    self.after_off += 1
            elif kind == CONFIG_CHANGE and (match := _OFF.match(payload)):
                self.off, self.after_off = int(match[1]), 0

    def read(self) -> bool:
        """Receive available records, a few at most; gives whether there were any."""
        records = self._records.receive()
        self.sort(records)
        if records:
            self._latest = time.monotonic()
        return bool(records)

    @property
    def silent(self) -> float:
        """Seconds since the last record."""
        return time.monotonic() - self._latest

    def until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Read until `done` or for `seconds`; gives whether it is done."""
        ends = time.monotonic() + seconds
        while True:
            found = self.read()
            if done():
                return True
            if time.monotonic() >= ends:
                return False
            if not found:
                time.sleep(_POLL)
