"""The only reader of the record socket: kernel records in, spool lines out.

What must hold:

* It never waits for the database: it reads, appends and sleeps, nothing else.
* It limits its own rate. To wake for every record costs the audited tasks a context
  switch each; after the first record of a burst it waits for more, for a time in which
  the socket's buffer cannot overflow.
* What it cannot write, the sink counts: the log itself shows where records are missing.
* It knows the time up to which it received everything: the kernel's queue keeps the order.
"""

from __future__ import annotations

import os
import re
import select
import sys
import threading
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Protocol

from auditsvc.collect.landing import make_drain
from auditsvc.collect.stdin_lines import StdinLines
from auditsvc.host.processes import boottime
from auditsvc.kernel.messages import FIRST_RECORD, REPLACE
from auditsvc.native import native_core
from auditsvc.record.line import format_line
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from auditsvc.collect.landing import Landing
    from auditsvc.native import Choice
    from auditsvc.spool.sink import Sink

BATCH = 512
PACE = 0.005
"""Seconds that records may queue before they are read. At 500,000 records/s these are 2,500;
32 MB of buffer hold about 14,000. The native drain waits less while the rate is high."""

HOLD = 0.02
"""Seconds that the native drain keeps records before Python gets them, at most."""
HOLD_BYTES = 2 << 20
"""Bytes that it holds, at most: this memory is kept, and twice that if a buffer grew."""

_LAST_SECONDS = 5.0
"""Limit for reading the rest of a stream that never pauses, when the service stops."""

_IDLE_SECONDS = 0.25
"""If a socket stays empty for so long, everything written before was received."""

_QUEUED_SECONDS = 0.1
"""A record may be queued this long after the change: its writer may not run in between."""

_STAMP = re.compile(rb"type=\S+ msg=audit\(([0-9]+)\.([0-9]{3}):")

_RIVALS = 256
"""Number of rivals that are kept, at most."""

_CONTROL_BYTES = bytes(range(0x20)) + b"\x7f"
_CONFIG_CHANGE = b"type=CONFIG_CHANGE msg="


class RecordSource(Protocol):
    """The part of a record socket (`auditsvc.kernel.netlink`) that the collector uses."""

    overflows: int
    """How often the kernel reported that it dropped records for this socket."""
    forged: int
    """Messages that did not come from the kernel and were dropped."""

    @property
    def receive_buffer(self) -> int:
        """Size of its buffer in bytes."""

    def block(self) -> None:
        """Make the buffer as small as possible."""

    def unblock(self, receive_buffer: int) -> None:
        """Undo `block`."""

    def fileno(self) -> int:
        """Descriptor to poll."""

    def receive(self, limit: int) -> list[tuple[int, bytes]]:
        """Give up to `limit` available records as (type, payload), without waiting."""


def _ignore(_lines: bytes) -> None:
    """Do nothing: the default callback."""


