"""The time that a page shows: `since` and `until` of its address, else the last day.

The last day is that before the newest event, so that an old log is not an empty page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.store.read.events import second_text
from auditsvc.store.read.period import period_of
from auditsvc.store.read.time_span import Span
from auditsvc.web.counts import HOUR, Hours

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DAY: Final = 86400


@dataclass(frozen=True, slots=True)
class Period:
    """A span, and its two ends as words of an address; `is_empty`: there is no event."""

    span: Span
    since: str
    until: str
    is_empty: bool = False

    @property
    def words(self) -> dict[str, str]:
        """What an address of the same time has."""
        return {name: word for name, word in (("since", self.since), ("until", self.until)) if word}

    @property
    def counted(self) -> Hours:
        """The whole hours of the time, as calls are counted by."""
        return Hours(self.span.low // HOUR, self.span.high // HOUR)

    @property
    def week_before(self) -> Hours:
        """The hours of the seven days before."""
        low = self.span.low // HOUR
        return Hours(max(0, low - 7 * 24), low - 1)


def period_in(params: Mapping[str, str], newest_second: Callable[[], int | None]) -> Period:
    """Read the time of an address; UsageError if it is none.

    `newest_second` gives the second of the newest event, None if there is none.
    """
    since, until = params.get("since", "").strip(), params.get("until", "").strip()
    if since or until:
        return Period(period_of(since or None, until or None), since, until)
    newest = newest_second()
    if newest is None:
        return Period(Span(), "", "", is_empty=True)
    # Whole hours, so that the counts by hour are those of the events.
    low, end = (newest - _DAY) // HOUR * HOUR, newest // HOUR * HOUR + HOUR
    return Period(Span(max(0, low), end - 1), second_text(max(0, low)), second_text(end))
