"""Records -> events: records of one event share node, time and serial.

An event ends

* at its PROCTITLE or EOE: the kernel writes PROCTITLE last, but for EOE
  (audit_log_exit). One that comes first begins an event: ausearch prints records in
  reverse. An io_uring operation has no PROCTITLE but an EOE, unless it
  ran inside io_uring_enter, whose SYSCALL then follows. An EOE of no open event only
  follows its PROCTITLE;
* at once, if its one record is of user space, of the audit daemon, or SECCOMP,
  ANOM_ABEND, KERNEL; unless that record says `subj=?`, for then a MAC_TASK_CONTEXTS
  follows. LOGIN, CONFIG_CHANGE, AVC and all others can come inside a syscall and wait;
* when another SYSCALL comes under the same identity (DISPLACED), or, before any, an AVC,
  LOGIN ... of another task than the first one's: a host without a clock begins each boot at
  the same time and serial;
* when nothing of it came for the idle time (TIMEOUT), when more events or bytes are
  open than may be (EVICTED, the event that was opened first), when it has more records
  than any event (EVICTED), and at the end of input (END_OF_INPUT). This is how events
  end where neither PROCTITLE nor EOE is logged.

Records that come after their event's end open another of the same identity; the store
brings the two together. No event waits for another, and none is dropped.

What decides is in the open events and the next record alone, so that a log can be
taken up again from the lines of the open events.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.decode import types
from auditsvc.decode.interface import DISPLACED, END_OF_INPUT, EVICTED, TIMEOUT
from auditsvc.decode.rows import Identity, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.line import Line

IDLE: Final = 2.0
MAX_OPEN: Final = 4096
MAX_OPEN_BYTES: Final = 1 << 24
"""Of all open events: their lines, and RECORD_SIZE for each. The arguments of one execve take
up to some 6 MB, and twice that where they are hex."""
RECORD_SIZE: Final = 200
"""Bytes that a record takes beside its line."""
MAX_RECORDS: Final = 4096
"""Of one event; that execve has some 2,000, a call with many PATHs some hundred."""


_PID: Final = re.compile(rb"(?:^| )pid=([0-9]{1,20})(?= |\Z)")


@dataclass(slots=True)
class Event:
    """An event that has not ended."""

    identity: Identity
    last: float
    has_call: bool = False
    pid: bytes | None = None
    """Of the task, if its first record tells that."""
    records: list[Record] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)


class Events:
    """The open events, in the order in which they were opened.

    `done` is called with every event's identity, its records in order, and None or
    the state that tells why it ended early.
    """

    def __init__(
        self,
        done: Callable[[Identity, list[Record], int | None], None],
        *,
        idle: float = IDLE,
        max_open: int = MAX_OPEN,
    ) -> None:
        self._done = done
        self._idle = idle
        self._max_open = max_open
        self._open: dict[bytes, Event] = {}
        self._bytes = 0
        self.open_records = 0

    def has_room(self, size: int, records: int) -> bool:
        """Tell whether another event, its lines of this many bytes, would evict none."""
        size += records * RECORD_SIZE
        return (
            records < MAX_RECORDS
            and len(self._open) < self._max_open
            and self._bytes + size <= MAX_OPEN_BYTES
        )

    def __contains__(self, key: bytes) -> bool:
        return key in self._open

    def lines(self) -> list[bytes]:
        """Give the lines of all open events, event by event."""
        return [line for event in self._open.values() for line in event.lines]

    def add(self, key: bytes, number: int, line: Line, text: bytes, now: float) -> bool:
        """Take a record that is not EOE; tell whether it is the first of an event.

        `key` is node, time and serial as the line has them; `text` is that line.
        """
        record = (number, line.body)
        event = self._open.get(key)
        if types.is_user(number) or (event is None and number in types.ALONE):
            waits = b" subj=?" in line.body and key not in self._open
            if not waits:
                self._done(_identity(line), [record], None)
                return True
        if event is not None and number in types.BEGIN and _is_another(event, number, line):
            self._end(key, DISPLACED)
            event = None
        first = event is None
        if event is None:
            event = self._open[key] = Event(_identity(line), now)
            if number in types.OF_TASK:
                event.pid = _pid(line.body)
        event.has_call |= number == types.SYSCALL
        event.records.append(record)
        event.lines.append(text)
        event.last = now
        self.open_records += 1
        self._bytes += len(text) + RECORD_SIZE
        if number == types.PROCTITLE and not first:
            self._end(key, None)
        elif len(event.records) >= MAX_RECORDS:
            self._end(key, EVICTED)
        while len(self._open) > self._max_open or self._bytes > MAX_OPEN_BYTES:
            self._end(next(iter(self._open)), EVICTED)
        return first

    def end(self, key: bytes) -> None:
        """Take an EOE."""
        if key in self._open:
            self._end(key, None)

    def expire(self, now: float) -> None:
        """End the events of which nothing came for the idle time."""
        limit = now - self._idle
        for key in [key for key, event in self._open.items() if event.last <= limit]:
            self._end(key, TIMEOUT)

    def finish(self) -> None:
        """End all events."""
        for key in list(self._open):
            self._end(key, END_OF_INPUT)

    def _end(self, key: bytes, reason: int | None) -> None:
        event = self._open.pop(key)
        self.open_records -= len(event.records)
        self._bytes -= sum(map(len, event.lines)) + len(event.lines) * RECORD_SIZE
        self._done(event.identity, event.records, reason)


def _is_another(event: Event, number: int, line: Line) -> bool:
    """Whether a record of the event's identity begins another event all the same."""
    if event.has_call:
        return number == types.SYSCALL
    if event.pid is None or number == types.SYSCALL:
        return False
    return _pid(line.body) not in (None, event.pid)


def _pid(body: bytes) -> bytes | None:
    """Give the digits of a record's first ` pid=`."""
    match = _PID.search(body)
    return None if match is None else match[1]


def _identity(line: Line) -> Identity:
    return Identity(line.node, line.second, line.ms, line.serial)
