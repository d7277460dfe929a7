"""Events from the store into the journal, each exactly once.

    feed.ids --> feed.fetch --> fields.entry --> send --> journald --> readback --> feed.save

What must hold:

* The feed's position moves only past events that were read back from the journal.
* What journald dropped (no room, rate limit, its own end) is sent again, and nothing else
  is. A barrier shows whether an entry was dropped or is still in journald's queue: the
  queue keeps its order, so once an entry that was sent later can be read, earlier entries
  that cannot be read were dropped.
* A forwarder that was killed may have sent more than it saved. The next one sends a
  barrier first, reads which of those entries are in the journal, and does not send them.
* If journald does not read, `send` blocks the whole process; a timer signal arrives every
  second (`process.Running` sets it), so that the state is written and stop works.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.enrich import kinds
from auditsvc.errors import JournalError, StoreError
from auditsvc.forward import wire
from auditsvc.forward.fields import datagram, head, shortened
from auditsvc.forward.readback import BATCH
from auditsvc.forward.send import Channel, Full

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auditsvc.forward.readback import Readback
    from auditsvc.host.users import Users
    from auditsvc.store.read.events import Event
    from auditsvc.store.read.feed import Feed, Position
    from auditsvc.store.read.selection import Selection

log = structlog.get_logger()

BATCH_EVENTS: Final = 1024
IN_FLIGHT: Final = 3
"""Batches that may be sent and not yet read back."""

_POLL: Final = 0.2  # seconds between reads of a store that gave nothing
_SAVE_EVERY: Final = 0.5
_PATIENCE_FIRST, _PATIENCE_MOST = 1.0, 30.0
_COMPLETE_SENDS: Final = 8  # times that an event is sent before its long fields are left out
_FRESH: Final = 10.0  # seconds; see `fields.entry` for OBJECT_PID


class ForwarderControl(Protocol):
    """The interface to the forwarder's process."""

    def ends(self) -> bool:
        """Whether to stop at once."""

    def draining(self) -> bool:
        """Whether to stop when nothing is left to send."""

    def report(self, sent: int, problem: str) -> None:
        """Note the progress; called often."""


class StoppedError(Exception):
    """The forwarder was asked to stop while it waited."""


@dataclass(slots=True)
class _Batch:
    """Events in flight; `parts` are the batch names with which they, or some, were sent."""

    end: Position
    ids: list[int]
    parts: list[str] = field(default_factory=list)
    expected: int = 0
    """Entries of the last part; 0 if there are none to be read back."""


