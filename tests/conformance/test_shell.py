"""`auditsvc shell` on a real terminal, and without one."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.commands import AUDITSVC
from fixtures.logs import SECOND, call, load, opening, rows
from fixtures.terminal import Terminal
from fixtures.waiting import until

from auditsvc.access import pending
from auditsvc.shell import history, session
from auditsvc.shell.completion import SqlCompleter
from auditsvc.shell.session import Session, is_complete, statements
from auditsvc.store import open_store
from auditsvc.store.read.catalog import Column, views_of
from auditsvc.store.read.sql import run_query
from auditsvc.store.views import NAMES

PROMPT = "auditsvc>"
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n;"
KEY = "it's \x1b[31m"


@pytest.fixture
def environment(url, tmp_path):
    """Give the environment of a shell on a store with three calls and a hostile key."""
    load(
        url,
        opening(1)
        + opening(2, second=SECOND + 7200)
        + call(3, key=KEY.encode().hex().upper(), items=0),
    )
    return os.environ | {
        "AUDITSVC_STORE": url,
        "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
        "HOME": str(tmp_path / "home"),
        "XDG_STATE_HOME": "",
    }


@pytest.fixture
def terminal(environment):
    """Give a terminal at the shell's first prompt."""
    with Terminal(AUDITSVC, "shell", environment=environment) as made:
        made.until(PROMPT)
        yield made


def accesses(url):
    """Give how each statement of the shell ended; None if it runs."""
    with open_store(url) as store:
        assert pending.load(store, url) == ""
    sql = "SELECT sql, ended FROM access WHERE command = 'shell' AND sql IS NOT NULL"
    return {row["sql"]: row["ended"] for row in rows(url, sql)}


@pytest.mark.one_database
def test_a_session(terminal, environment, url):
    """What one user does: rows, times, completion, errors, Ctrl-C, and the end."""
    terminal.type("SELECT count(*) + 40 AS calls\r")
    terminal.until("...")  # a statement has lines
    terminal.type("FROM sysc\t")
    terminal.until("syscalls")
    terminal.type(";\r")
    terminal.until("43")
    terminal.type("\\since 2025-06-15 16:00\r")
    terminal.until("since: 2025-06-15 16:00")
    terminal.type("SELECT count(*) + 50 AS calls FROM syscalls;\r")
    terminal.until("51")
    terminal.type("\\since -\r")
    terminal.until("since: no limit")
    terminal.type("SELECT serial * 100 AS s FROM syscalls WHERE key = 'fi\t")
    terminal.until("files'")
    terminal.type(" ORDER BY 1;\r")
    terminal.until("200")
    terminal.type("\\d sockaddrs\r")
    terminal.until("address")
    terminal.type("SELECT nothing FROM syscalls;\r")
    terminal.until("auditsvc: ")
    terminal.type("DELETE FROM syscall;\r")
    terminal.until("auditsvc: ")
    terminal.type(f"{ENDLESS}\r")
    until(lambda: ENDLESS in accesses(url))
    terminal.type("\x03")
    terminal.until("auditsvc: interrupted")
    terminal.type("SELECT 'never sent'\x03")
    terminal.until(PROMPT)
    terminal.type("\\x on\r")
    terminal.until("rows as lines: always")
    terminal.type("SELECT key FROM syscalls WHERE key LIKE 'it%';\r")
    terminal.until("it's \\x1b[31m")
    terminal.type("\\q\r")
    assert terminal.wait() == 0
    ends = accesses(url)
    assert ends.pop(ENDLESS) == "interrupted"
    assert ends.pop("SELECT nothing FROM syscalls;").startswith("failed: ")
    assert ends.pop("DELETE FROM syscall;").startswith("failed: ")
    assert ends == dict.fromkeys(
        (
            "SELECT count(*) + 40 AS calls\nFROM syscalls;",
            "SELECT count(*) + 50 AS calls FROM syscalls;",
            "SELECT serial * 100 AS s FROM syscalls WHERE key = 'files' ORDER BY 1;",
            "SELECT key FROM syscalls WHERE key LIKE 'it%';",
        ),
        "done",
    )
    file = Path(environment["HOME"], ".local/state/auditsvc/shell_history")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "+SELECT nothing FROM syscalls;" in file.read_text().splitlines()


