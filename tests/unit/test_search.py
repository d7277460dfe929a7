"""The words of `auditsvc search`: options, numbers, names and times."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

import pytest
from fixtures import ausearch, peers, searching
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.errors import UsageError
from auditsvc.search import words
from auditsvc.search.condition import check_condition
from auditsvc.search.dialect import literal
from auditsvc.store.read import ausearch_times as times

STORE = "sqlite:////none.db"
NOW = datetime(2026, 11, 28, 14, 30, 5, 678000, tzinfo=UTC)


@pytest.mark.skipif(not peers.AUSEARCH.exists(), reason="no ausearch: make peers")
def test_every_option_of_ausearch_is_there():
    """What ausearch's own help names is an option; help is a command's of its own."""
    said = ausearch.run("/dev/null", "--help")
    text = (said.stdout + said.stderr).decode()
    named = set(re.findall(r"(?m)(?:^\s+|,)(--?[a-z][a-z0-9-]*)", text))
    ours = {name for each in searching.command().params for name in each.opts}
    assert named - ours == {"-h", "--help"}  # help has every command
    assert len(named) > 60


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("EACCES", -13),
        ("-EACCES", -13),
        ("eacces", -13),
        ("-13", -13),
        ("13", 13),
        ("+13", 13),
        ("0x10", 16),
        ("-0x1", -1),
        ("EWOULDBLOCK", -11),
    ],
)
def test_results(word, value):
    """A number, or an errno's name for its negative."""
    assert words.exit_code(word) == value


@pytest.mark.parametrize(
    "given_words",
    [
        ("-sv", "yesterday"),
        ("-sc", "nosuch"),
        ("-e", "ENOSUCH"),
        ("-m", "NO_SUCH_TYPE"),
        ("-m", ""),
        ("-ui", "no such user"),
        ("-gi", "no such group"),
        ("-a", "x"),
        ("-p", "-5"),
        ("--arch", "pdp11"),
        ("--session", "x"),
        ("-ts", "28:99"),
        ("-ts", "tomorrowish"),
        ("-te", "11/31/26"),
        ("--since", "never"),
        ("-ts", "now", "-te", "yesterday"),
        ("--path", "etc/passwd"),
        ("-k", ""),
        ("--where", "1 = 1) OR (1 = 1"),
        ("--where", "1) UNION SELECT (2"),
        ("--where", "1; DELETE FROM syscall"),
        ("--where", "1) ORDER BY (1"),
        ("--where", "exe = 'x' --\n) x"),
        ("--where", ""),
        ("--where", "("),
    ],
    ids=" ".join,
)
def test_what_is_no_word_is_an_error(given_words):
    """Each of these is refused in one line that names the option."""
    with pytest.raises(UsageError) as caught:
        searching.options(*given_words).criteria(STORE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "condition", ["exe LIKE '/usr/%'", "uid = 0 OR euid = 0", "exit IN (1, 2) -- comment", "1 = 1"]
)
def test_a_condition_is_taken_as_it_is(condition):
    """One SQL condition, of any kind."""
    assert check_condition(STORE, f" {condition} ") == condition


def test_types_have_names_and_numbers():
    """Commas, repeats, any case, numbers; ALL sets no condition."""
    assert words.types(["avc,user_login", "1300"]) == ("AVC", "USER_LOGIN", "SYSCALL")
    assert words.types(["AVC", "ALL"]) == ()
    assert words.types(["1999"]) == ("UNKNOWN[1999]",)


def test_a_name_is_that_of_one_machine():
    """A call's name is looked up on the machine of --arch; its number is of any."""
    open_ = searching.options("-sc", "open", "--arch", "i686").criteria(STORE)
    assert (open_.arch, open_.syscall, open_.nr) == (0x40000003, "open", None)
    number = searching.options("-sc", "5").criteria(STORE)
    assert (number.arch, number.syscall, number.nr) == (None, None, 5)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_literal_ends_where_it_should(text):
    """The quotes inside a text are doubled, and nothing else is changed."""
    written = literal(text)
    assert written[0] == written[-1] == "'"
    assert written[1:-1].replace("''", "").count("'") == 0
    assert written[1:-1].replace("''", "'") == text


def test_bytes_that_are_no_text_are_searched_as_they_are_shown():
    r"""The store shows such a byte as \xHH."""
    assert literal(os.fsdecode(b"bad\xff")) == "'bad\\xFF'"
    with pytest.raises(UsageError):
        literal("a\0b")


DAY = int(datetime(2026, 11, 28, tzinfo=UTC).timestamp())
PRESENT = 14 * 3600 + 30 * 60 + 5


@pytest.mark.parametrize(
    ("word", "start", "end"),
    [
        ("now", PRESENT, PRESENT),
        ("recent", PRESENT - 600, PRESENT - 600),
        ("this-hour", 14 * 3600, 14 * 3600),
        ("today", 0, PRESENT),
        ("yesterday", -86400, -86400),
        ("this-week", -6 * 86400, -6 * 86400),
        ("week-ago", -7 * 86400, -7 * 86400),
        ("this-month", -27 * 86400, -27 * 86400),
        ("this-year", -331 * 86400, -331 * 86400),
        ("11/28/26", 0, PRESENT),
        ("11/28/2026", 0, PRESENT),
        ("2026-11-28", 0, PRESENT),
        ("11/27/26 10:00", -86400 + 36000, -86400 + 36000),
        ("10:00:07 11/27/26", -86400 + 36007, -86400 + 36007),
        ("10:00", 36000, 36000),
        ("2026-11-28T12:00:00+02:00", 36000, 36000),
        ("2h ago", PRESENT - 7200, PRESENT - 7200),
        ("-15m", PRESENT - 900, PRESENT - 900),
        (f"@{DAY + 5}", 5, 5),
    ],
)
def test_times(word, start, end):
    """Each word as -ts and as -te, in seconds since the day's beginning."""
    assert times.start_second(word, NOW, utc=True) - DAY == start
    assert times.end_second(word, NOW, utc=True) - DAY == end


def test_boot_is_a_time():
    """It is before now, and not before the kernel counts."""
    assert 0 < times.start_second("boot", datetime.now(UTC)) <= datetime.now(UTC).timestamp()


def test_a_time_takes_one_word_or_two():
    """The second word is taken if it is a date or a time, and else is what comes next."""
    assert searching.options("-ts", "today", "10:00", "-k", "x").start == "today 10:00"
    assert searching.options("-ts", "recent", "-k", "x").start == "recent"
    both = searching.options("-ts", "11/28/26", "10:00:00", "-te", "now")
    assert (both.start, both.end) == ("11/28/26 10:00:00", "now")
    assert searching.options("--start", "10:00", "11/28/26").start == "10:00 11/28/26"


def test_the_end_of_a_date_alone_is_told():
    """-te DATE ends at the present time of that day, which few expect."""
    assert list(searching.options("-te", "11/28/26").notes())
    assert not list(searching.options("-te", "11/28/26", "23:59:59").notes())
