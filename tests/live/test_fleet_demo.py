"""`make fleet-demo`, whole: with this kernel live as one of its hosts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "tools/fleet-demo"


@pytest.mark.long
@pytest.mark.usefixtures("audit_lock")
def test_the_demo_of_the_fleet_gives_an_answer_of_all_hosts():
    """Three hosts are in its first answer, the user's way in another, and all is proved."""
    done = subprocess.run(
        [sys.executable, DEMO], capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert "alpha: this kernel, live" in said
    first = said[said.index("The first answer") : said.index("Programs that")]
    assert re.findall(r"^ (alpha|beta|gamma)\b", first, re.MULTILINE) == ["alpha", "beta", "gamma"]
    assert "alpha > beta > gamma" in said
    assert "/tmp/.x --steal" in said
    assert "all well" in said
    assert said.rstrip().endswith("proved")
    assert "NOT PROVED" not in said
