"""What is said at a glance is read at a glance: no line is wider than a terminal of 80 columns."""

from __future__ import annotations

import os

import pytest
from fixtures.commands import AUDITSVC
from fixtures.logs import call, load
from fixtures.terminal import Terminal

WIDTH = 80


@pytest.mark.parametrize(
    "words",
    ["status", "coverage", "doctor", "compliance stig", "rules report", "verify"],
)
def test_no_line_is_wider_than_the_terminal(tmp_path, words):
    """Advice and warnings are sentences: they break between words, with an indent."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, call(1))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("AUDITSVC_")
    } | {
        "AUDITSVC_STORE": url,
        "AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state"),
        "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
        "AUDITSVC_PAGER": "cat",
    }
    made = Terminal(AUDITSVC, *words.split(), environment=environment, columns=WIDTH)
    with made as terminal:
        shown = terminal.rest()
    lines = shown.splitlines()
    assert lines
    assert "Traceback" not in shown
    assert [line for line in lines if len(line.rstrip()) > WIDTH] == []
