"""Times as people write them (`auditsvc.store.read.time_words`), and the seconds they imply."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from auditsvc.errors import QueryError
from auditsvc.store.read.time_span import ALL, END, Span, first_second, last_second
from auditsvc.store.read.time_words import as_compared, may_begin_time, second_of

NOW = datetime(2026, 11, 28, 21, 30, 15, 400_000, UTC)


def at(text):
    """Give the second of a time in UTC."""
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())


MEANT = {
    "2026-11-27": "2026-11-27 00:00:00",
    "2026-11-27 14:30": "2026-11-27 14:30:00",
    "2026-11-27T14:30:01": "2026-11-27 14:30:01",
    "2026-11-27t14:30:01z": "2026-11-27 14:30:01",
    "2026-11-27 14:30+02:00": "2026-11-27 12:30:00",
    "14:30": "2026-11-28 14:30:00",
    "9:05:07": "2026-11-28 09:05:07",
    "now": "2026-11-28 21:30:15",
    "today": "2026-11-28 00:00:00",
    "yesterday": "2026-11-27 00:00:00",
    "Yesterday 14:30": "2026-11-27 14:30:00",
    "tomorrow": "2026-11-29 00:00:00",
    "-1h": "2026-11-28 20:30:15",
    "-30 min": "2026-11-28 21:00:15",
    "2 hours ago": "2026-11-28 19:30:15",
    "1 day  ago": "2026-11-27 21:30:15",
    "-2w": "2026-11-14 21:30:15",
    "@1750000000": "2025-06-15 15:06:40",
    "1965-01-01": "1970-01-01 00:00:00",
}


@pytest.mark.parametrize("text", MEANT)
def test_a_time_is_understood(text):
    """Every form that --since takes means one second."""
    assert second_of(text, NOW) == at(MEANT[text])


@pytest.mark.parametrize(
    "text",
    ["", "noon", "25:00", "14:61", "2026-13-01", "2026-11-31", "-1 huor", "ago", "1h", "--", "5",
     "\u0661\u0664:\u0663\u0660", "yesterday noon", "-1h -2h", "@x"],
)  # fmt: skip
def test_what_is_no_time_is_an_error_of_one_line(text):
    """Nothing is guessed."""
    with pytest.raises(QueryError, match="is not a time") as caught:
        second_of(text, NOW)
    assert "\n" not in str(caught.value)


COMPARED = {
    "2026": "2026",
    "2026-11-28 14:3": None,
    "2026-11-28 14:30": "2026-11-28 14:30",
    "2026-11-28 14:30:15.25": "2026-11-28 14:30:15.25",
    "14:30": "2026-11-28 14:30:00",
    "14:30:15.5": "2026-11-28 14:30:15.500",
    "2026-11-28T14:30:00Z": "2026-11-28 14:30:00",
    "2026-11-28T14:30:00.25+01:00": "2026-11-28 13:30:00.250",
    "yesterday": "2026-11-27 00:00:00",
    "2026-02-30": None,
    "2026-13": None,
    "": None,
    "foo": None,
    "-1h": None,
}


@pytest.mark.parametrize("text", COMPARED)
def test_a_text_is_compared_as_it_is_meant(text):
    """The beginning of a time stays; other forms become it; the rest is an error."""
    if COMPARED[text] is None:
        with pytest.raises(QueryError, match="cannot be a time"):
            as_compared(text, NOW)
    else:
        assert as_compared(text, NOW) == COMPARED[text]


def test_the_beginning_of_a_time_may_be_cut_anywhere():
    """As LIKE has it; other signs are no beginning."""
    whole = "2026-11-28 14:30:15.123"
    assert all(may_begin_time(whole[:n]) for n in range(len(whole) + 1))
    for text in ("2026-11-28T", "14:3", "x", "2026/", f"{whole}0", "\u0662026"):
        assert not may_begin_time(text)


def shown(second, ms):
    """Give a time as SQLite's views show it."""
    when = datetime.fromtimestamp(second, UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}.{ms:03d}"


def test_seconds_of_a_comparison_are_exact():
    """For any text, no second outside has a time for which it holds; the ends are no wider."""
    chance = random.Random(14)
    texts = ["", "0", "1969", "1970", "9999", ":", "zz", "2025-06-15 15:06:40.9991", "\U0010ffff"]
    for _ in range(3_000):
        second = chance.choice((0, 59, 86399, 1_750_000_000, END)) + chance.randrange(-3, 4)
        text = shown(min(max(second, 0), END), chance.choice((0, 1, 500, 999)))
        end = chance.choice(("", "", "5", ":", "/"))
        texts.append(text[: chance.randrange(len(text) + 1)] + end)
    for text in texts:
        for length in (0, 4, 10, 16, 19, 21):
            cut = length or 30
            first, last = first_second(text, length), last_second(text, length)
            if first > 0:
                assert shown(first - 1, 999)[:cut] < text
            if first < END:
                assert shown(first, 999)[: min(cut, 19)] >= text[:19]
            if last < END:
                assert shown(last + 1, 0)[:cut] > text
            if last >= 0:
                assert shown(last, 0)[: min(cut, 19)] <= text


def test_spans_are_joined():
    """AND narrows a range, OR widens it, and an empty one stays empty."""
    assert Span(1, 5).both(Span(3, 9)) == Span(3, 5)
    assert Span(1, 5).either(Span(8, 9)) == Span(1, 9)
    assert ALL.conditions == []
    assert Span(2, 1).conditions == ["event_id >= 2147483648", "event_id <= 2147483647"]
    assert ALL.both(Span(-1, -1)).conditions == ["event_id <= -1"]
