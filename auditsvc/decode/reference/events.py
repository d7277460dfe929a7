"""Records -> events: records of one event share node, time and serial.

An event ends

* at its PROCTITLE or EOE: the kernel writes PROCTITLE last, except for EOE
  (audit_log_exit). A PROCTITLE that arrives first begins an event, as ausearch prints
  records in reverse. An io_uring operation has an EOE and no PROCTITLE, unless it ran
  inside io_uring_enter, whose SYSCALL then follows. An EOE without an open event is
  ignored: its event has ended at its PROCTITLE;
* at once, if its first record is of user space, of the audit daemon, or SECCOMP,
  ANOM_ABEND, KERNEL; unless that record has `subj=?`, which a MAC_TASK_CONTEXTS
  follows. LOGIN, CONFIG_CHANGE, AVC and all other types can be part of a system call's
  event, so they wait;
* when another SYSCALL with the same identity arrives (DISPLACED), or, before any SYSCALL,
  an AVC, LOGIN ... of another task than that of the first record: a host without a clock
  begins each boot with the same time and serial;
* when no record of it arrived for the idle time (TIMEOUT), when too many events or
  bytes are open (EVICTED, the event that was opened first), when it has more records
  than an event can have (EVICTED), and at the end of input (END_OF_INPUT). Events for
  which neither PROCTITLE nor EOE is logged end in one of these ways.

Records that arrive after their event has ended open another event with the same
identity; the store joins the two. No event waits for another, and none is dropped.

All decisions depend only on the open events and the next record, so that decoding can
continue after a restart from the lines of the open events.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.decode.contract import IDLE, MAX_OPEN
from auditsvc.decode.reference.rows import Identity, Record
from auditsvc.decode.states import DISPLACED, END_OF_INPUT, EVICTED, TIMEOUT
from auditsvc.record import types
from auditsvc.record.fields import name_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.record.line import Line


MAX_OPEN_BYTES: Final = 1 << 21
"""Of all open events: their lines, and RECORD_SIZE for each; without what the longest exec among
them has beyond FEW_ARGUMENTS. A checkpoint has these lines, and a commit several copies of them."""
MAX_ARGUMENT_BYTES: Final = 14 << 20
"""The same with all of that exec. The arguments of one have up to about 6 MB, twice that in hex."""
FEW_ARGUMENTS: Final = 1 << 20
"""Bytes of EXECVEs after their SYSCALL, counted in the same way. What is more becomes one text;
other records, and the arguments of many events, become rows, which take several times as much."""
RECORD_SIZE: Final = 200
"""Bytes that are counted for a record in addition to its line."""
MAX_RECORDS: Final = 4096
"""Of one event; such an execve has about 2,000, a call with many PATHs about 100."""


_PID: Final = re.compile(rb"(?:^| )pid=([0-9]{1,20})(?= |\Z)")


@dataclass(slots=True)
class Event:
    """An event that has not ended."""

    identity: Identity
    last: float
    has_call: bool = False
    pid: bytes | None = None
    """The task's pid, if its first record has one."""
    is_printk: bool = False
    records: list[Record] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    arguments: int = 0
    """Bytes of its EXECVEs that came after its SYSCALL."""


class Events:
    """The open events, in the order in which they were opened.

    `done` is called with every event's identity, its records in order, the state that says
    why it ended early or None, and whether a line of it has the format of the kernel's log.
    """

    def __init__(
        self,
        done: Callable[[Identity, list[Record], int | None, bool], None],
        *,
        idle: float = IDLE,
        max_open: int = MAX_OPEN,
    ) -> None:
        self._done = done
        self._idle = idle
        self._max_open = max_open
        self._open: dict[bytes, Event] = {}
        self._bytes = 0
        self._long_execs: dict[bytes, int] = {}
        """By key, what an event has beyond FEW_ARGUMENTS."""
        self.open_records = 0

    def has_room(self, size: int, records: int) -> bool:
        """Whether an event with lines of this many bytes can be opened without evicting one."""
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
        """Add a record that is not EOE; gives whether it is the first of an event.

        `key` is the text of node, time and serial in the line; `text` is the line.
        """
        record = (number, line.body)
        event = self._open.get(key)
        if event is not None and number in types.BEGIN and _is_another(event, number, line):
            self._end(key, DISPLACED)
            event = None
        if types.is_user(number) or (event is None and number in types.SINGLE):
            awaits_context = b" subj=?" in line.body and key not in self._open
            if not awaits_context:
                self._done(_identity(line), [record], None, line.is_printk)
                return True
        first = event is None
        if event is None:
            event = self._open[key] = Event(_identity(line), now)
            if number in types.OF_TASK:
                event.pid = _pid(number, line.body)
        event.is_printk |= line.is_printk
        event.has_call |= number == types.SYSCALL
        event.records.append(record)
        event.lines.append(text)
        event.last = now
        self.open_records += 1
        self._bytes += len(text) + RECORD_SIZE
        if number == types.EXECVE:
            self._count_arguments(key, event, len(text) + RECORD_SIZE)
        if number == types.PROCTITLE and not first:
            self._end(key, None)
        elif len(event.records) >= MAX_RECORDS:
            self._end(key, EVICTED)
        while len(self._open) > self._max_open or self._is_too_much():
            self._end(next(iter(self._open)), EVICTED)
        return first

    def _count_arguments(self, key: bytes, event: Event, size: int) -> None:
        if not event.has_call:
            return
        event.arguments += size
        if event.arguments > FEW_ARGUMENTS:
            self._long_execs[key] = event.arguments - FEW_ARGUMENTS

    def _is_too_much(self) -> bool:
        """Whether the open events have too many bytes.

        Adding a line never makes it false, so that the open events of a decoder's `pending` never
        are too much while they are restored.
        """
        if self._bytes <= MAX_OPEN_BYTES:
            return False
        longest = max(self._long_execs.values(), default=0)
        return self._bytes - min(longest, MAX_ARGUMENT_BYTES - MAX_OPEN_BYTES) > MAX_OPEN_BYTES

    def end(self, key: bytes) -> None:
        """End an event at its EOE."""
        if key in self._open:
            self._end(key, None)

    def expire(self, now: float) -> None:
        """End the events without a new record during the idle time."""
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
        self._long_execs.pop(key, None)
        self._bytes -= sum(map(len, event.lines)) + len(event.lines) * RECORD_SIZE
        event.lines.clear()  # of a long exec they take as much as its rows
        self._done(event.identity, event.records, reason, event.is_printk)


def _is_another(event: Event, number: int, line: Line) -> bool:
    """Whether a record begins another event with the same identity."""
    if event.has_call:
        return number == types.SYSCALL
    if event.pid is None or number == types.SYSCALL:
        return False
    return _pid(number, line.body) not in (None, event.pid)


def _pid(number: int, body: bytes) -> bytes | None:
    """Give the digits of a record's first ` pid=` behind a name that any user may choose."""
    match = _PID.search(body, name_end(number, body))
    return None if match is None else match[1]


def _identity(line: Line) -> Identity:
    return Identity(line.node, line.second, line.ms, line.serial)