class Forwarder:
    """One run; `run` returns when asked to stop or, with `until_idle`, when nothing is left."""

    def __init__(
        self,
        feed: Feed,
        selection: Callable[[], Selection],
        readback: Readback,
        control: ForwarderControl,
        *,
        host: str,
        users: Users,
    ) -> None:
        """`selection` is called before each read: which processes are our own may change."""
        self._feed = feed
        self._selection = selection
        self._readback = readback
        self._control = control
        self._channel = Channel()
        self._host = host
        self._users = users
        self._id = ""
        self._run = secrets.token_hex(4)
        self._count = 0
        self._in_flight: deque[_Batch] = deque()
        self._already_sent: set[int] = set()
        """Events that an earlier forwarder put into the journal."""
        self._next = self._done = feed.position
        self._cursor = ""
        self._saved_at = 0.0
        self._sent = 0
        self._problem = ""

    def run(self, *, until_idle: bool = False) -> None:
        """Forward the events in the store and those that arrive."""
        try:
            self._begin()
            while not self._control.ends():
                self._control.report(self._sent, self._problem)
                try:
                    if self._step():
                        continue
                except StoreError as error:
                    if not error.retryable:
                        raise
                    self._report(str(error))
                    self._pause(_PATIENCE_FIRST)
                    continue
                if until_idle or self._control.draining():
                    return
                time.sleep(_POLL)
        except StoppedError:
            pass
        finally:
            self._channel.close()
            self._control.report(self._sent, self._problem)
            self._save(now=True)

    def _step(self) -> bool:
        """Do the next step; gives whether there was one."""
        if self._confirm() or self._more():
            return True
        if self._in_flight:
            self._wait_for_journald()
            return True
        self._save()
        return False

    # --- beginning ---------------------------------------------------------------------

    def _begin(self) -> None:
        note = json.loads(self._feed.note) if self._feed.note else {}
        self._id = note.get("id") or secrets.token_hex(16)
        self._cursor = note.get("place", "")
        while True:
            barrier = self._barrier("Forwarding audit events from the store to the journal")
            try:
                self._read_sent(barrier)
            except JournalError as error:
                self._report_unread(error)
                self._pause(_PATIENCE_FIRST)
            else:
                return

    def _read_sent(self, barrier: str) -> None:
        """Read which events an earlier forwarder sent and did not save, or where ours begin."""
        if not self._cursor:
            self._cursor = self._readback.first(barrier) or ""
            self._save(now=True)
            return
        if not self._readback.holds(self._cursor):
            log.warning(
                "the journal no longer holds the last entry that was read back: entries that it "
                "has lost are only in the store"
            )
        for found in self._readback.since(self._cursor):
            if found.event_id is not None and found.batch.startswith(self._id):
                self._already_sent.add(found.event_id)

    def _barrier(self, message: str) -> str:
        """Wait until all earlier entries are in the journal or will never be."""
        patience = _PATIENCE_FIRST
        while True:
            name = self._name()
            try:
                self._channel.open()
                self._send(head(kinds.FORWARDER, kinds.INFO, message) + _batch_field(name))
                self._readback.reopen()
                self._await(name, patience)
            except JournalError as error:
                self._report(str(error))
                self._pause(patience)
            else:
                self._readback.reopen()
                return name
            patience = min(patience * 2, _PATIENCE_MOST)

    def _await(self, name: str, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while not self._readback.count(name):
            if time.monotonic() > ends:
                raise JournalError(
                    "journald accepts entries but does not write them",
                    "see `journalctl -u systemd-journald`: no room, a rate limit, Storage=none, "
                    "MaxLevelStore= below info, or files closed to the group systemd-journal",
                )
            self._pause(0.01)

    def _name(self) -> str:
        self._count += 1
        return f"{self._id}.{self._run}.{self._count}"

    # --- sending -----------------------------------------------------------------------

    def _more(self) -> bool:
        """Send the next batch if there is one and room for it; gives whether anything was done."""
        if len(self._in_flight) >= IN_FLIGHT:
            return False
        part = self._feed.ids(self._selection(), BATCH_EVENTS, self._next)
        if part.end == self._next:
            return False
        ids = [each for each in part.ids if each not in self._already_sent]
        events = self._feed.fetch(ids) if ids else []
        # From here on the store is not read: the batch cannot fail.
        self._already_sent.difference_update(part.ids)
        if not part.more:
            self._already_sent.clear()  # all that the earlier forwarder sent is passed now
        self._next = part.end
        if not events and self._in_flight:
            self._in_flight[-1].end = part.end
        else:
            batch = _Batch(part.end, ids=ids)
            self._in_flight.append(batch)
            self._transmit(batch, events)
        return part.more or bool(ids)

    def _transmit(self, batch: _Batch, events: Sequence[Event]) -> None:
        """Send events as a further part of a batch."""
        events = [each for each in events if each.call or each.event]  # not those just deleted
        if not events:
            batch.expected = 0
            return
        name = self._name()
        batch.parts.append(name)
        batch.expected = len(events)
        mark = _batch_field(name)
        self._users.refresh()
        since = int(time.time() - _FRESH) << SERIAL_BITS
        try:
            self._channel.open()
            for event in events:
                entry = self._entry(event, since)
                if len(batch.parts) > _COMPLETE_SENDS:
                    entry = wire.joined(shortened(wire.fields(entry)))
                self._send(entry + mark)
        except JournalError as error:
            self._report(str(error))  # what is missing is found later and sent again

    def _entry(self, event: Event, since: int) -> bytes:
        local = event.host == self._host
        user = self._users.name if local else _no_name
        return datagram(event, user, object_pid=local and event.id >= since)

    def _send(self, entry: bytes) -> None:
        try:
            self._channel.send(entry)
        except Full:
            self._send_patiently(entry)

    def _send_patiently(self, entry: bytes) -> None:
        began = time.monotonic()
        while True:
            self._pause(0)
            try:
                self._channel.send(entry)
            except Full:
                if time.monotonic() - began > 1:
                    self._report("journald does not read its socket")
            else:
                return

    # --- reading back ------------------------------------------------------------------

    def _confirm(self) -> bool:
        """Remove the batches that are in the journal; gives whether there was one."""
        removed = False
        while self._in_flight:
            batch = self._in_flight[0]
            if batch.expected:
                try:
                    found = self._readback.count(batch.parts[-1])
                except JournalError as error:
                    self._report_unread(error)
                    return removed
                if found < batch.expected:
                    return removed
            self._in_flight.popleft()
            self._complete(batch)
            removed = True
        return removed

    def _complete(self, batch: _Batch) -> None:
        self._done = batch.end
        if batch.parts:
            self._sent += len(batch.ids)
            self._report("")
            # All that is not saved was sent later, so it comes after the batch's first entry,
            # unless an earlier forwarder sent it.
            if not self._already_sent and time.monotonic() - self._saved_at >= _SAVE_EVERY:
                self._cursor = self._first_cursor(batch)
        self._save()

    def _first_cursor(self, batch: _Batch) -> str:
        try:
            return self._readback.first(batch.parts[0]) or self._cursor
        except JournalError:
            return self._cursor  # an older cursor is correct too, only slower to read from

    def _save(self, *, now: bool = False) -> None:
        note = json.dumps({"id": self._id, "place": self._cursor})
        if (self._done, note) == (self._feed.position, self._feed.note):
            return
        if now or time.monotonic() - self._saved_at >= _SAVE_EVERY:
            try:
                self._feed.save(self._done, note)
            except StoreError as error:
                if not error.retryable:
                    raise
                self._report(str(error))
            self._saved_at = time.monotonic()

    def _wait_for_journald(self) -> None:
        """Wait for the first batch in flight; then find and send what is missing of all."""
        batch, ends = self._in_flight[0], time.monotonic() + _PATIENCE_FIRST
        pause = 0.001
        while time.monotonic() < ends:
            self._pause(pause)
            pause = min(pause * 1.5, 0.05)
            self._confirm()
            if not self._in_flight or self._in_flight[0] is not batch:
                return
        self._send_again()

    def _send_again(self) -> None:
        """Send again what journald dropped of the batches in flight, and nothing else."""
        self._barrier("Checking which audit events did not reach the journal")
        there: dict[str, set[int | None]] = {}
        try:
            for entry in self._readback.since(self._cursor):
                there.setdefault(entry.batch, set()).add(entry.event_id)
        except JournalError as error:
            self._report_unread(error)
            return  # the batches stay in flight, and are looked for again
        lost = 0
        for batch in self._in_flight:
            if not batch.expected:
                continue
            found = set().union(*(there.get(name, ()) for name in batch.parts))
            missing = [each for each in batch.ids if each not in found]
            self._transmit(batch, self._feed.fetch(missing) if missing else [])
            lost += len(missing)
        if lost:
            log.warning("journald dropped entries: sent again", events=lost)

    # --- waiting -----------------------------------------------------------------------

    def _pause(self, seconds: float) -> None:
        self._control.report(self._sent, self._problem)
        ends = time.monotonic() + seconds
        while True:
            if self._control.ends():
                raise StoppedError
            left = ends - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.2))

    def _report_unread(self, error: JournalError) -> None:
        """Say that the journal cannot be read now, and open it anew for the next look.

        A file that is open while its journald is killed may look damaged until it is opened again.
        """
        self._report(str(error))
        self._readback.close()

    def _report(self, problem: str) -> None:
        """Log a problem once, and once that it is over."""
        if problem and not self._problem:
            log.error("the journal is unavailable: waiting", why=problem)
        elif self._problem and not problem:
            log.info("the journal has recovered")
        self._problem = problem


def _batch_field(name: str) -> bytes:
    return wire.framed(f"{BATCH}={name}".encode())


def _no_name(_: int) -> str | None:
    return None
