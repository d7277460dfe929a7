"""Events from the store into the journal, each exactly once.

    feed.ids --> feed.fetch --> fields.entry --> send --> journald --> readback --> feed.save

What must hold:

* The feed's position moves only behind events that were read back from the journal.
* What journald threw away (no room, rate limit, an end of its own) is sent again, and
  nothing else is. Whether an entry was thrown away or is still in journald's queue is
  told by a barrier: the queue keeps its order, so once an entry that was sent later can
  be read, what cannot be read will not come.
* A forwarder that was killed may have sent more than it saved. The next one sends a
  barrier first, reads what of the dead one's entries is there, and leaves those out.
* Where journald stands still `send` waits, with the whole process; a signal comes every
  second (`forward.py` of cli/ sets the timer), so that state and stop are seen to.
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

_POLL: Final = 0.2  # seconds between looks at a store that gave nothing
_SAVE_EVERY: Final = 0.5
_PATIENCE_FIRST, _PATIENCE_MOST = 1.0, 30.0
_PARTS_WHOLE: Final = 8  # times that an event is sent whole before its long fields stay behind
_FRESH: Final = 10.0  # seconds; see `fields.entry` for OBJECT_PID


class Control(Protocol):
    """What the process around the forwarder tells it, and wants to know."""

    def ends(self) -> bool:
        """Whether to stop at once."""

    def draining(self) -> bool:
        """Whether to stop when nothing is left to send."""

    def tell(self, sent: int, trouble: str) -> None:
        """Take note of how it goes; called often."""


class StoppedError(Exception):
    """The forwarder was told to stop while it waited."""


@dataclass(slots=True)
class _Batch:
    """Events on their way; `parts` are the names under which they, or some, were sent."""

    end: Position
    ids: list[int]
    parts: list[str] = field(default_factory=list)
    expected: int = 0
    """Entries of the last part; 0 when all that there are were read back."""


class Forwarder:
    """One run; `run` returns when it was told to stop or, if asked, when nothing is left."""

    def __init__(
        self,
        feed: Feed,
        selection: Callable[[], Selection],
        readback: Readback,
        control: Control,
        *,
        host: str,
        users: Users,
    ) -> None:
        """`selection` is asked before each look: which processes are ours changes."""
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
        self._flying: deque[_Batch] = deque()
        self._there: set[int] = set()
        """Events that a forwarder before us put into the journal."""
        self._next = self._done = feed.position
        self._place = ""
        self._saved_at = 0.0
        self._sent = 0
        self._trouble = ""

    def run(self, *, until_idle: bool = False) -> None:
        """Forward what there is and what comes."""
        try:
            self._begin()
            while not self._control.ends():
                self._control.tell(self._sent, self._trouble)
                try:
                    if self._step():
                        continue
                except StoreError as error:
                    if not error.retryable:
                        raise
                    self._say(str(error))
                    self._pause(_PATIENCE_FIRST)
                    continue
                if until_idle or self._control.draining():
                    return
                time.sleep(_POLL)
        except StoppedError:
            pass
        finally:
            self._channel.close()
            self._control.tell(self._sent, self._trouble)
            self._save(now=True)

    def _step(self) -> bool:
        """Do what is to be done next; whether there was anything."""
        if self._confirm() or self._more():
            return True
        if self._flying:
            self._wait_for_journald()
            return True
        self._save()
        return False

    # --- beginning ---------------------------------------------------------------------

    def _begin(self) -> None:
        note = json.loads(self._feed.note) if self._feed.note else {}
        self._id = note.get("id") or secrets.token_hex(16)
        self._place = note.get("place", "")
        barrier = self._barrier("Forwarding audit events from the store to the journal")
        if not self._place:
            self._place = self._readback.first(barrier) or ""
            self._save(now=True)
            return
        if not self._readback.holds(self._place):
            log.warning(
                "the journal does not hold the last entry that was read back any more: what it "
                "has lost of it is in the store only"
            )
        for found in self._readback.since(self._place):
            if found.event_id is not None and found.batch.startswith(self._id):
                self._there.add(found.event_id)

    def _barrier(self, message: str) -> str:
        """Wait until all that was sent before is in the journal or will never be."""
        patience = _PATIENCE_FIRST
        while True:
            name = self._name()
            try:
                self._channel.open()
                self._send(head(kinds.FORWARDER, kinds.INFO, message) + _batch_field(name))
                self._readback.reopen()
                self._await(name, patience)
            except JournalError as error:
                self._say(str(error))
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
                    "journald takes entries and does not write them",
                    "see `journalctl -u systemd-journald`: no room, a rate limit, Storage=none, "
                    "or a MaxLevelStore= below info",
                )
            self._pause(0.01)

    def _name(self) -> str:
        self._count += 1
        return f"{self._id}.{self._run}.{self._count}"

    # --- sending -----------------------------------------------------------------------

    def _more(self) -> bool:
        """Send the next batch if there is room and one is there; whether anything was done."""
        if len(self._flying) >= IN_FLIGHT:
            return False
        part = self._feed.ids(self._selection(), BATCH_EVENTS, self._next)
        if part.end == self._next:
            return False
        ids = [each for each in part.ids if each not in self._there]
        events = self._feed.fetch(ids) if ids else []
        # From here on nothing of the store can fail: the batch is on its way.
        self._there.difference_update(part.ids)
        if not part.more:
            self._there.clear()  # whatever the one before us sent lies behind us now
        self._next = part.end
        if not events and self._flying:
            self._flying[-1].end = part.end
        else:
            batch = _Batch(part.end, ids=ids)
            self._flying.append(batch)
            self._transmit(batch, events)
        return part.more or bool(ids)

    def _transmit(self, batch: _Batch, events: Sequence[Event]) -> None:
        """Send events as a further part of a batch."""
        events = [each for each in events if each.call or each.event]  # not deleted meanwhile
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
                made = self._made(event, since)
                if len(batch.parts) > _PARTS_WHOLE:
                    made = wire.joined(shortened(wire.fields(made)))
                self._send(made + mark)
        except JournalError as error:
            self._say(str(error))  # what is missing of the batch is found out and sent again

    def _made(self, event: Event, since: int) -> bytes:
        here = event.host == self._host
        user = self._users.name if here else _nobody
        return datagram(event, user, object_pid=here and event.id >= since)

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
                    self._say("journald does not read what is sent to it")
            else:
                return

    # --- reading back ------------------------------------------------------------------

    def _confirm(self) -> bool:
        """Let go of the batches that are in the journal; whether there was one."""
        freed = False
        while self._flying:
            batch = self._flying[0]
            if batch.expected:
                try:
                    there = self._readback.count(batch.parts[-1])
                except JournalError as error:
                    self._say(str(error))
                    self._readback.close()
                    return freed
                if there < batch.expected:
                    return freed
            self._flying.popleft()
            self._land(batch)
            freed = True
        return freed

    def _land(self, batch: _Batch) -> None:
        self._done = batch.end
        if batch.parts:
            self._sent += len(batch.ids)
            self._say("")
            # All that is not saved was sent later; so it stands behind the batch's first
            # entry, unless it is a dead forwarder's.
            if not self._there and time.monotonic() - self._saved_at >= _SAVE_EVERY:
                self._place = self._first_place(batch)
        self._save()

    def _first_place(self, batch: _Batch) -> str:
        try:
            return self._readback.first(batch.parts[0]) or self._place
        except JournalError:
            return self._place  # an older place is as right, and longer to read from

    def _save(self, *, now: bool = False) -> None:
        note = json.dumps({"id": self._id, "place": self._place})
        if (self._done, note) == (self._feed.position, self._feed.note):
            return
        if now or time.monotonic() - self._saved_at >= _SAVE_EVERY:
            try:
                self._feed.save(self._done, note)
            except StoreError as error:
                if not error.retryable:
                    raise
                self._say(str(error))
            self._saved_at = time.monotonic()

    def _wait_for_journald(self) -> None:
        """Wait for the first batch in flight; after a while find out what became of all."""
        batch, ends = self._flying[0], time.monotonic() + _PATIENCE_FIRST
        pause = 0.001
        while time.monotonic() < ends:
            self._pause(pause)
            pause = min(pause * 1.5, 0.05)
            self._confirm()
            if not self._flying or self._flying[0] is not batch:
                return
        self._send_again()

    def _send_again(self) -> None:
        """Send what journald threw away of the batches in flight, and nothing else."""
        self._barrier("Looking which audit events did not reach the journal")
        lost = 0
        for batch in self._flying:
            if not batch.expected:
                continue
            there: set[int] = set()
            for name in batch.parts:
                there |= self._readback.look(name)
            missing = [each for each in batch.ids if each not in there]
            self._transmit(batch, self._feed.fetch(missing) if missing else [])
            lost += len(missing)
        if lost:
            log.warning("journald had thrown entries away: sent again", events=lost)

    # --- waiting -----------------------------------------------------------------------

    def _pause(self, seconds: float) -> None:
        self._control.tell(self._sent, self._trouble)
        ends = time.monotonic() + seconds
        while True:
            if self._control.ends():
                raise StoppedError
            left = ends - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.2))

    def _say(self, trouble: str) -> None:
        """Say a trouble once, and once that it is over."""
        if trouble and not self._trouble:
            log.error("the journal takes nothing just now: waiting", why=trouble)
        elif self._trouble and not trouble:
            log.info("the journal takes entries again")
        self._trouble = trouble


def _batch_field(name: str) -> bytes:
    return wire.framed(f"{BATCH}={name}".encode())


def _nobody(_: int) -> str | None:
    return None
