"""Output for people and programs: no hidden characters, no formulas, JSON always valid."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import unicodedata
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.cli.log import configure_log
from auditsvc.host.terminal import visible, visible_json
from auditsvc.render.output import write_table
from auditsvc.render.rows import Format, write_rows
from auditsvc.store.read.result import Result
from auditsvc.value_text import DEEPEST, as_text, read_json, to_json


@cache
def hidden_signs():
    """Give the characters of every category that acts on a terminal or is not seen."""
    return [
        chr(number)
        for number in range(sys.maxunicode + 1)
        if unicodedata.category(chr(number)) in ("Cc", "Cf", "Zl", "Zp", "Cs")
    ]


SELECTORS = [chr(n) for n in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x180B, 0x180F)]
IGNORED = ["\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u3164", "\uffa0"]


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        """Give what a terminal gives."""
        return True


def written(form, rows, columns=("value",), *, out=None, **options):
    """Give what is written for rows."""
    out = out or io.StringIO()
    write_rows(Result(columns, rows), form, out, **options)
    return out.getvalue()


def strictly(text):
    """Read JSON as RFC 8259 has it: no NaN, no infinity, nothing but what UTF-8 can carry."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads(text.encode().decode(), parse_constant=refuse)


def test_every_hidden_character_is_shown():
    """Of every category that acts on a terminal or is not seen, all characters are escaped."""
    for sign in hidden_signs() + SELECTORS + IGNORED:
        shown = visible(f"a{sign}b")
        assert shown.isprintable(), ascii(sign)
        assert shown.startswith("a\\"), ascii(sign)
        is_byte = "\udc80" <= sign <= "\udcff"  # of surrogateescape: shown as the byte
        number = ord(sign) - 0xDC00 if is_byte else ord(sign)
        assert shown.endswith(f"{number:x}b"), ascii(sign)


def test_what_a_person_reads_stays():
    """Letters of all scripts, signs and marks are not escaped."""
    text = "naïve Größe 日本語 العربية עברית हिन्दी ไทย 🙂 e\u0301 ~ | € \\"
    assert visible(text) == text


def test_escapes_cannot_be_taken_for_each_other():
    """The width of an escape tells where it ends."""
    assert visible("\x1b2") == r"\x1b2"
    assert visible("\u202e2") == r"\u202e2"
    assert visible("\U000e0041a") == r"\U000e0041a"


@pytest.mark.parametrize("form", list(Format))
def test_no_format_writes_a_hidden_character_to_a_terminal(form, monkeypatch):
    """A table, CSV and JSON show names of columns and values without what a terminal acts on."""
    monkeypatch.setenv("TERM", "dumb")  # no colours of rich's own
    monkeypatch.setenv("COLUMNS", "200")
    signs = hidden_signs() + SELECTORS + IGNORED
    rows = [("".join(signs[at : at + 64]),) for at in range(0, len(signs), 64)]
    text = written(form, rows, columns=("a\x1b[2J\u202e\u2028",), out=Terminal())
    assert set(text) & set(signs) == {"\n"}
    text.encode()  # nor a lone surrogate


@pytest.mark.parametrize("form", [Format.JSON, Format.JSONL])
def test_json_on_a_terminal_has_the_same_values(form):
    """Its escapes are JSON's own: who copies it from there reads what was stored."""
    rows = [(f"<{sign}>", [{sign: sign}]) for sign in hidden_signs() + SELECTORS]
    columns = ("value", "list")
    shown, plain = (written(form, rows, columns, out=out) for out in (Terminal(), io.StringIO()))
    if form is Format.JSON:
        assert (
            strictly(shown) == strictly(plain) == [dict(zip(columns, r, strict=True)) for r in rows]
        )
    else:
        for line, other, row in zip(shown.splitlines(), plain.split("\n"), rows, strict=False):
            assert strictly(line) == strictly(other) == dict(zip(columns, row, strict=True))


@given(st.text())
def test_json_keeps_its_meaning_when_it_is_shown(text):
    """No text is changed by the escapes."""
    line = json.dumps(text, ensure_ascii=False)
    assert json.loads(visible_json(line)) == text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252", "utf-16"])
