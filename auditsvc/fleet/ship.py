"""Ships a store: batch after batch into the inbox, each range of arrivals once.

    shipper = Shipper(store, settings)
    for _ in shipper.steps(only_full=False): ...    # ConfigError, FleetError, StoreError

Invariants, whatever ends the program at whatever moment:

* The intent (number and range) is in the store before the PUT, and the position moves only after
  it: an attempt that is not known to have ended well is made again with the same number and range.
  An answer 412 says that an earlier attempt was stored, so the batch is done.
* Two programs that ship one store cannot save two intents: the one that comes second ends.
* A store that was put back to an earlier state is found by a small file beside it, with the last
  number and the highest id: the next number follows that one, and events up to that id are marked
  as ones that the lake may have.

A batch that is not full goes when its oldest event has waited `fleet.interval`: what arrived while
others were shipped does not wait from the end of that. It is begun earlier by the time that it is
going to take, as the one before tells: beside a busy host that may be a minute.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from auditsvc.errors import FleetError
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.store_facts import identity_in
from auditsvc.fleet.batch import Content, Told, make_batch
from auditsvc.fleet.inbox import Inbox
from auditsvc.fleet.names import object_of
from auditsvc.fleet.position import Intent, Shipped, end_of, parse
from auditsvc.fleet.rows import Source
from auditsvc.host.addresses import own_addresses
from auditsvc.host.file_locks import only_one
from auditsvc.host.files import make_folder, read_file, replace_file
from auditsvc.store import arrivals
from auditsvc.store.database import reading
from auditsvc.store.migrate import current_revision
from auditsvc.store.partitions import DAY
from auditsvc.store.read.feed import Feed, Position, Slice
from auditsvc.store.read.selection import Selection
from auditsvc.store.schema import ledger_entry
from auditsvc.store.schema import source as source_table
from auditsvc.value_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from auditsvc.config import Settings
    from auditsvc.fleet.batch import Made
    from auditsvc.store import Store

ALL: Final = Selection(keyed=False, exclude_keys=(), types=("*",))
_FILE: Final = "fleet.json"
_LOCK: Final = "fleet.lock"
_HEARTBEAT: Final = 3600.0
"""Seconds after which a batch goes although nothing arrived."""
_MOST_AHEAD: Final = 0.5
"""Of the interval: a batch is not begun earlier."""
_PARTS: Final = 64
"""Of a full batch: one with fewer events says little of what an event takes."""


@dataclass(frozen=True, slots=True)
class _Reached:
    """What the file says."""

    store: str
    n: int
    """The last number that was put, or was to be put."""
    top: int
    """The highest id of an event in these batches."""
    shipped: int
    done: bool = False
    """Whether batch n is known to be in the inbox."""


class Shipper:
    """Ships one store; what it did is in its attributes."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        inbox: Inbox | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.batches = self.events = self.bytes = 0
        """What this one put into the inbox."""
        self._settings = settings
        self._now = now
        self._inbox = Inbox(settings.fleet) if inbox is None else inbox
        self._feed = Feed(store, arrivals.FLEET, from_beginning=True)
        self._database = store.database
        with reading(self._database) as connection:
            self._identity = identity_in(connection)
            self._revision = current_revision(connection) or ""
        self._source = Source(self._database, settings.host, self._identity)
        self._file = settings.state_directory / _FILE
        self._seen: list[tuple[float, int]] = []
        """When looks found something new waiting, and the last arrival by then."""
        self._part: tuple[Position, Slice] | None = None
        """What waited when a look was taken last, from a position on."""
        self._pace = 0.0
        """Seconds that an event of the last batch took until that was put."""

    @property
    def position(self) -> Shipped:
        """How far the store was shipped."""
        return parse(self._feed.note)

    def steps(self, *, only_due: bool = True) -> Iterator[None]:
        """Ship what is due, or all that is there, in short steps."""
        with only_one(self._settings.state_directory / _LOCK, _refusal()):
            self._find_rewound()
            while True:
                state = self.position
                if state.intent is None:
                    state = self._intend(state, only_due=only_due)
                    if state.intent is None:
                        return
                yield from self._ship(state)

    # --- what a batch is ------------------------------------------------------------------

    def _intend(self, state: Shipped, *, only_due: bool) -> Shipped:
        """Save the intent of the next batch, if one is due."""
        most = self._settings.fleet.batch_events
        amended = self._feed.amended(most, state.amended)
        part = self._feed.ids(ALL, most)
        self._part = (self._feed.position, part)
        waiting = len(part.ids) + len(amended)
        if only_due and not self._is_due(state, waiting):
            return state
        if not only_due and not waiting:
            return state
        intent = Intent(
            n=state.n + 1,
            end=end_of(part.end),
            events=_count_above(part.ids, state.top),
            amended=amended[-1][0] if amended else state.amended,
            made=round(self._now(), 3),
            id=secrets.token_hex(8),
        )
        state = replace(state, intent=intent)
        self._feed.save(self._feed.position, state.text())
        return state

    def _is_due(self, state: Shipped, waiting: int) -> bool:
        fleet, now = self._settings.fleet, self._now()
        since = self._waits_since(now)
        if waiting >= fleet.batch_events or abs(now - state.made) >= _HEARTBEAT:
            return True
        if not waiting:
            return False
        longest = max(abs(now - state.made), abs(now - since))
        ahead = min(waiting * self._pace, fleet.interval * _MOST_AHEAD)
        return longest >= fleet.interval - ahead or now // DAY != state.made // DAY

    def _waits_since(self, now: float) -> float:
        """Give when a look first found the oldest of what waits."""
        last, reached = self._feed.last(), self._feed.position.seq
        if not self._seen or self._seen[-1][1] < last:
            self._seen.append((now, last))
        self._seen = [each for each in self._seen if each[1] >= reached]
        return self._seen[0][0] if self._seen else now

    def _content(self, state: Shipped) -> Content:
        intent = state.intent
        assert intent is not None
        arrived: list[int] = []
        end, position = Position(*intent.end), self._feed.position
        if self._part is not None and self._part[0] == position and self._part[1].end == end:
            arrived, position = self._part[1].ids, end  # just asked for, for the intent
        self._part = None
        while position != end:
            part = self._feed.ids(ALL, 1 << 31, position, end)
            arrived += part.ids
            position = part.end
        amended = self._feed.amended(1 << 31, state.amended, intent.amended)
        return Content(arrived, sorted({event for _, event in amended}), state.top)

    def _ship(self, state: Shipped) -> Iterator[None]:
        """Make and put the intent's batch; save the position after it."""
        intent = state.intent
        assert intent is not None
        begun = self._now()
        content = self._content(state)
        yield
        after = state.after()
        start = end_of(self._feed.position)
        told = Told(
            n=intent.n,
            id=intent.id or secrets.token_hex(8),
            range=[list(start), list(intent.end)],
            events=intent.events,
            shipped=after.shipped,
            made=intent.made,
            revision=self._revision,
            ledger=self._ledger(),
            head=Folder(self._settings.spool_directory).last_text(),
            addresses=own_addresses(),
        )
        made: Made | None = None
        for step in make_batch(self._source, content, told):
            made = step
            yield
        assert made is not None
        top = max((*content.arrived, state.top))
        reached = _Reached(self._identity, intent.n, top, after.shipped)
        self._reach(reached)
        shard, host = self._settings.fleet.shard, self._settings.host
        if self._inbox.put(object_of(shard, host, self._identity, intent.n), made.data):
            self.batches += 1
            self.events += intent.events
            self.bytes += len(made.data)
        self._reach(replace(reached, done=True))
        if count := len(content.arrived) + len(content.amended):
            # What a batch takes whatever it holds is not taken for the cost of a few events.
            least = self._settings.fleet.batch_events // _PARTS
            self._pace = max(0.0, self._now() - begun) / max(count, least)
        amended = intent.amended if intent.amended != state.amended else None
        self._feed.save(Position(*intent.end), after.text(), amended)

    def _ledger(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        with reading(self._database) as connection:
            rows = connection.execute(
                source_table.join(ledger_entry, ledger_entry.c.source == source_table.c.id)
                .select()
                .with_only_columns(
                    source_table.c.kind,
                    source_table.c.name,
                    ledger_entry.c.cause,
                    ledger_entry.c.count,
                )
                .order_by(source_table.c.kind, source_table.c.name, ledger_entry.c.cause)
            )
            for kind, name, cause, count in rows:
                if count:
                    found.setdefault(f"{kind} {name}", {})[cause] = count
        return found

    # --- a store that was put back --------------------------------------------------------

    def _find_rewound(self) -> None:
        """Go on after the last number that was put, if the store knows of fewer.

        If it is not known whether that one was stored, an empty one is put in its place.
        """
        reached = self._reached()
        state = self.position
        known = state.n + (state.intent is not None)
        if reached is None or reached.store != self._identity or reached.n <= known:
            return
        top, position = max(reached.top, state.top), self._feed.position
        state = replace(state, n=reached.n, shipped=reached.shipped, intent=None, top=top)
        if not reached.done:
            made = round(self._now(), 3)
            intent = Intent(reached.n, end_of(position), 0, state.amended, made)
            state = replace(state, n=reached.n - 1, intent=intent)
        self._feed.save(self._feed.position, state.text())

    def _reached(self) -> _Reached | None:
        try:
            return _Reached(**parse_json(read_file(self._file)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise FleetError(
                f"{self._file} cannot be read: {error}",
                "it says which batches were put; if it is lost, see docs/fleet.md",
            ) from error

    def _reach(self, reached: _Reached) -> None:
        before = self._reached()
        if before is not None and before.store == self._identity:
            reached = replace(reached, top=max(reached.top, before.top))
        try:
            make_folder(self._file.parent)
            replace_file(self._file, json.dumps(asdict(reached)), sync=True)
        except OSError as error:
            raise FleetError(f"{self._file} cannot be written: {error.strerror}") from error


def _count_above(ids: Sequence[int], top: int) -> int:
    return len(ids) if top < 0 else sum(each > top for each in ids)


def _refusal() -> FleetError:
    return FleetError("another program ships this store just now", "wait for its end")
