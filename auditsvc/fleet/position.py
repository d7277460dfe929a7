"""How far a store was shipped: what its consumer's note says. Needs no package.

    n, shipped, amended, made     what is in the inbox, or was
    intent                        the batch n + 1, from its first attempt until it is there

The intent is saved before the first PUT, so that each attempt, by whatever process, is of the same
range: the arrivals from the consumer's position to `end`, and what was amended after `amended` up
to the intent's own `amended`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditsvc.store.read.feed import Position


@dataclass(frozen=True, slots=True)
class Intent:
    """A batch that is to be in the inbox."""

    n: int
    end: tuple[int, int]
    """The position after it."""
    events: int
    """Events that arrived in the range; one that is gone by an attempt is counted as missing."""
    amended: int
    made: float
    """Seconds since 1970."""
    id: str = ""
    """Names the batch: an attempt made again after it was committed is known by it. "" in the note
    of an older program."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """How far a store was shipped."""

    n: int = 0
    shipped: int = 0
    """Events of the batches up to n, each counted once."""
    amended: int = 0
    """Number of the last amended event (`auditsvc.store.arrivals`) of them."""
    made: float = 0.0
    """When batch n was made."""
    top: int = -1
    """After the store was put back to an earlier state: the highest id that had been shipped.
    Events up to it may be in the lake."""
    intent: Intent | None = None

    def text(self) -> str:
        """Give it as the note has it."""
        return json.dumps(asdict(self), separators=(",", ":"))

    def after(self) -> Shipped:
        """Give what holds once the intent's batch is in the inbox."""
        intent = self.intent
        assert intent is not None
        return replace(
            self,
            n=intent.n,
            shipped=self.shipped + intent.events,
            amended=intent.amended,
            made=intent.made,
            intent=None,
        )


def parse(note: str) -> Shipped:
    """Read a note; "" is that of a store of which nothing was shipped."""
    values = json.loads(note) if note else {}
    intent = values.pop("intent", None)
    if intent is not None:
        intent = Intent(**intent | {"end": tuple(intent["end"])})
    return Shipped(**values, intent=intent)


def end_of(position: Position) -> tuple[int, int]:
    """Give a position as an intent has it."""
    return position.seq, position.event
