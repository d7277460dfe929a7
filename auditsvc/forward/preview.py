"""Which of the latest events would be forwarded; sends nothing, changes nothing."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.enrich import kinds
from auditsvc.forward.fields import entry
from auditsvc.forward.self_exclusion import OwnProcesses
from auditsvc.forward.settings import selection
from auditsvc.host.users import Users
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.read.events import whole_events
from auditsvc.store.read.feed import selected

if TYPE_CHECKING:
    from auditsvc.config import Settings
    from auditsvc.store.read.events import Event

_MOST: Final = 20_000  # events that are read
_CHUNK: Final = 500
_SAMPLES: Final = 10
_HIGHEST: Final = (1 << 63) - 1  # of ids


@dataclass(slots=True)
class Preview:
    """Counts of the events that would be sent; `samples` are MESSAGE lines, a few of each kind."""

    seconds: float
    events: int = 0
    complete: bool = True
    """False if not all events were read: `seconds` then ends with the last one read."""
    kinds: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)
    programs: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)


def preview(settings: Settings, since: float) -> Preview:
    """Read the events since a time (seconds since 1970)."""
    users, since = Users(), max(0.0, since)
    chosen = selection(settings.forward, OwnProcesses(settings.host).processes())
    found = Preview(max(0.0, time.time() - since))
    low = int(since) << SERIAL_BITS
    with open_store(settings.store, read=True) as store:
        while True:
            with reading(store.database) as connection:
                ids = selected(connection, chosen, low, _HIGHEST, _CHUNK)
                events = whole_events(connection, ids)
            for event in events:
                _count(found, event, users)
            if len(ids) < _CHUNK:
                return found
            low = ids[-1] + 1
            if found.events >= _MOST:
                found.complete = False
                found.seconds = max(0.0, (ids[-1] >> SERIAL_BITS) - since)
                return found


def _count(found: Preview, event: Event, users: Users) -> None:
    found.events += 1
    if event.call is not None:
        row = event.call.context
        kind = kinds.kind_of_call(event.call.syscall)
        found.keys[row["key"] or "(none)"] += 1
        found.programs[row["exe"] or "?"] += 1
    elif event.event is not None:
        kind = kinds.kind_of_type(event.event["type"])
    else:
        return
    found.kinds[kind.name] += 1
    if len(found.samples) < _SAMPLES and found.kinds[kind.name] <= _SAMPLES // 3:
        message = entry(event, users.name)[0]
        found.samples.append(message.removeprefix(b"MESSAGE=").decode())
