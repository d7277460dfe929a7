"""Fixtures for all tests."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

LOCK = Path("/run/auditsvc-live.lock")


@pytest.fixture
def audit_lock():
    """Have the kernel's audit alone; what rules, flag and limits it has come back afterwards."""
    try:
        file = LOCK.open("w")
    except OSError as error:
        pytest.skip(f"live: {LOCK} cannot be opened: {error.strerror}")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
