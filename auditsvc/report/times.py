"""Times as aureport's -ts and -te take them -> seconds since 1970.

One or two words, in any order: a date, a time of the day, or a keyword. They are local times;
a date is that of ISO 8601 or MM/DD/YY. -ts DATE begins at midnight, -te DATE ends at the present
time of that day, as aureport has it. What is none of this is read as `--since` reads it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from auditsvc.errors import QueryError, UsageError
from auditsvc.store.read.time_words import second_of

_DATES: Final = ("%Y-%m-%d", "%m/%d/%y", "%m/%d/%Y")
_OF_DAY: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_RECENT: Final = timedelta(minutes=10)
_WORDS: Final = frozenset(
    (
        *("now", "recent", "this-hour", "boot", "today", "yesterday", "this-week", "week-ago"),
        *("this-month", "this-year"),
    )
)


def is_time(word: str) -> bool:
    """Whether a word can follow -ts or -te as its second one."""
    return _OF_DAY.fullmatch(word) is not None or _date(word) is not None


def start_of(text: str, now: datetime) -> int:
    """Give the second that -ts means; UsageError if it is no time. `now` has a time zone."""
    return _second(text, now, is_end=False)


def end_of(text: str, now: datetime) -> int:
    """Give the last second that -te means."""
    return _second(text, now, is_end=True)


def _second(text: str, now: datetime, *, is_end: bool) -> int:
    words = text.split()
    found = _meant(words, now, is_end=is_end)
    if found is not None:
        return max(0, int(found.timestamp()))
    with suppress(QueryError):
        return second_of(text, now)
    raise UsageError(
        f"{'-te' if is_end else '-ts'}: {text!r} is not a time",
        f"give a date (2026-11-28), a time (14:30), both, or {', '.join(sorted(_WORDS))}",
    )


def _meant(words: list[str], now: datetime, *, is_end: bool) -> datetime | None:
    if len(words) == 1 and words[0].lower() in _WORDS:
        return _keyword(words[0].lower(), now, is_end=is_end)
    clocks = [clock for word in words if (clock := _OF_DAY.fullmatch(word))]
    days = [day for word in words if (day := _date(word))]
    if len(clocks) + len(days) != len(words) or len(clocks) > 1 or len(days) > 1 or not words:
        return None
    day = days[0] if days else now
    if clocks:
        hour, minute, second = (int(part or 0) for part in clocks[0].groups())
    else:
        hour, minute, second = (now.hour, now.minute, now.second) if is_end else (0, 0, 0)
    with suppress(ValueError):
        return _local(now, day, hour, minute, second)
    return None


def _local(
    now: datetime, day: datetime, hour: int = 0, minute: int = 0, second: int = 0
) -> datetime:
    """Give a time in the zone of `now`, with that day's offset if the zone is the system's."""
    plain = datetime(day.year, day.month, day.day, hour, minute, second)  # noqa: DTZ001 - set next
    if now.tzinfo is UTC:
        return plain.replace(tzinfo=UTC)
    return plain.astimezone()


def _date(word: str) -> datetime | None:
    for form in _DATES:
        with suppress(ValueError):
            return datetime.strptime(word, form)  # noqa: DTZ007 - a day alone
    return None


def _keyword(word: str, now: datetime, *, is_end: bool) -> datetime:
    if word == "now" or (is_end and word == "today"):
        return now
    if word == "recent":
        return now - _RECENT
    if word == "boot":
        return now - timedelta(seconds=_uptime())
    if word == "this-hour":
        return now.replace(minute=0, second=0, microsecond=0)
    days = {
        "today": 0,
        "yesterday": 1,
        "this-week": (now.weekday() + 1) % 7,  # from Sunday on
        "week-ago": 7,
        "this-month": now.day - 1,
        "this-year": now.timetuple().tm_yday - 1,
    }[word]
    return _local(now, now - timedelta(days=days))


def _uptime() -> float:
    return float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
