"""`tools/starve`: a command runs as on a busy host, and nothing of that is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STARVE = Path(__file__).parents[2] / "tools/starve"
LATE = """
import sys, time
before = time.monotonic()
while time.monotonic() - before < 0.25:
    before = time.monotonic()
    time.sleep(0.01)
sys.exit(7)
"""
"""Ends when it has stood still for a quarter of a second."""


def test_a_command_stands_still_at_times_and_gives_its_status():
    """Its control groups go with it."""
    words = [sys.executable, STARVE, "--stand", "0.5", sys.executable, "-c", LATE]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        said = process.communicate(timeout=300)[1]
    if "no control groups" in said:
        pytest.skip(said.strip())
    assert (process.returncode, said) == (7, "")
    assert not list(Path("/sys/fs/cgroup").glob(f"**/auditsvc-starve-{process.pid}*"))
