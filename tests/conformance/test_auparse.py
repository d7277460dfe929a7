"""auparse, the parser of audit-userspace, agrees on every event, record and field.

`fixtures.auparse_judge` says how they are compared, and what may differ.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("auparse", reason="the package python3-audit is not installed")

from fixtures.auparse_judge import DIFFERENCES, judge

from auditsvc.record.line import parse_line

DATA = Path(__file__).parent.parent / "data"
LOGS = [DATA / "mixed.log", *sorted(DATA.glob("records/*.log"))]


@pytest.fixture(scope="module")
def met():
    """Count the differences that were met, by their names."""
    return Counter()


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_auparse_agrees(path, met):
    """Every event, record and field of a log is what auparse finds."""
    # What only we read: the kernel's printing, carriage returns, what is no record.
    lines = [
        line for line in path.read_bytes().splitlines() if line.startswith((b"type=", b"node="))
    ]
    log = b"".join(line + b"\n" for line in lines if not isinstance(parse_line(line), str))
    if path.stem == "raw":
        log = log.replace(b"msg='audit", b"msg=audit").replace(b"quoted'", b"quoted")
    assert judge(log, met) > 0


def test_every_difference_is_met(met):
    """A known difference that no log shows any more fails the test."""
    assert {name for name, count in met.items() if count} == DIFFERENCES.keys()
