"""Where lines enter the spool: what does not fit is counted, and written down later.

What must hold: every line that was put is either in the spool or in `missing`, also of a
batch of which the disk took some lines only; and what is missing is written into the log
(`DAEMON_ERR op=lost`), behind the last line before the hole, as soon as it takes lines again.
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
"""Records a second from which on the host has no time for the database."""
_BUSY_LOOK, _BUSY_LINGER = 0.02, 0.1  # seconds: to measure the rate, and to believe it


class Sink:
    """Puts lines into the spool and remembers what did not fit.

    Any thread may write: the collector its records, the service its own.
    """

    def __init__(self, writer: SpoolWriter, daemon: DaemonRecords) -> None:
        self.daemon = daemon
        self.directory = writer.directory
        self.arrived = threading.Event()
        """Set when there is something new to load."""
        self.records = 0
        self.refused = ""
        """Why the spool cannot be written just now, "" if it can."""
        self._writer = writer
        self._lock = threading.Lock()
        self._missing = 0
        self._rotations = writer.rotations
        self._counted, self._counted_from, self._busy_until = 0, 0.0, 0.0

    def put(self, lines: bytes, count: int) -> None:
        """Append `count` whole lines."""
        with self._lock:
            self._measure(count)
            refused = ""
            try:
                if self._missing:
                    self._writer.append(self.daemon.lost(spool=self._missing))
                    self._missing = 0
                self._writer.append(lines)
                self.records += count
                count = 0  # what may fail from here on leaves them where they are
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
        """Begin a new segment, as the signal SIGHUP asks."""
        with self._lock:
            try:
                self._writer.rotate()
            except SpoolError as error:
                self.refused = str(error)
                return
        self.put(b"", 0)

    def sync(self) -> None:
        """Sync as the policy says; call once a second. No writer waits for it."""
        with self._lock:
            waiting = self._writer.unsynced()
        try:
            writer.sync(waiting)
        except SpoolError as error:
            self.refused = str(error)

    @property
    def busy(self) -> bool:
        """Whether records pour in: the loader stands back."""
        return time.monotonic() < self._busy_until

    def _measure(self, count: int) -> None:
        now = time.monotonic()
        self._counted += count
        if (passed := now - self._counted_from) >= _BUSY_LOOK:
            if self._counted >= BUSY_RATE * passed:
                self._busy_until = now + _BUSY_LINGER
            self._counted, self._counted_from = 0, now

    @property
    def place(self) -> Place:
        """Where in the spool the next line will stand."""
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