@pytest.mark.one_database
def test_ctrl_c_again_and_again_does_not_end_it(terminal, url):
    """One ends the query; those that come after it, before the prompt is there, do nothing."""
    terminal.type(f"{ENDLESS}\r")
    until(lambda: ENDLESS in accesses(url))
    terminal.type("\x03")
    terminal.until("auditsvc: interrupted")
    for _ in range(100):
        terminal.type("\x03")
        time.sleep(0.001)  # so that they come at many moments
    terminal.type("\r\\x on\r")
    terminal.until("rows as lines: always")


@pytest.mark.one_database
def test_ctrl_d_ends_it(terminal):
    """With status 0."""
    terminal.type("\x04")
    assert terminal.wait() == 0


@pytest.mark.one_database
def test_a_query_ends_in_time(environment):
    """`--timeout` ends the query, and not the shell."""
    with Terminal(AUDITSVC, "shell", "--timeout", "0.3", environment=environment) as terminal:
        terminal.until(PROMPT)
        terminal.type(f"{ENDLESS}\r")
        late = "the question took longer than 0.3 s"
        terminal.until(late)

        def is_answered():
            terminal.type("SELECT 40 + 2 AS x;\r")
            return "42" in terminal.until("42", late)

        until(is_answered)  # on a busy host 0.3 s may be over before


def make_session(views, told=None):
    """Make a session that asks nobody; gives it, its output is in `out`."""

    @contextmanager
    def page():
        yield session.out

    session = Session(None, views, page, [].append if told is None else told.append)
    session.out = io.StringIO()
    return session


def script(environment, text, *options):
    """Run the shell with statements on standard input."""
    return commands.fed(text, "shell", *options, environment=environment, timeout=60)


@pytest.mark.one_database
def test_without_a_terminal(environment):
    """Statements come from standard input; an error is told and ends none of the others."""
    done = script(environment, "SELECT 1 AS a;\n\\x off\nSELECT\n2 AS b;\nSELECT 3 AS c")
    assert (done.returncode, done.stdout) == (0, "a\n1\nrows as lines: never\nb\n2\nc\n3\n")
    done = script(environment, "SELECT nothing;\nSELECT 1;\n\\nope\nSELECT 2")
    assert (done.returncode, done.stdout) == (1, "1\n1\n2\n2\n")
    assert done.stderr.count("\n") == 2
    assert "nothing" in done.stderr.splitlines()[0]
    assert "nope" in done.stderr.splitlines()[1]


@pytest.mark.one_database
def test_ctrl_c_ends_all_that_is_piped(environment, url):
    """The statement that runs, and those behind it, as in psql."""
    asked = f"SELECT 7 AS n;\n{ENDLESS}\nSELECT 8 AS n;\n"
    with subprocess.Popen(
        [AUDITSVC, "shell"],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdin.write(asked)
        process.stdin.close()
        assert (process.stdout.readline(), process.stdout.readline()) == ("n\n", "7\n")
        until(lambda: ENDLESS in accesses(url))
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        assert process.stderr.read() == "auditsvc: interrupted\n"
        assert process.wait() == 1


@pytest.mark.one_database
@pytest.mark.parametrize("words", [["query", b"SELECT '\xff'"], ["shell"]])
def test_bytes_that_are_no_text_are_one_line(environment, words):
    """From the command line and from standard input."""
    done = subprocess.run(
        [AUDITSVC, *words],
        env=environment,
        input=b"SELECT '\xff';\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"auditsvc: the SQL has bytes that are not UTF-8; write it in UTF-8\n"


def test_lines_become_statements():
    """At the line that ends one; a comment that is open, or a string, goes on."""
    lines = ["\n", "\\x on\n", "SELECT 1; /* a\n", "*/\n", "SELECT ';\n", "'\n", ";\n", "SELECT 2"]
    assert list(statements(lines)) == [
        *("\n", "\\x on\n", "SELECT 1; /* a\n*/\n", "SELECT ';\n'\n;\n", "SELECT 2"),
    ]


def test_a_long_statement_is_not_looked_at_after_each_line(monkeypatch):
    """What is looked at grows as the text does."""
    looked = []
    monkeypatch.setattr(session, "is_complete", lambda text: looked.append(len(text)))
    (found,) = statements(["SELECT 1\n", *[", 1\n"] * 5000, ";"])
    assert sum(looked) < 2 * len(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\\nothing", "there is no command \\nothing"),
        ("\\d nothing", "there is no view nothing"),
        ("\\x perhaps", "\\x takes on, off or auto"),
        ("\\since nonsense", "'nonsense' is not a time"),
        ("\\until 2025-01-01\n\\since 2026-01-01", "--until is not after --since"),
    ],
)
def test_wrong_commands(text, said):
    """One line each, and the session goes on."""
    told = []
    session = make_session({}, told)
    assert all(session.run(line) for line in text.split("\n"))
    assert [said in line for line in told] == [True]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FROM stroy", "did you mean story?"),
        ("SELECT * FROM nothing_like_it", r"\d shows the views"),
        ("SELECT nothing FROM story", r"\d VIEW shows the columns"),
    ],
)
def test_a_name_that_is_not_there(url, sql, said):
    """What was meant, or how to see what is there, on both databases."""
    told = []
    with open_store(url):
        pass
    made = Session(lambda text, _: run_query(url, text), views_of(url), None, told.append)
    assert made.run(sql)
    assert told[0].endswith(f"; {said}")