class Collector(threading.Thread):
    """Copies from a source into the spool until `stop` is called or the source ends."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(name="collector", daemon=True)
        self.error: BaseException | None = None
        self.ended = False
        """True when no more lines will come."""
        self.receive: Callable[[bytes], None] = _ignore
        """Called with lines that include CONFIG_CHANGE records of the kernel."""
        self.beat = time.monotonic()
        """When it last came to look for records; it does at least once a second."""
        self.known_to = 0.0
        """Seconds since boot: `receive` got the records of all earlier changes."""
        self._sink = sink
        self._ends = inf
        self._stopped = threading.Event()
        self._wake_r, self._wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """Collect; an error ends the thread and is kept in `error`."""
        try:
            self._collect()
        except BaseException as error:  # noqa: BLE001 (handed to the service, which ends the run)
            self.error = error
        self.ended = True
        self._sink.arrived.set()

    def stop(self, seconds: float | None = None) -> None:
        """Collect what is available now, then end (within `seconds`); waits for that."""
        self._ask_to_stop(seconds)
        self.join()
        self.close()

    def drain(self, seconds: float) -> None:
        """Collect what is available now, in the calling thread, of a collector that never ran."""
        self._ask_to_stop(seconds)
        self._collect()

    def close(self) -> None:
        """Close what a collector that does not run has open; not its source."""
        os.close(self._wake_r)
        os.close(self._wake_w)

    def _ask_to_stop(self, seconds: float | None) -> None:
        self._ends = time.monotonic() + (_LAST_SECONDS if seconds is None else seconds)
        if not self._stopped.is_set():
            self._stopped.set()
            os.write(self._wake_w, b"x")

    def _collect(self) -> None:
        raise NotImplementedError

    def _note_time(self, lines: bytes) -> None:
        """Set `known_to` from the time of the last line, which is not later than its queueing."""
        stamp = _STAMP.match(lines, lines.rfind(b"\n", 0, -1) + 1)
        if stamp is not None:
            now = boottime()  # read first: after a delay here it is too early, which is safe
            age = time.time() - int(stamp[1]) - int(stamp[2]) / 1000
            self.known_to = now - age - _QUEUED_SECONDS

    def _overdue(self) -> bool:
        return time.monotonic() >= self._ends


class RecordCollector(Collector):
    """Drains a record socket; the reference of `NativeCollector`."""

    def __init__(self, source: RecordSource, sink: Sink) -> None:
        super().__init__(sink)
        self.config_changes = 0
        """Number of CONFIG_CHANGE records in the spool: it shows when there are new ones to
        read there."""
        self.rivals: deque[int] = deque(maxlen=_RIVALS)
        """Pids of processes that asked to be the audit daemon, until somebody removes them."""
        self._source = source
        self._prefixes: dict[int, bytes] = {}
        self._overflows = source.overflows
        self._forged = source.forged
        self._buffer = 0

    def hold(self, *, on: bool) -> None:
        """Have audited tasks wait for us: with the least buffer the kernel sends single records.

        They are read as before, so that none is lost until a task has waited for the kernel's
        `backlog_wait_time`.
        """
        if on and not self._buffer:
            self._buffer = self._source.receive_buffer
            self._source.block()
        elif self._buffer and not on:
            self._source.unblock(self._buffer)
            self._buffer = 0

    def _collect(self) -> None:
        poll = select.poll()
        poll.register(self._source.fileno(), select.POLLIN)
        poll.register(self._wake_r, select.POLLIN)
        while True:
            self.beat = time.monotonic()
            stopping = self._stopped.is_set()
            records = self._source.receive(BATCH)
            if records:
                self._keep(records)
                if len(records) < BATCH and not stopping:
                    self._stopped.wait(PACE)
            if records and not self._overdue():
                continue
            self._note_losses()
            if stopping:
                return
            began = boottime()
            if not poll.poll(_IDLE_SECONDS * 1000):
                self.known_to = began
            elif not self._stopped.is_set():
                self._stopped.wait(PACE)

    def _keep(self, records: list[tuple[int, bytes]]) -> None:
        prefixes = self._prefixes
        try:
            lines = [prefixes[kind] + payload for kind, payload in records]
        except KeyError:
            # A new type, or a message that is no record.
            records = [each for each in records if self._is_record(*each)]
            for kind, _ in records:
                prefixes[kind] = b"type=%b msg=" % names.record_type_name(kind).encode()
            lines = [prefixes[kind] + payload for kind, payload in records]
        if not lines:
            return
        text = b"\n".join(lines)
        # Text of the kernel has no control bytes; text of programs (USER_*) may have.
        if len(text.translate(None, _CONTROL_BYTES)) != len(text) - len(lines) + 1:
            text = b"\n".join(
                format_line(names.record_type_name(kind), payload) for kind, payload in records
            )
        self._sink.put(text + b"\n", len(lines))
        changes = text.count(b"\n" + _CONFIG_CHANGE) + text.startswith(_CONFIG_CHANGE)
        self.config_changes += changes
        if changes:
            self.receive(text)
        self._note_time(text)

    def _is_record(self, kind: int, payload: bytes) -> bool:
        if kind == REPLACE:
            pid = int.from_bytes(payload[:4], sys.byteorder)
            self._sink.put(self._sink.daemon.replace(pid), 1)
            self.rivals.append(pid)
            return False
        return kind >= FIRST_RECORD

    def _note_losses(self) -> None:
        """Write the socket's overflows and forged messages since the last call into the log."""
        source, sink = self._source, self._sink
        if source.overflows != self._overflows:
            sink.put(sink.daemon.lost(overflows=source.overflows - self._overflows), 1)
            self._overflows = source.overflows
        if source.forged != self._forged:
            sink.put(sink.daemon.forged(source.forged - self._forged), 1)
            self._forged = source.forged


class NativeCollector(RecordCollector):
    """A collector whose socket is emptied by the native core, without the interpreter lock.

    That code limits its rate too: Python is called once per `HOLD`, with all lines.
    """

    def __init__(
        self, source: RecordSource, sink: Sink, core: ModuleType, landing: Landing | None = None
    ) -> None:
        super().__init__(source, sink)
        self._has_landing = landing is not None
        self._drain = make_drain(core, source.fileno(), landing)

    def _collect(self) -> None:
        while True:
            self.beat = time.monotonic()
            stopping, began = self._stopped.is_set(), boottime()
            got = self._drain.collect(
                max_bytes=HOLD_BYTES,
                pace=PACE,
                hold=HOLD,
                timeout=_IDLE_SECONDS,
                wake_fd=self._wake_r,
            )
            if got.count:
                if self._has_landing:
                    place = self._sink.place
                    self._drain.place = (place.segment, place.position)
                self._sink.put(got.lines, got.count)
                self._drain.taken()
            for kind, payload in got.others:
                self._is_record(kind, payload)
            self.config_changes += got.config_changes
            if got.config_changes:
                self.receive(got.lines)
            if got.count:
                self._note_time(got.lines)
            elif not got.others and not self._stopped.is_set():
                self.known_to = began
            self._source.overflows += got.overflows
            self._source.forged += got.forged
            self._note_losses()
            if stopping and ((not got.count and not got.others) or self._overdue()):
                return


def make_collector(
    choice: Choice, source: RecordSource, sink: Sink, landing: Landing | None = None
) -> RecordCollector:
    """Make the collector for the setting `decoder`; `landing` is for the native core."""
    core = native_core(choice)
    if core is None:
        return RecordCollector(source, sink)
    return NativeCollector(source, sink, core, landing)


class LineCollector(Collector):
    """Copies the lines that auditd writes to a plugin's standard input into the spool."""

    def __init__(self, descriptor: int, sink: Sink) -> None:
        super().__init__(sink)
        self._fd = descriptor

    def _collect(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._wake_r, select.POLLIN)
        lines = StdinLines()
        while True:
            self.beat = time.monotonic()
            ready = {fd for fd, _ in poll.poll(1000)}
            if self._fd in ready and not self._overdue():
                data = os.read(self._fd, 1 << 16)
                self._put(lines.feed(data) if data else lines.finish())
                if not data:
                    return
            elif self._stopped.is_set():
                self._put(lines.finish())
                return

    def _put(self, lines: bytes) -> None:
        if lines:
            self._sink.put(lines, lines.count(b"\n"))
