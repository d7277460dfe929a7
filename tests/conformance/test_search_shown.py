"""`search --tree` and `--color`: what is written around the events that were found."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess

import pytest
from fixtures import searching
from fixtures.commands import run
from fixtures.logs import SECOND, call, load, login, record, rows
from fixtures.peers import AUSEARCH
from fixtures.process_model import CLONE, EXECVE, EXIT_GROUP

from auditsvc.cli.search_output import As, Show
from auditsvc.processes.event_trees import EventTrees
from auditsvc.processes.report import Asked, find_trees
from auditsvc.render.colour import When, is_coloured
from auditsvc.search import formats
from auditsvc.search.select import found_events
from auditsvc.store.read.time_span import ALL

SHELL = {"pid": 100, "ppid": 1, "exe": '"/bin/sh"', "ses": 3, "auid": 1000, "key": '"shell"'}
CC = {"pid": 200, "ppid": 100, "exe": '"/bin/cc"', "ses": 3, "auid": 1000, "key": '"cc"'}
LOG = "".join(
    (
        call(1, nr=EXECVE, ms=50, exit=0, **SHELL),
        record("EXECVE", 1, 'argc=2 a0="sh" a1="-l"', ms=50),
        call(2, nr=CLONE, ms=100, exit=200, a0="1200011", **SHELL),
        call(3, nr=EXECVE, ms=104, exit=0, **CC),
        record("EXECVE", 3, "argc=2 a0=6363 a1=1B5D303B780761", ms=104),
        call(4, ms=150, success="no", exit=-13, **CC),
        call(5, nr=EXIT_GROUP, ms=200, success=None, a0="1", **CC),
        login(6, second=SECOND + 1),
        call(7, second=SECOND + 2, success="no", exit=-13, **SHELL | {"key": "1B5B33316D"}),
    )
)
PLAIN = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def url(common_url):
    """Give a store with a shell, a compiler that failed, and a login that did."""
    load(common_url, LOG)
    return common_url


def shown(url, form, *words, tree=False, coloured=False):
    """Give what a search writes."""
    out = io.StringIO()
    with found_events(url, searching.options(*words).criteria(url)) as found:
        trees = EventTrees(found.connection) if tree else None
        style = formats.Style("box", utc=True)
        Show(As(form), style, formats.Extra(), trees=trees, coloured=coloured).write(
            found, found.events, out
        )
    return out.getvalue()


DRAWN = [
    ["sh[100]", "sh -l"],
    ["`- cc[200]", "cc '\\x1b]0;x\\x07a'", "exited 1, 100 ms"],
]


@pytest.mark.parametrize("form", ["table", "text", "interpret", "default", "raw"])
def test_a_tree_stands_below_the_first_event_of_its_process(url, form):
    """Ancestors, the process, what it made and how that ended; after that it is referred to."""
    lines = shown(url, form, "-k", "cc", tree=True).splitlines()
    lead = "# " if form == "raw" else "    "
    tree = [line.removeprefix(lead) for line in lines if line.startswith(lead)]
    assert len(tree) == 4
    for line, parts in zip(tree, DRAWN, strict=False):
        assert [part for part in parts if part not in line] == []
    assert tree[2:] == ["(process 200: see above)"] * 2
    own = [line for line in lines if not line.startswith(lead)]
    events = shown(url, form, "-k", "cc").splitlines()
    if form == "table":  # rows stand without the columns of a table then
        wanted = [line.split()[:2] for line in events if "2025" in line]
        assert [line.split()[:2] for line in own] == wanted
    else:
        assert own == events


def test_an_event_without_a_process_says_so(url):
    """A login of a program whose calls are not in the log."""
    lines = shown(url, "text", "-m", "USER_LOGIN", tree=True).splitlines()
    assert lines[1:] == ["    (no process of this event is known)"]


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_each_row_has_its_tree(url, form):
    """Programs read row by row: each has all of it."""
    text = shown(url, form, "-k", "cc", tree=True)
    if form == "csv":
        trees = [row["TREE"].splitlines() for row in csv.DictReader(io.StringIO(text))]
        assert [len(tree) for tree in trees] == [2, 2, 2]
        assert all(DRAWN[1][0] in tree[1] for tree in trees)
        return
    found = json.loads(text) if form == "json" else [json.loads(n) for n in text.splitlines()]
    assert [each["tree"]["processes"][0]["pid"] for each in found] == [200] * 3
    assert [each["tree"]["ancestors"][0]["pid"] for each in found] == [100] * 3


def test_they_are_those_of_the_command_tree(url):
    """For each event the tree that `auditsvc tree EVENT` has."""
    ids = [row["event_id"] for row in rows(url, "SELECT event_id FROM syscalls ORDER BY event_id")]
    with found_events(url, searching.options("-m", "SYSCALL").criteria(url)) as found:
        trees = [tree for _, tree in EventTrees(found.connection, limit=0).beside(found.events)]
    assert [[each] for each in trees] == [
        find_trees(url, Asked(ALL, event=event), depth=0, limit=0) for event in ids
    ]


def test_raw_with_trees_is_read_as_the_same_log(url, tmp_path):
    """What stands behind # is no record; ausearch finds the same events."""
    found = []
    for tree in (False, True):
        log = tmp_path / f"{tree}.log"
        log.write_text(shown(url, "raw", "-p", "200", tree=tree))
        words = [AUSEARCH, "-if", log, "--format", "csv"]
        found.append(subprocess.run(words, capture_output=True, check=True).stdout)
    assert found[0] == found[1]
    assert found[0].count(b"\n") == 4