def test_every_view_is_described(url):
    r"""`\d` and the completion know the views and columns of the store."""
    views = views_of(url)
    assert set(views) == set(NAMES)
    assert [column.name for column in views["sockaddrs"]] == [
        *("event_id", "family", "address", "port", "path"),
    ]
    session = make_session(views)
    assert all(session.run(text) for text in ("\\d", "\\d syscalls", "\\?"))
    shown = session.out.getvalue()
    assert all(name in shown for name in (*NAMES, "proctitle", "\\since TIME"))
    assert not session.run("\\q")


@pytest.mark.one_database
def test_options_begin_a_session(environment):
    r"""As `\since` and `\until` would."""
    count = "SELECT count(*) AS n FROM syscalls;"
    done = script(environment, count, "--since", "2025-06-15 16:00")
    assert done.stdout.split()[-1] == "1"
    done = script(environment, count, "--since", "nonsense")
    assert (done.returncode, done.stdout) == (2, "")


VIEWS = {
    "syscalls": (Column("event_id", ""), Column("exe", ""), Column("key", ""), Column("exit", "")),
    "paths": (Column("event_id", ""), Column("name", "")),
}
VALUES = {"key": ["files", "it's", "\x1b[31m"], "exe": ["/bin/a b", "/bin/cat"]}
COMPLETER = SqlCompleter(VIEWS, lambda column: VALUES[column], ("\\d", "\\x"))


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("SELECT * FROM sy", "", ["syscalls"]),
        ("SELECT * FROM syscalls s JOIN ", "", ["syscalls", "paths"]),
        ("SELECT ex", " FROM syscalls", ["exe", "exit", "explain"]),
        ("SELECT na", " FROM syscalls", []),
        ("SELECT s.e", " FROM syscalls s JOIN paths p", ["event_id", "exe", "exit"]),
        ("SELECT p.", " FROM syscalls s JOIN paths AS p", ["event_id", "name"]),
        ("SEL", "", ["SELECT"]),
        ("sel", "", ["select"]),
        ("SELECT * FROM syscalls WHERE key = 'f", "", ["files'"]),
        ("SELECT * FROM syscalls WHERE key = '", "", ["files'", "it''s'"]),
        (
            "SELECT * FROM syscalls s WHERE s.exe IN ('/bin/cat', '/b",
            "",
            ["/bin/a b'", "/bin/cat'"],
        ),
        ("SELECT * FROM syscalls WHERE tty = '", "", []),
        ("SELECT 'a text", "", []),
        ("\\", "", ["\\d", "\\x"]),
        ("\\d sy", "", ["syscalls"]),
        ("", "", []),
    ],
)
def test_what_can_come_next(before, after, found):
    """By what stands before the cursor, and by the views that the statement names."""
    assert list(COMPLETER.candidates(before, before + after)[1]) == found


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("SELECT 1;", True),
        ("SELECT 1", False),
        ("SELECT ';", False),
        ("SELECT 1 -- ;", False),
        ("SELECT 1; -- end", True),
        ("\\d", True),
        ("", True),
    ],
)
def test_when_a_statement_is_complete(text, complete):
    """A `;` in a text or a comment is none."""
    assert is_complete(text) == complete


def test_a_history_that_others_may_write_is_not_used(tmp_path, monkeypatch):
    """What is in it would be run again; the reason is told."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    kept, why = history.open_history()
    assert why == ""
    kept.store_string("SELECT 1;")
    file = tmp_path / "auditsvc/shell_history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o666)
    kept, why = history.open_history()
    assert "others may write it" in why
    assert not list(kept.load_history_strings())
