"""The benchmarks can be started: what they use of the tests is where they look for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TESTS = BENCHMARKS.parent / "tests"


@pytest.mark.skipif(not BENCHMARKS.exists(), reason="the tests stand alone")
def test_they_say_what_can_be_measured():
    """All their modules are read for that."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS, "--help"],
        env={"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--quick" in done.stdout
