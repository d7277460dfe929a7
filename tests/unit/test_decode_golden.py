"""Golden data: the rows of each kind of record. Written again by `pytest --regenerate`."""

from __future__ import annotations

from pathlib import Path

import pytest

RECORDS = Path(__file__).parent.parent / "data/records"
FACTS = ("syscall", "exec", "path", "sockaddr", "event", "record")


@pytest.mark.parametrize("log", sorted(RECORDS.glob("*.log")), ids=lambda path: path.stem)
def test_records(log, decode, golden):
    """The rows of a small log are those that were reviewed."""
    decoded = decode(log.read_bytes())
    found = {table: rows for table in FACTS if (rows := decoded.rows(table))}
    found["record_type"] = decoded.dimensions.get("record_type", [])
    found["raw"] = decoded.raw
    found["counts"] = dict(decoded.counts)
    assert decoded.balance() == 0
    golden(log.with_suffix(".json"), found)