# --- colours -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", As)
def test_a_mark_changes_no_text(url, form):
    """Without the marks it is what is written without; formats for programs have none."""
    words = ("--since", "2000-01-01")
    plain = shown(url, form.value, *words)
    coloured = shown(url, form.value, *words, coloured=True)
    if form is As.TABLE:
        lines = [line.split() for line in PLAIN.sub("", coloured).splitlines()]
        assert lines == [line.split() for line in plain.splitlines()]
    else:
        assert PLAIN.sub("", coloured) == plain
    has_marks = form in (As.TABLE, As.TEXT, As.INTERPRET, As.DEFAULT)
    assert ("\x1b[" in coloured) == has_marks
    assert "\x1b" not in plain


@pytest.mark.parametrize(
    ("form", "failed"),
    [
        ("table", "EACCES"),
        ("text", "unsuccessfully"),
        ("interpret", "success=no"),
        ("default", "success=no"),
    ],
)
def test_what_failed_is_marked(url, form, failed):
    """Red begins before it, and what did not fail has none."""
    text = shown(url, form, "-a", "4", coloured=True)
    red = re.findall(r"\x1b\[(?:1;)?31m([^\x1b]*)\x1b\[0m", text)
    assert any(failed in each for each in red), text
    good = shown(url, form, "-a", "2", coloured=True)
    assert "31m" not in good


@pytest.mark.one_database
def test_the_text_of_an_event_cannot_colour(url):
    """A key that is an escape sequence is shown, in each format."""
    for form in As:
        text = shown(url, form.value, "-a", "7", coloured=True, tree=True)
        assert "\x1b[31m\x1b" not in text
        assert "\x1b[31m" not in PLAIN.sub("", text)


class _Out(io.StringIO):
    def __init__(self, *, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


@pytest.mark.parametrize(
    ("when", "tty", "environment", "coloured"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_when_it_is_coloured(when, tty, environment, coloured):
    """On a terminal unless NO_COLOR is set; what is asked for comes first."""
    assert is_coloured(When(when), _Out(tty=tty), environment) == coloured


def test_the_command_in_a_pipe(tmp_path):
    """No colour, but with --color=always; a word that is none is refused."""
    store = f"sqlite:///{tmp_path}/store.db"
    load(store, LOG)
    environment = os.environ | {"AUDITSVC_STORE": store}
    words = ["search", "-a", "4", "--tree", "--format", "text"]
    plain, coloured, wrong = (
        run(*words, *more, environment=environment, text=True)
        for more in ([], ["--color=always"], ["--color", "sometimes"])
    )
    assert "\x1b" not in plain.stdout
    assert "cc[200]" in plain.stdout
    assert PLAIN.sub("", coloured.stdout) == plain.stdout
    assert "\x1b[31mexited 1, 100 ms\x1b[0m" in coloured.stdout
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "sometimes" in wrong.stderr
