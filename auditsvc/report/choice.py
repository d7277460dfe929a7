"""Which events are reported on, and the conditions that say so in SQL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.record.fields import UNSET
from auditsvc.record.types import CONFIG_CHANGE
from auditsvc.report import types
from auditsvc.store.read.time_span import ALL, END, Span

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Choice:
    """What all reports can be narrowed by; everything by default.

    `success`: only events whose outcome is known and so. `no_config`: without events that begin
    with CONFIG_CHANGE. `without`: without events that begin with one of these types.
    """

    span: Span = ALL
    success: bool | None = None
    hosts: tuple[str, ...] = ()
    auid: int | None = None
    """4294967295: unset."""
    no_config: bool = False
    without: tuple[int, ...] = ()

    @property
    def values(self) -> Mapping[str, Any]:
        """The values of the parameters in all conditions."""
        found: dict[str, Any] = {f"host{n}": name for n, name in enumerate(self.hosts)}
        if self.span.low > 0:
            found["low"] = self.span.low << SERIAL_BITS
        if self.span.high < END:
            found["high"] = self.span.high << SERIAL_BITS | SERIAL_MASK
        if self.success is not None:
            found["success"] = int(self.success)
        if self.auid is not None and not self.is_unset:
            found["auid"] = self.auid
        return found

    @property
    def is_unset(self) -> bool:
        """Whether events without a login are asked for."""
        return self.auid == UNSET

    @property
    def needs_first(self) -> bool:
        """Whether a condition is on the type of an event's first record."""
        return self.no_config or bool(self.without)

    def times(self, column: str) -> list[str]:
        """Give the conditions on an event's id."""
        found = []
        if self.span.low > 0:
            found.append(f"{column} >= :low")
        if self.span.high < END:
            found.append(f"{column} <= :high")
        return found

    def of_event(self, event_id: str, success: str, first: str) -> list[str]:
        """Give the conditions on an event, by its columns or expressions."""
        found = self.times(event_id)
        if self.success is not None:
            found.append(f"{success} = :success")
        if self.needs_first:
            left_out = [*([CONFIG_CHANGE] if self.no_config else []), *self.without]
            found.append(f"{first} NOT IN ({types.listed(left_out)})")
        return found

    def of_caller(self, caller: str) -> list[str]:
        """Give the conditions on who caused it; `caller` is the alias of `context` or `event`."""
        found = []
        if self.hosts:
            # PostgreSQL would join a list of them last, behind what it looks up for each event.
            ids = "{}.host = (SELECT id FROM host WHERE name = :host{})"
            each = (ids.format(caller, n) for n in range(len(self.hosts)))
            found.append(f"({' OR '.join(each)})")
        if self.auid is not None:
            found.append(f"{caller}.auid IS NULL" if self.is_unset else f"{caller}.auid = :auid")
        return found

    @property
    def is_of_times(self) -> bool:
        """Whether it says nothing but a range of time."""
        return (
            self.success is None and not self.hosts and self.auid is None and not self.needs_first
        )

    def within(self, span: Span) -> Choice:
        """Give the same choice within a shorter time."""
        return replace(self, span=self.span.both(span))
