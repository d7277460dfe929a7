"""The pager of search, report, query and shell: which, when, and how it ends with the question."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from fixtures.commands import AUDITSVC, run
from fixtures.logs import load
from fixtures.terminal import Terminal
from fixtures.waiting import until

from auditsvc.cli.pager import command_of

LOG = Path(__file__).parent.parent / "data/mixed.log"
LONG = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) "
ENDLESS = f"{LONG} SELECT i FROM n WHERE i = 1 OR i = 2000000000"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Give a store with a recorded log."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    load(url, LOG.read_bytes())
    return url


def script(path, text):
    """Make a program."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, ["less", "-RFX"]),
        ({"PAGER": "more -d"}, ["more", "-d"]),
        ({"PAGER": "more", "AUDITSVC_PAGER": "less -S"}, ["less", "-S"]),
        ({"PAGER": "more", "AUDITSVC_PAGER": "cat"}, None),
        ({"PAGER": "more", "AUDITSVC_PAGER": ""}, None),
        ({"PAGER": ""}, None),
        ({"PAGER": "less '"}, None),
        ({"PAGER": "/no/such/pager"}, None),
        ({"PAGER": "less; touch /tmp/x"}, None),
    ],
)
def test_the_pager_is_named_by_the_environment(monkeypatch, environment, words):
    """AUDITSVC_PAGER before PAGER, without a shell; by default less with colours."""
    monkeypatch.setattr("shutil.which", lambda name: name if name in ("less", "more") else None)
    assert command_of(environment) == words


QUESTIONS = {
    "search": ["search", "-k", "files", "--format", "text"],
    "report": ["report", "file"],
    "query": ["query", "SELECT serial FROM syscalls", "--format", "table"],
}


@pytest.mark.parametrize("verb", QUESTIONS)
def test_each_answer_is_paged_on_a_terminal_only(url, tmp_path, verb):
    """Less gets LESSSECURE=1 whatever was set; --no-pager, a pipe: none is started."""
    seen = tmp_path / "seen"
    pager = script(tmp_path / "pager", f'echo "$LESSSECURE" >> {seen}\nexec cat')
    environment = os.environ | {"AUDITSVC_STORE": url, "LESSSECURE": "0"}
    environment |= {"AUDITSVC_PAGER": pager}
    words = QUESTIONS[verb]
    with Terminal(AUDITSVC, *words, environment=environment) as terminal:
        assert terminal.wait() == 0
    assert seen.read_text() == "1\n"
    if verb == "search":
        with Terminal(AUDITSVC, *words, "--no-pager", environment=environment) as terminal:
            assert terminal.wait() == 0
    assert run(*words, environment=environment).returncode == 0
    assert seen.read_text() == "1\n"


def test_a_pager_that_is_no_program(url, tmp_path):
    """Then there is none."""
    broken = tmp_path / "pager"
    broken.write_bytes(b"\x7fELF no program")
    broken.chmod(0o755)
    environment = os.environ | {"AUDITSVC_STORE": url, "AUDITSVC_PAGER": str(broken)}
    with Terminal(AUDITSVC, "query", "SELECT 4711", environment=environment) as terminal:
        terminal.until("4711")
        assert terminal.wait() == 0


@pytest.mark.parametrize("seconds", ["0", "0.5"])
def test_a_pager_that_is_left_ends_the_question(url, tmp_path, seconds):
    """Also while the database looks for the next row, which nobody waits for."""
    pager = script(tmp_path / "pager", f"sleep {seconds}\nexit 0")
    environment = os.environ | {"AUDITSVC_STORE": url, "AUDITSVC_PAGER": pager}
    words = [AUDITSVC, "query", ENDLESS, "--format", "csv", "--timeout", "0"]
    with Terminal(*words, environment=environment) as terminal:
        assert terminal.wait() == 0
    assert "Traceback" not in terminal.text


def test_ctrl_c_ends_the_question_and_leaves_the_pager(url, tmp_path):
    """As less takes Ctrl-C for itself, it is waited for."""
    ready, stop = tmp_path / "ready", tmp_path / "stop"
    text = f"trap '' INT\ntouch {ready}\ncat > /dev/null\nwhile ! [ -e {stop} ]; do sleep 0.1; done"
    pager = script(tmp_path / "pager", f"{text}\necho pager was there")
    environment = os.environ | {"AUDITSVC_STORE": url, "AUDITSVC_PAGER": pager}
    words = [AUDITSVC, "query", ENDLESS, "--format", "csv", "--timeout", "0"]
    with Terminal(*words, environment=environment) as terminal:
        until(ready.exists)
        terminal.type("\x03\x03")
        terminal.type("\x03")
        assert terminal.process.poll() is None
        stop.touch()
        terminal.until("pager was there")
        assert terminal.wait() == 128 + signal.SIGINT
    assert "Traceback" not in terminal.text
