"""Text and rows on a terminal of any width: words stay whole, and nothing is left out."""

from __future__ import annotations

import io
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from auditsvc.host.terminal import visible
from auditsvc.render.fit import fit, hanging, wrapped
from auditsvc.render.rows import Format, write_rows
from auditsvc.render.table import Else
from auditsvc.store.read.result import Result

WIDTHS = (80, 100, 120, 200)
SHOWN = st.text(st.sampled_from("ab/,=:- 界"), max_size=60) | st.text(max_size=20).map(visible)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        """Give what a terminal gives."""
        return True


def written(rows, columns, width, monkeypatch, *, form=Format.TABLE, **options):
    """Give the lines that a terminal of this width shows."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    write_rows(Result(columns, rows), form, out, **options)
    return out.getvalue().splitlines()


@given(SHOWN, st.integers(2, 60))
def test_lines_are_the_text_and_not_wider(text, width):
    """What is between two lines is one blank, or nothing where a word is longer than a line."""
    lines = wrapped(text, width)
    assert all(cell_len(line) <= width for line in lines)
    rest = text
    for after, line in enumerate(lines, 1):
        assert rest.startswith(line)
        rest = rest[len(line) :].removeprefix(" " if after < len(lines) else "")
    assert rest == ""


@given(SHOWN, st.integers(10, 60))
def test_a_word_that_fits_into_a_line_is_whole(text, width):
    """Also one with signs at which longer words break."""
    pieces = [word for line in wrapped(text, width) for word in line.split(" ")]
    wanted = Counter(word for word in text.split(" ") if word and cell_len(word) <= width)
    assert not wanted - Counter(pieces)


@given(st.lists(SHOWN, min_size=1, max_size=5), st.integers(30, 90), st.integers(0, 40))
def test_only_the_first_line_is_not_indented(texts, width, indent):
    """A text cannot begin a line by being long."""
    lines = list(hanging([(text, None) for text in texts], width, indent))
    assert all(cell_len(line) <= width for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])
    assert "".join(lines).replace(" ", "") == "".join(texts).replace(" ", "")


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.lists(SHOWN, min_size=n, max_size=n), min_size=1, max_size=4)
    ),
    st.sampled_from((40, *WIDTHS)),
)
def test_a_table_has_room_and_all_signs(rows, width):
    """Whatever its cells: a table, records or flowing lines, none wider than the terminal."""
    names = [f"c{n}" for n in range(len(rows[0]))]
    for otherwise in Else:
        with pytest.MonkeyPatch.context() as patch:
            lines = written(rows, names, width, patch, otherwise=otherwise)
        assert all(cell_len(line) <= width for line in lines)
        shown = Counter(re.sub(r"\\x20|\s", "", "".join(lines)))
        wanted = Counter(re.sub(r"\\x20|\s", "", "".join(cell for row in rows for cell in row)))
        assert not wanted - shown


CALLS = [
    ("2026-11-23 11:17:58.347", "execve", "mia as root", "work.sh[14805]", "/bin/sh /tmp/work.sh"),
    ("2026-11-23 11:17:58.351", "openat", "mia as root", "mkdir[14806]", "/usr/lib/locale/C.utf8"),
]
NAMES = ("time", "event", "who", "process", "object")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("otherwise", [Else.RECORDS, Else.FLOWING])
def test_no_word_of_a_usual_row_is_broken(width, otherwise, monkeypatch):
    """At each usual width every name, time, process and path stands in one line."""
    lines = written(CALLS, NAMES, width, monkeypatch, otherwise=otherwise)
    for cell in [word for row in CALLS for text in row for word in text.split()]:
        assert any(cell in line for line in lines), cell


def test_one_long_cell_does_not_break_the_others(monkeypatch):
    """A name of 4,095 bytes, as an attacker may make one, takes lines and no column of others."""
    rows = [*CALLS, (*CALLS[0][:4], "/tmp/" + "x" * 4090)]
    for otherwise in Else:
        lines = written(rows, NAMES, 80, monkeypatch, otherwise=otherwise)
        assert all(len(line) <= 80 for line in lines)
        assert sum(line.count("x") for line in lines) >= 4090
        assert any("work.sh[14805]" in line for line in lines)


def test_nothing_in_a_flowing_cell_looks_like_a_cell(monkeypatch):
    """Two blanks are what stands between cells."""
    row = (*CALLS[0][:4], "/tmp/a  success")
    lines = written([row, row], NAMES, 60, monkeypatch, otherwise=Else.FLOWING)
    assert not any("a  success" in line for line in lines)
    assert any(r"a \x20success" in line for line in lines)


def test_a_wide_result_is_records(monkeypatch):
    """A line a column, and longer values below themselves."""
    columns = [f"column{n}" for n in range(30)]
    lines = written([["word " * 40] * 30], columns, 80, monkeypatch, form=None)
    assert lines[0].startswith("-[ 1 ]")
    assert lines[1].startswith("column0  | word word")
    assert lines[2].startswith(" " * 11 + "word")


def test_pages_stand_under_the_same_header(monkeypatch):
    """Rows after the first thousand, unless they are wider: then there is a header again."""
    rows = [("a", "b")] * 1500
    assert sum("first" in line for line in written(rows, ("first", "x"), 80, monkeypatch)) == 1
    rows += [("a" * 30, "b")] * 1000
    lines = written(rows, ("first", "x"), 80, monkeypatch)
    assert sum("first" in line for line in lines) == 2
    assert sum(line.strip().startswith("a") for line in lines) == 2500


def test_a_time_is_split_before_a_table_is_wantedup():
    """Between date and time, as the last resort."""
    columns = [["time", "2026-11-23 11:17:58.347"], ["x", "a" * 20]]
    assert fit(columns, 45).widths == (23, 20)
    assert fit(columns, 36) is None
    assert fit(columns, 36, at_any_cost=True).widths == (14, 20)
    assert fit(columns, 8, at_any_cost=True).widths == (3, 3)
    assert fit(columns, 7, at_any_cost=True) is None


def piped(rows, columns):
    """Give the lines that a pipe gets."""
    out = io.StringIO()
    write_rows(Result(columns, rows), Format.TABLE, out)
    assert out.getvalue().startswith("\n")
    assert out.getvalue().endswith("\n\n")
    return out.getvalue().splitlines()[1:-1]


def test_a_long_cell_does_not_widen_the_other_lines_of_a_pipe():
    """It goes beyond its column; later cells come back to theirs where there is room."""
    long = "/" + "x" * 70
    rows = [("a", "short", "yes", 1), ("b", long, "no", 22), ("c", "界", "", 3)]
    assert piped(rows, ["who", "object", "outcome", "n"]) == [
        " who   object   outcome    n",
        " ───────────────────────────",
        " a     short    yes        1",
        f" b     {long}   no   22",
        " c     界                  3",
    ]


def test_a_column_of_a_pipe_is_as_wide_as_its_cells_of_usual_length():
    """So the cells after them stand below each other, but for those after a longer one."""
    rows = [("x" * size, "end") for size in (1, 60, 61, 200)]
    ends = [line.index("end") for line in piped(rows, ["name", "last"])[2:]]
    assert ends == [64, 64, 65, 204]


def test_a_cell_of_a_pipe_cannot_look_like_the_next_ones():
    """A name that reaches into other columns has no gaps such as stand between cells."""
    forged = "/tmp/a" + " " * 60 + "success"
    line = piped([(forged, "failed"), ("/tmp/b", "success")], ["object", "result"])[2]
    cells = re.split(r" {2,}", line.strip())
    assert cells[1:] == ["failed"]
    assert cells[0].replace(r"\x20", " ") == forged


@given(st.lists(st.tuples(SHOWN, SHOWN, SHOWN), min_size=1, max_size=8))
def test_a_line_of_a_pipe_has_all_cells(rows):
    """In their order, whole but for blanks and their escapes."""
    for row, line in zip(rows, piped(rows, ["a", "b", "c"])[2:], strict=True):
        shown = line.replace(r"\x20", "").replace(" ", "")
        assert shown == "".join(row).replace(r"\x20", "").replace(" ", "")