@pytest.mark.parametrize("form", [Format.JSON, Format.JSONL])
def test_json_is_valid_in_every_encoding(form, encoding):
    """Where the locale lacks a character, JSON's escape stands for it."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace", newline="")
    write_rows(Result(("größe",), [("日本 \U0001f642 é \udcff",)]), form, out)
    found = strictly(raw.getvalue().decode(encoding))
    assert (found[0] if form is Format.JSON else found) == {"größe": "日本 \U0001f642 é \udcff"}


FORMULAS = [
    f"{sign}cmd|' /C calc'!A0"
    for sign in [
        "=",
        "+",
        "-",
        "@",
        "\t=",
        "\r=",
        "\n=",
        "\uff1d",
        "\uff0b",
        " =",
        "\ufeff=",
        "\u200b\xa0@",
    ]
]


@pytest.mark.parametrize("text", [*FORMULAS, "-13", "+1", "@", "="])
def test_a_cell_that_begins_a_formula_is_made_harmless(text):
    """A spreadsheet does not run a program's or a column's name as a formula."""
    header, row = csv.reader(io.StringIO(written(Format.CSV, [(text,)], (text,)), newline=""))
    assert header == row == [f"'{text}"]


@pytest.mark.parametrize("text", FORMULAS)
def test_exact_csv_holds_what_is_stored(text):
    """The option switches it off: a program reads the very bytes."""
    made = written(Format.CSV, [(text,)], (text,), exact=True)
    assert list(csv.reader(io.StringIO(made, newline=""))) == [[text], [text]]


@pytest.mark.parametrize("number", [-13, -0.5, Decimal("-1.50"), -(1 << 63), float("-inf")])
def test_numbers_stay_numbers(number):
    """A negative number is none of a formula's beginnings."""
    assert written(Format.CSV, [(number,)]).splitlines()[1] == as_text(number)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_a_row_is_one_record(rows):
    """No line end or quote in a cell makes a record of its own, for a reader of any line ends."""
    made = written(Format.CSV, rows, ("a", "b"), exact=True)
    read = list(csv.reader(io.StringIO(made, newline="")))
    assert read[1:] == [[visible_surrogates(cell) for cell in row] for row in rows]


def visible_surrogates(text):
    """Give a cell as it can be encoded."""
    return "".join(f"\\u{ord(x):04x}" if "\ud800" <= x <= "\udfff" else x for x in text)


DEEP = "[" * 3000 + "]" * 3000
JSON_TEXTS = {
    "deep": DEEP,
    "deep objects": '{"a":' * 3000 + "1" + "}" * 3000,
    "as deep as is read": "[" * DEEPEST + "]" * DEEPEST,
    "a level more": "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
    "infinite": "[1e999]",
    "not a number": '{"a": NaN}',
    "infinity": "[-Infinity]",
    "many digits": f"[{'9' * 5000}]",
    "a name twice": '{"a": 1, "a": 2}',
    "a lone surrogate": r'["\udcff"]',
    "no JSON": "[1, 2",
    "brackets in a text": '["' + "[" * 3000 + r"\"" * 10 + '"]',
    "with line ends": '[\n1,\n{"a":\n2}]',
}


@pytest.mark.parametrize("text", JSON_TEXTS.values(), ids=JSON_TEXTS)
def test_a_document_is_read_or_stays_text(text):
    """Whatever a column of JSON holds, the row is one line of valid JSON that loses nothing."""
    line = written(Format.JSONL, [(text,)], ("argv",))
    assert line.count("\n") == 1
    found = strictly(line)["argv"]
    if not isinstance(found, str):
        assert found == json.loads(text)
    else:
        assert found == text


def test_deep_documents_do_not_depend_on_the_interpreter():
    """The limit is ours: what is below it is read, what is above it is text."""
    assert read_json(JSON_TEXTS["as deep as is read"]) == json.loads("[" * DEEPEST + "]" * DEEPEST)
    assert read_json(JSON_TEXTS["a level more"]) == JSON_TEXTS["a level more"]
    assert isinstance(read_json(JSON_TEXTS["brackets in a text"]), list)


EAST, WEST = timezone(timedelta(hours=14)), timezone(-timedelta(hours=14))
FIRST, LAST = datetime.min.replace(tzinfo=EAST), datetime.max.replace(tzinfo=WEST)
VALUES = [
    *(None, True, False, 0, -13, 1 << 63, 10**4299, 10**5000, -(10**5000)),
    *(0.1, 1e308, float("inf"), float("-inf"), float("nan"), -0.0),
    *map(
        Decimal, ("1", "1.50", "NaN", "sNaN", "Infinity", "-Infinity", "1E+9000", "1E-9000", "-0")
    ),
    *(b"", b"\x00\xff", bytearray(b"=1"), memoryview(b"\xff")),
    *(each.replace(tzinfo=None) for each in (FIRST, LAST, datetime(2026, 11, 28, tzinfo=UTC))),
    *(FIRST, LAST, datetime(999, 1, 1, tzinfo=UTC)),
    *(date.min, time(23, 59, tzinfo=UTC), timedelta(days=-1)),
    *([float("nan"), [Decimal("inf")], b"\xff", None], {"a": {1: float("-inf")}}, (1, (2,)), [[]]),
    *({1, 2}, range(3), object, "\udcff", "\x00", "=1", ""),
]


