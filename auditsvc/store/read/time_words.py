"""Times as people write them, and as SQLite's views show them; all of them UTC.

In: a text, and the present. Out: a second since 1970 (`second_of`, for --since and --until), or
the text that compares with a view's `time` on SQLite as the text was meant (`as_compared`).
What cannot be a time is a QueryError; nothing is guessed.

On SQLite `time` is text, `YYYY-MM-DD HH:MM:SS.mmm`, and is compared as text: a prefix of that
form (`2026-11`, `2026-11-28 14`) is a time as it stands; other forms are written in that one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from auditsvc.errors import QueryError

HINT: Final = (
    "write '2026-11-28 14:30', a date, '14:30' (today) or datetime('now', '-1 hour'); times are UTC"
)
_LENGTH: Final = 23
_START: Final = "0000-01-01 00:00:00.000"
_SHAPE: Final = "dddd-dd-dd dd:dd:dd.ddd"
_PREFIXES: Final = re.compile(
    r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}( [0-9]{2}(:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?)?)?)?"
)
_OF_DAY: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(\.[0-9]+)?)?")
_SECONDS: Final = {
    "s": 1, "sec": 1, "second": 1,
    "m": 60, "min": 60, "minute": 60,
    "h": 3600, "hour": 3600,
    "d": 86400, "day": 86400,
    "w": 604800, "week": 604800,
}  # fmt: skip
_AGO: Final = re.compile(r"(?:-\s*([0-9]+)\s*([a-z]+)|([0-9]+)\s*([a-z]+)\s+ago)")
_DAYS: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}
_LAST: Final = (1 << 33) - 1
"""The last second that an event's id can have."""


def second_of(text: str, now: datetime) -> int:
    """Give the second that is meant by an ISO time, a date, `14:30`, `yesterday`, `-1h`, `@...`."""
    words = " ".join(text.strip().lower().split())
    if re.fullmatch(r"@[0-9]{1,10}", words):
        return min(int(words[1:]), _LAST)
    if ago := _AGO.fullmatch(words):
        count, unit = int(ago[1] or ago[3]), ago[2] or ago[4]
        seconds = _SECONDS.get(unit) or _SECONDS.get(unit.removesuffix("s"))
        if seconds is not None:
            return max(0, int(now.timestamp()) - count * seconds)
    found = _moment(words, now)
    if found is None:
        raise QueryError(
            f"{text!r} is not a time",
            "write 2026-11-28, '2026-11-28 14:30', 14:30, yesterday, -1h or '2 hours ago'; "
            "times are UTC",
        )
    return min(max(0, int(found.timestamp())), _LAST)


def as_compared(text: str, now: datetime) -> str:
    """Give the text to compare `time` with; the text itself if it begins a time of the views."""
    if begins_time(text):
        return text
    found = _moment(" ".join(text.strip().lower().split()), now)
    if found is None:
        raise QueryError(f"`time` is compared with {text!r}, which cannot be a time", HINT)
    shown = found.strftime("%Y-%m-%d %H:%M:%S")
    return f"{shown}.{found.microsecond // 1000:03d}" if found.microsecond else shown


def begins_time(text: str) -> bool:
    """Whether it is the beginning of a time as the views show it, cut between two numbers."""
    if not _PREFIXES.fullmatch(text):
        return False
    try:
        datetime.fromisoformat((text + _START[len(text) :])[:_LENGTH])
    except ValueError:
        return False
    return True


def may_begin_time(text: str) -> bool:
    """Whether it has the signs that a time of the views begins with; it may be cut anywhere."""
    return len(text) <= _LENGTH and all(
        sign.isdecimal() and sign.isascii() if shape == "d" else sign == shape
        for sign, shape in zip(text, _SHAPE, strict=False)
    )


def _moment(words: str, now: datetime) -> datetime | None:
    now = now.astimezone(UTC)
    if words == "now":
        return now.replace(microsecond=0)
    day, _, rest = words.partition(" ")
    if day in _DAYS:
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        midnight += timedelta(days=_DAYS[day])
        return _on_day(rest, midnight) if rest else midnight
    if _OF_DAY.fullmatch(words):
        return _on_day(words, now)
    try:
        found = datetime.fromisoformat(words.upper())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _on_day(words: str, day: datetime) -> datetime | None:
    of_day = _OF_DAY.fullmatch(words)
    if not of_day:
        return None
    try:
        return day.replace(
            hour=int(of_day[1]),
            minute=int(of_day[2]),
            second=int(of_day[3] or 0),
            microsecond=int(((of_day[4] or ".")[1:] + "000000")[:6]),
        )
    except ValueError:
        return None
