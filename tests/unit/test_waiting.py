"""A command that waits for its answer says so on a terminal, and leaves nothing there."""

from __future__ import annotations

import io
import os
import re
import time
from types import SimpleNamespace

import pytest
from fixtures.commands import AUDITSVC
from fixtures.logs import load, opening
from fixtures.terminal import Terminal
from fixtures.waiting import until

from auditsvc.render import waiting as module
from auditsvc.render.waiting import Waiting, waiting

CLEAR = "\r\x1b[K"
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self):
        """Whether it is one."""
        return True


@pytest.fixture
def screen(monkeypatch):
    """Make stderr a terminal, and show the line at once."""
    made = Screen()
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=made))
    monkeypatch.setattr(module, "_FIRST", 0.01)
    monkeypatch.setattr(module, "_EVERY", 0.01)
    return made


def test_the_line_is_gone_when_the_answer_is_there(screen):
    """It has the seconds and the rows that came; the last that is written clears it."""
    with waiting() as line:
        assert list(line.counted([(1,), (2,)])) == [(1,), (2,)]
        until(lambda: re.search(r"\r\x1b\[K\d+ s, 2 rows", screen.getvalue()))
    assert screen.getvalue().endswith(CLEAR)
    before = screen.getvalue()
    time.sleep(0.05)
    assert screen.getvalue() == before


def test_the_line_is_gone_before_the_first_output(screen):
    """On the same terminal."""
    out = Screen()
    with waiting() as line:
        until(screen.getvalue)
        line.output(out).write("row")
        assert screen.getvalue().endswith(CLEAR)
    assert (out.getvalue(), screen.getvalue()[-len(CLEAR) :]) == ("row", CLEAR)
    with waiting() as line:
        line.output(out).writelines(["a", "b"])
        assert line.output(out).isatty()
    assert out.getvalue() == "rowab"


def test_output_to_a_file_is_left_alone(screen):
    """The line stays until the end: it is on the terminal, the rows are not."""
    out = io.StringIO()
    with waiting() as line:
        assert line.output(out) is out
        until(screen.getvalue)


def test_a_quick_answer_shows_nothing(screen, monkeypatch):
    """Not even the signs that clear a line."""
    monkeypatch.setattr(module, "_FIRST", 60.0)
    with waiting():
        pass
    assert screen.getvalue() == ""


def test_nothing_is_shown_without_a_terminal(monkeypatch):
    """No thread waits for anything."""
    out = io.StringIO()
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=out))
    monkeypatch.setattr(module.threading, "Thread", None)
    with waiting() as line:
        assert line.output(out) is out
    assert out.getvalue() == ""


def test_a_terminal_that_goes_away_is_no_error():
    """The answer may go to a file that is still there."""
    gone = Screen()
    line = Waiting(gone)
    gone.close()
    line._write("x")
    line.end()


@pytest.mark.parametrize(
    "words",
    [
        ("query", ENDLESS),
        pytest.param(("search", "--where", f"1 = ({ENDLESS})"), marks=pytest.mark.long),
    ],
)
def test_a_long_query_says_that_it_runs(tmp_path, words):
    """On a terminal, from SQLite's own steps; the error that ends it stands alone."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, opening(1))
    environment = os.environ | {"AUDITSVC_STORE": url, "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path)}
    # On a busy host the first line, due after 2 s, may come too late for a short question.
    for seconds in ("3", "15", "60"):
        with Terminal(AUDITSVC, *words, "--timeout", seconds, environment=environment) as terminal:
            shown = terminal.until(f"took longer than {seconds} s", seconds=120)
        if re.match(r"\d+ s", shown):
            break
    else:
        pytest.fail(f"no line was shown:\n{shown}")
    # What of it has no room in the line stands below it, indented.
    begin = [line for line in shown.rstrip().splitlines() if not line.startswith("  ")][-1]
    assert begin.lstrip("0123456789 s").startswith("auditsvc: ")