@pytest.mark.parametrize("value", VALUES, ids=[f"{n}" for n in range(len(VALUES))])
@pytest.mark.parametrize("form", list(Format))
def test_no_value_ends_a_query(form, value):
    """Every value of a driver, and what no driver gives, is written; JSON stays valid."""
    text = written(form, [(value, "after")], ("value", "other"))
    if form in (Format.JSON, Format.JSONL):
        found = strictly(text)
        assert (found[0] if form is Format.JSON else found)["other"] == "after"
    elif form is Format.CSV:
        _, row = csv.reader(io.StringIO(text, newline=""))
        assert row[1:] == ["after"]


WIDE_ROW = {"event_id": 1927831158981907704, "größe": "a b", "text": "x" * 70, "none": None}


@pytest.mark.parametrize(("columns", "lines"), [("80", True), ("200", False)])
def test_a_result_too_wide_for_the_terminal_is_lines(monkeypatch, columns, lines):
    """A column a line where its words have no room side by side; a table where they have."""
    monkeypatch.setenv("COLUMNS", columns)
    row = tuple({**WIDE_ROW, "argv": " ".join(["y" * 30] * 9)}.values())
    text = written(None, [row] * 2, (*WIDE_ROW, "argv"), out=Terminal())
    if not lines:
        assert "event_id" in text.splitlines()[0]
        return
    assert text.splitlines() == [
        each
        for number in (1, 2)
        for each in (
            f"-[ {number} ]---+-----",
            "event_id | 1927831158981907704",
            "größe    | a b",
            f"text     | {'x' * 69}",
            f"{'':11}x",
            "none     |",
            f"argv     | {'y' * 30} {'y' * 30}",
            *[f"{'':11}{'y' * 30} {'y' * 30}"] * 3,
            f"{'':11}{'y' * 30}",
        )
    ]


def test_a_chosen_format_is_kept(monkeypatch):
    """A table stays a table however wide it is, and lines are lines however narrow."""
    monkeypatch.setenv("COLUMNS", "40")
    row, columns = tuple(WIDE_ROW.values()), tuple(WIDE_ROW)
    assert "-[ 1 ]" not in written(Format.TABLE, [row], columns, out=Terminal())
    assert written(Format.LINES, [(1,)], ("a",)) == "-[ 1 ]+-----\na | 1\n"
    assert written(None, [(1,)], ("a",)) == "a\n1\n"
    assert "a\\x1bb" in written(Format.LINES, [("a\x1bb",)])


def test_all_rows_of_a_wide_result_are_shown(monkeypatch):
    """Also those after the page from which the width was taken, and none twice."""
    monkeypatch.setenv("COLUMNS", "40")
    rows = [(n, *["x" * 24] * 3) for n in range(2500)]
    text = written(None, rows, ("n", "a", "b", "c"), out=Terminal())
    assert re.findall(r"(?m)^n \| (\d+)$", text) == [str(n) for n in range(2500)]
    assert re.findall(r"(?m)^-\[ (\d+) \]", text) == [str(n + 1) for n in range(2500)]


def test_a_structure_without_end_is_still_valid_json():
    """A list deeper than a document may be is cut, not refused."""
    endless = []
    endless.append(endless)
    strictly(to_json(endless))


def test_times_are_utc_and_years_have_four_digits():
    """What a time is written as can be compared as text."""
    assert as_text(datetime(999, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == (
        "0999-01-01 00:00:00.000"
    )
    assert as_text(datetime(2026, 11, 28, 1, 2, 3, 4999, tzinfo=UTC)) == "2026-11-28 01:02:03.004"


@pytest.mark.parametrize("terminal", [True, False])
def test_the_log_shows_no_hidden_character(monkeypatch, terminal):
    """What the service logs of programs and rules is safe on a terminal, and else valid JSON."""
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        configure_log()
        evil = "".join(hidden_signs()[:300]) + "\u202e\U000e0041"
        structlog.get_logger().warning(evil, exe=evil, pid=7, share=float("nan"), rules=[evil])
    finally:
        structlog.reset_defaults()
    colours = re.compile("\x1b\\[[0-9;]*m") if terminal else re.compile("$^")
    line = colours.sub("", stream.getvalue().rstrip("\n"))
    assert line.isprintable()
    if not terminal:
        assert strictly(line) | {"pid": 7, "exe": evil, "share": "NaN", "rules": [evil]} == (
            strictly(line)
        )


def test_a_table_without_a_header_cuts_nothing(capsys, monkeypatch):
    """Places of files are longer than a narrow column: they go on below themselves."""
    monkeypatch.setenv("COLUMNS", "60")
    where = "/etc/audit/rules.d/10-base-config.rules:12"
    write_table((), [(where, "--backlog_wait_time 60000", "is loaded after each start")])
    shown = capsys.readouterr().out.splitlines()
    width = shown[0].index("--backlog") - 1
    assert "".join(line[:width].rstrip() for line in shown) == where
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(shown)
