"""Writes lines to the spool, counts those that could not be written, and records the loss.

Invariants: every line is either in the spool or counted in `missing`, also if only part of a
batch could be written. The loss is recorded in the log (`DAEMON_ERR op=lost`), after the last
line before the gap, as soon as lines can be written again.

While the spool's room is short (`auditsvc.spool.room`), lines are chosen
(`auditsvc.spool.shares`). Those that are not are counted in `dropped`, and recorded in the log
with the cause and who made most records: with the first, then every ten seconds, and when
there is room again.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from auditsvc.errors import SpoolError
from auditsvc.plural import counted
from auditsvc.spool import writer
from auditsvc.spool.segments import sizes
from auditsvc.spool.shares import INTERVAL, Shares

if TYPE_CHECKING:
    from auditsvc.record.daemon import DaemonRecords
    from auditsvc.spool.segments import Place
    from auditsvc.spool.shares import Flood
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
        self.lost = 0
        """Records that could not be written, since the start."""
        self.dropped = 0
        """Records that were not chosen while room was short."""
        self.flood: Flood | None = None
        """Who made most records while room was short, now or the last time."""
        self._shares: Shares | None = None
        self._unreported = 0
        self._reported_at = -INTERVAL
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
            if not self._writer.has_room(len(lines)):
                lines, count = self._choose(lines, count)
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
                self.lost += count - error.written
            self.refused = refused or self._writer.hindrance
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
            if self._shares is not None:
                self._look_for_room()
            waiting = self._writer.unsynced()
        try:
            writer.sync(waiting)
        except SpoolError as error:
            self.refused = str(error)

    def freeze(self, *, on: bool) -> None:
        """Have the spool not grow by more than the reserve from now on, or again as set."""
        with self._lock:
            room = self._writer.room
            try:
                if on:
                    room.freeze(sum(sizes(self.directory).values()))
                else:
                    room.thaw()
                self._writer.look_for_room()
            except SpoolError as error:
                self.refused = str(error)

    @property
    def short(self) -> str:
        """What it means that room is short, "" if it is not."""
        if self._shares is None:
            return ""
        reserve = counted(self._writer.room.reserve, "byte")
        return f"less than {reserve} are left for the log: ordinary records are dropped"

    def _choose(self, lines: bytes, count: int) -> tuple[bytes, int]:
        """Give what is written of lines while room is short, and count the others."""
        now = time.monotonic()
        if self._shares is None:
            self._shares = Shares(self._writer.room.left, now)
        lines, kept = self._shares.choose(lines)
        self.dropped += count - kept
        self._unreported += count - kept
        self._report(now)
        return lines, kept

    def _look_for_room(self) -> None:
        """See whether room is still short; report what was dropped."""
        assert self._shares is not None
        self._writer.look_for_room()
        now = time.monotonic()
        self.flood = self._shares.flood(now)
        self._report(now, at_once=not self._writer.room.short)
        if not self._writer.room.short:
            self._shares = None

    def _report(self, now: float, *, at_once: bool = False) -> None:
        """Record in the log what was dropped, and why."""
        if not self._unreported or not (at_once or now - self._reported_at >= INTERVAL):
            return
        if self._shares is not None:
            self.flood = self._shares.flood(now)
        cause = f"spool-space{self.flood.fields() if self.flood else ''}"
        try:
            self._writer.append(self.daemon.lost(spool=self._unreported, cause=cause))
        except SpoolError as error:
            self.refused = str(error)
            return
        self._unreported = 0
        self._reported_at = now

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
        return self._missing + self._unreported

    def close(self) -> None:
        """Finish the spool; what is missing is written down if that is possible now."""
        if self._missing:
            self.put(b"", 0)
        with self._lock:
            self._report(time.monotonic(), at_once=True)
        self._writer.close()
