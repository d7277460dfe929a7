"""ausearch's words for times -> seconds since 1970.

As ausearch's -ts and -te have them: one or two words, of which one with a colon is the time of
the day; or a keyword. They are local times, or UTC if that is asked for. A date alone is its
beginning for -ts, and for -te that date at the present time of the day. Also read: ISO dates
and times with a zone, `2h ago`, `-15m` and `@SECONDS`, as `auditsvc query --since` has them.

Different from ausearch: a date is read in whatever locale (it takes the locale's only, and no
ISO date), and `this-hour` is the beginning of the hour, which ausearch 4.2.2 takes for now.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final

from auditsvc.errors import QueryError, UsageError
from auditsvc.store.read.time_words import second_of

_FORMATS: Final = ("%Y-%m-%d", "%m/%d/%Y", "%m/%d/%y", "%x", "%d.%m.%Y")
_OF_DAY: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_AHEAD: Final = "give a date (2026-11-28), a time (14:30), both, or a word: today, recent, boot ..."
WORDS: Final = (
    *("now", "recent", "this-hour", "boot", "today", "yesterday", "this-week", "week-ago"),
    *("this-month", "this-year"),
)


def is_word(text: str) -> bool:
    """Whether a word of a command line can be the second of a time: not an option."""
    return bool(_OF_DAY.fullmatch(text)) or _date(text) is not None


def start_second(words: str, now: datetime, *, utc: bool = False) -> int:
    """Give the second that -ts means; `now` has a zone."""
    return _second(words, _in_zone(now, utc), is_end=False)


def end_second(words: str, now: datetime, *, utc: bool = False) -> int:
    """Give the last second that -te means."""
    return _second(words, _in_zone(now, utc), is_end=True)


def is_date_alone(words: str) -> bool:
    """Whether -te would be that date at the present time of the day."""
    return _date(words.strip()) is not None


def _in_zone(now: datetime, utc: bool) -> datetime:
    return now.astimezone(UTC) if utc else now.astimezone()


def _second(words: str, now: datetime, *, is_end: bool) -> int:
    text = " ".join(words.split())
    keyword = _keyword(text.lower(), now, is_end=is_end)
    if keyword is not None:
        return max(0, int(keyword.timestamp()))
    parts = text.split(" ")
    if len(parts) <= 2:
        times = [each for each in parts if _OF_DAY.fullmatch(each)]
        days = [each for each in parts if not _OF_DAY.fullmatch(each)]
        day = _date(days[0]) if len(days) == 1 else now if not days else None
        if day is not None and len(times) <= 1:
            clock = _clock(times[0]) if times else None
            if clock is not None:
                hour, minute, second = clock
            elif is_end:
                hour, minute, second = now.hour, now.minute, now.second
            else:
                hour = minute = second = 0
            with suppress(ValueError, OverflowError):
                return max(0, _local(now, day, hour, minute, second))
    try:
        return second_of(text, now)
    except QueryError as error:
        option = "-te" if is_end else "-ts"
        raise UsageError(f"{option} {words}: not a time", _AHEAD) from error


def _local(now: datetime, day: datetime, hour: int, minute: int, second: int) -> int:
    """Give a time of the clock on a day, in the zone of `now` as it is on that day."""
    naive = datetime(day.year, day.month, day.day, hour, minute, second)  # noqa: DTZ001 - zone below
    return int((naive.replace(tzinfo=UTC) if now.tzinfo is UTC else naive).timestamp())


def _clock(text: str) -> tuple[int, int, int] | None:
    found = _OF_DAY.fullmatch(text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def _date(text: str) -> datetime | None:
    for form in _FORMATS:
        with suppress(ValueError):
            return datetime.strptime(text, form)  # noqa: DTZ007 - the day alone is used
    return None


def _keyword(word: str, now: datetime, *, is_end: bool) -> datetime | None:
    if word not in WORDS:
        return None
    if word == "now" or (is_end and word == "today"):
        return now
    if word == "recent":
        return now - timedelta(minutes=10)
    if word == "this-hour":
        return now.replace(minute=0, second=0, microsecond=0)
    if word == "boot":
        return _boot(now)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = {
        "today": 0,
        "yesterday": 1,
        "this-week": (now.weekday() + 1) % 7,  # it begins on Sunday
        "week-ago": 7,
        "this-month": now.day - 1,
        "this-year": now.timetuple().tm_yday - 1,
    }[word]
    day = midnight - timedelta(days=days)
    second = _local(now, day, 0, 0, 0)
    zone: tzinfo | None = now.tzinfo
    return datetime.fromtimestamp(second, zone)


def _boot(now: datetime) -> datetime:
    try:
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError) as error:
        raise UsageError("the time of this machine's boot is not known", _AHEAD) from error
    return now - timedelta(seconds=uptime)
