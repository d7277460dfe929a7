"""Writes lines to the spool, counts those that could not be written, and records the loss.

Invariants: every line is either in the spool or counted in `missing`, also if only part of a
batch could be written. The loss is recorded in the log (`DAEMON_ERR op=lost`), after the last
line before the gap, as soon as lines can be written again.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from auditsvc.errors import SpoolError
from auditsvc.spool import writer

if TYPE_CHECKING:
    from auditsvc.record.daemon import DaemonRecords
    from auditsvc.spool.segments import Place
    from auditsvc.spool.writer import SpoolWriter

BUSY_RATE = 50_000
"""Records a second; at a higher input rate the loader pauses."""
_BUSY_INTERVAL, _BUSY_HOLD = 0.02, 0.1  # seconds: of a measurement, and until `busy` ends


class Sink:
    """Writes lines to the spool and counts those that could not be written.

    Any thread may write: the collector writes records, the service its own lines.
    """

    def __init__(self, writer: SpoolWriter, daemon: DaemonRecords) -> None:
        self.daemon = daemon
        self.directory = writer.directory
        self.arrived = threading.Event()
        """Set when there are new lines to load."""
        self.records = 0
        self.refused = ""
        """Why the spool cannot be written now, "" if it can."""
        self._writer = writer
        self._lock = threading.Lock()
        self._missing = 0
        self._rotations = writer.rotations
        self._counted, self._counted_from, self._busy_until = 0, 0.0, 0.0

    def put(self, lines: bytes, count: int) -> None:
        """Append `count` complete lines."""
        with self._lock:
            self._measure(count)
            refused = ""
            try:
                if self._missing:
                    self._writer.append(self.daemon.lost(spool=self._missing))
                    self._missing = 0
                self._writer.append(lines)
                self.records += count
                count = 0  # an error from here on does not change that they are written
                if self._writer.fsync == "batch":
                    self._writer.sync()
                if self._writer.rotations != self._rotations:
                    self._writer.append(self.daemon.rotate())
                    self._rotations = self._writer.rotations
            except SpoolError as error:
                refused = str(error)
                self.records += error.written
                self._missing += count - error.written
            self.refused = refused
        self.arrived.set()

    def rotate(self) -> None:
        """Begin a new segment, on SIGHUP."""
        with self._lock:
            try:
                self._writer.rotate()
            except SpoolError as error:
                self.refused = str(error)
                return
        self.put(b"", 0)

    def sync(self) -> None:
        """Sync by the policy; to be called once a second. Writers do not wait for it."""
        with self._lock:
            waiting = self._writer.unsynced()
        try:
            writer.sync(waiting)
        except SpoolError as error:
            self.refused = str(error)

    @property
    def busy(self) -> bool:
        """Whether the input rate is high: the loader then pauses."""
        return time.monotonic() < self._busy_until

    def _measure(self, count: int) -> None:
        now = time.monotonic()
        self._counted += count
        if (passed := now - self._counted_from) >= _BUSY_INTERVAL:
            if self._counted >= BUSY_RATE * passed:
                self._busy_until = now + _BUSY_HOLD
            self._counted, self._counted_from = 0, now

    @property
    def place(self) -> Place:
        """The place of the next line in the spool."""
        with self._lock:
            return self._writer.place

    @property
    def missing(self) -> int:
        """Records that could not be written and are not yet noted in the log."""
        return self._missing

    def close(self) -> None:
        """Finish the spool; what is missing is written down if that is possible now."""
        if self._missing:
            self.put(b"", 0)
        self._writer.close()
