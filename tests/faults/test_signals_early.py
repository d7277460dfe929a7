"""Signals that come before the service is ready: kept, and acted upon when it is."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from fixtures.runs import Run
from fixtures.waiting import until


def blocks(process):
    """Whether the process blocks SIGHUP now."""
    mask = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())[1]
    return int(mask, 16) >> signal.SIGHUP - 1 & 1


def early(tmp_path):
    """Begin a run by exec, and give it when it has just begun to load itself."""
    run = Run(tmp_path, f"sqlite:///{tmp_path}/store.db", before=["/usr/bin/env"])
    while not blocks(run.process):
        assert run.process.poll() is None
    # A moment in which nothing of ours but the first lines is loaded.
    assert "pydantic_core" not in Path(f"/proc/{run.process.pid}/maps").read_text()
    return run


def test_a_reload_before_it_is_ready(tmp_path):
    """As logrotate or an impatient manager sends it: it is no end, and the reload follows."""
    run = early(tmp_path)
    run.process.send_signal(signal.SIGHUP)
    run.feed(10)
    until(lambda: run.state("running"))
    status, said = run.end()
    assert status == 0, said
    assert said.count('"reloaded"') == 1, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_before_it_is_ready(tmp_path, number):
    """It ends as a service ends, with status 0, and what it was given by then is stored."""
    run = early(tmp_path)
    run.process.send_signal(number)
    assert run.process.wait(60) == 0
    said = run.process.stderr.read().decode()
    assert '"reason": "terminate"' in said, said
    assert "Traceback" not in said
