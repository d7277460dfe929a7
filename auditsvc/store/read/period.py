"""The period between two times as people write them: `--since` and `--until`."""

from __future__ import annotations

from datetime import UTC, datetime

from auditsvc.errors import QueryError, UsageError
from auditsvc.store.read.time_span import ALL, Span
from auditsvc.store.read.time_words import second_of


def period_of(since: str | None, until: str | None) -> Span:
    """Give the seconds from `since` to the one before `until`; UsageError if that is none."""
    now = datetime.now(UTC)
    try:
        low = second_of(since, now) if since is not None else ALL.low
        high = second_of(until, now) - 1 if until is not None else ALL.high
    except QueryError as error:
        raise UsageError(error.what, error.hint) from error
    if high < low:
        raise UsageError("--until is not after --since", "times are UTC; see --help")
    return Span(low, high)
