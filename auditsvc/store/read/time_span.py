"""Ranges of seconds that a comparison of `time` implies, on SQLite.

There `time` is text of one form, and grows with the second and millisecond. So a comparison
with any text implies a range of seconds, which a binary search over the form finds: nothing
has to be understood, and the range is never too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK

if TYPE_CHECKING:
    from collections.abc import Callable

END: Final = (1 << 33) - 1
"""The last second that an event's id can have (the year 2242)."""
_SECONDS: Final = 19
"""Characters of a time to its second."""


def first_second(text: str, length: int = 0) -> int:
    """Give the first second with a time, or with one cut to `length`, that is not below `text`."""
    return min(_search(lambda second: _highest(second, length) >= text), END)


def last_second(text: str, length: int = 0) -> int:
    """Give the last second with a time, or one cut to `length`, not above `text`; -1 if none."""
    return _search(lambda second: _lowest(second, length) > text) - 1


def _search(reached: Callable[[int], bool]) -> int:
    """Give the first second from which on `reached` holds; END + 1 if it never does."""
    low, high = 0, END + 1
    while low < high:
        middle = (low + high) // 2
        if reached(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _lowest(second: int, length: int) -> str:
    """Give a text that is not above any time in the second."""
    shown = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return shown[:length] if 0 < length <= _SECONDS else f"{shown}."


def _highest(second: int, length: int) -> str:
    """Give a text that is not below any: `:` is the sign after the digits."""
    lowest = _lowest(second, length)
    return lowest if 0 < length <= _SECONDS else f"{lowest}:"


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds from `low` to `high`, both included; none if `high` is below `low`."""

    low: int = 0
    high: int = END

    def both(self, other: Span) -> Span:
        """Give the seconds that are in this one and in the other."""
        return Span(max(self.low, other.low), min(self.high, other.high))

    def either(self, other: Span) -> Span:
        """Give the range that has all seconds of both."""
        return Span(min(self.low, other.low), max(self.high, other.high))

    @property
    def conditions(self) -> list[str]:
        """The conditions on `event_id` that hold for just the events in these seconds."""
        found = []
        if self.low > 0:
            found.append(f"event_id >= {self.low << SERIAL_BITS}")
        if self.high < END:
            found.append(f"event_id <= {(self.high << SERIAL_BITS) | SERIAL_MASK}")
        return found


ALL: Final = Span()
