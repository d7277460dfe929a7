"""What stands under a report: what the store knows to be missing, and of what it is sure.

The ledger counts over the whole store, not by time. Of coverage the store has what the service
wrote at each look (`auditsvc.coverage.watch`), in its own spool: a log of others proves nothing
of this host.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.plural import counted
from auditsvc.record.types import DAEMON_CONFIG

if TYPE_CHECKING:
    from auditsvc.report.choice import Choice
    from auditsvc.report.reader import Reader

_STORED: Final = ("stored", "end", "raw", "duplicate", "open")
"""Causes that with `received` make the ledger's balance."""
_LOST: Final = ("gap", "kernel_lost", "told_lost", "spool_lost", "segments_missing")
_OWN: Final = """NOT EXISTS (
    SELECT 1 FROM origin o
    WHERE o.low = (SELECT max(low) FROM origin WHERE low <= e.id) AND o.high >= e.id
        AND o.source IS NOT NULL)"""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The looks within a time: how many, and the lowest share of covered tasks."""

    looks: int
    lowest: float | None
    """None: no look could tell."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The ledger's counts by cause, and the coverage of the time; None: nothing is known."""

    ledger: dict[str, int]
    coverage: Coverage | None

    @property
    def received(self) -> int:
        """Records that were received."""
        return self.ledger.get("received", 0)

    @property
    def adds_up(self) -> bool:
        """Whether every received record is accounted for."""
        return self.received == sum(self.ledger.get(cause, 0) for cause in _STORED)

    @property
    def lost(self) -> dict[str, int]:
        """What is known to be missing, by cause."""
        return {cause: self.ledger[cause] for cause in _LOST if self.ledger.get(cause)}

    @property
    def line(self) -> str:
        """The proof as one line."""
        return f"{self.ledger_text}; {self.lost_text}; {self.coverage_text}"

    @property
    def ledger_text(self) -> str:
        """What became of the records."""
        if not self.ledger:
            return "ledger: empty"
        parts = [f"{self.ledger[cause]:,} {cause}" for cause in _STORED if self.ledger.get(cause)]
        sums = "" if self.adds_up else ", which does NOT add up"
        return f"ledger of the store: {self.received:,} received = {' + '.join(parts)}{sums}"

    @property
    def lost_text(self) -> str:
        """What is missing."""
        if not self.lost:
            return "nothing lost"
        return "lost: " + ", ".join(f"{number:,} {cause}" for cause, number in self.lost.items())

    @property
    def coverage_text(self) -> str:
        """What is known of coverage."""
        if self.coverage is None:
            return "coverage of this time: not known"
        looks = counted(self.coverage.looks, "look")
        if self.coverage.lowest is None:
            return f"coverage of this time: not known in {looks}"
        return f"coverage of this time: {self.coverage.lowest:.2%} of tasks or more, in {looks}"

    def as_json(self) -> dict[str, object]:
        """Give it for programs."""
        return {
            "ledger": self.ledger,
            "adds_up": self.adds_up,
            "lost": self.lost,
            "coverage": None
            if self.coverage is None
            else {"looks": self.coverage.looks, "lowest_share": self.coverage.lowest},
        }


def proof(reader: Reader, choice: Choice) -> Proof:
    """Ask the store."""
    sql = "SELECT l.cause, CAST(sum(l.count) AS bigint) FROM ledger_entry l GROUP BY l.cause"
    ledger = {str(cause): int(count) for cause, count in reader.rows(sql)}
    return Proof(
        {cause: count for cause, count in ledger.items() if count}, _coverage(reader, choice)
    )


def _coverage(reader: Reader, choice: Choice) -> Coverage | None:
    of = reader.dialect.of
    where = " AND ".join(
        [
            *("f.id = e.fields", f"e.type = {DAEMON_CONFIG}"),
            *(f"{of('op')} = 'coverage-look'", *choice.times("e.id")),
            *(_OWN, *choice.of_caller("e")[: 1 if choice.hosts else 0]),
        ]
    )
    sql = f"SELECT {of('share')} FROM event e CROSS JOIN text f WHERE {where}"  # noqa: S608 - ours
    shares = []
    looks = 0
    for (share,) in reader.rows(sql, choice.values):
        looks += 1
        with suppress(TypeError, ValueError):
            shares.append(float(share))
    return Coverage(looks, min(shares, default=None)) if looks else None
