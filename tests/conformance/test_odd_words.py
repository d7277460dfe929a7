"""Words that no program expects: `report` says in one line what is wrong with them."""

from __future__ import annotations

import os

import pytest
from fixtures.commands import run
from fixtures.logs import load, login


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (["--auid", "4294967296"], 2, "not the number of a user"),
        (["--auid", "9" * 30], 2, "not the number of a user"),
        (["--auid", "4294967295"], 0, ""),
        (["--auid", "-1"], 0, ""),
        (["--auid", "\udcff"], 2, "there is no user"),
        (["--auid", "\u0663"], 2, "there is no user"),
        (["--node", "x\udcff"], 0, ""),
    ],
    ids=ascii,
)
def test_odd_words_are_no_failure_of_the_program(tmp_path_factory, words, status, error):
    """Numbers that are too large, other alphabets' digits, bytes that are not UTF-8."""
    url = f"sqlite:///{tmp_path_factory.getbasetemp()}/odd.db"
    load(url, login(1))
    environment = os.environ | {"AUDITSVC_STORE": url, "LC_ALL": "C.UTF-8"}
    done = run("report", "event", *words, environment=environment)
    assert (done.returncode, done.stderr.count(b"\n")) == (status, bool(error)), done.stderr
    assert error.encode() in done.stderr
