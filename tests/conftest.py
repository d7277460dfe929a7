"""Fixtures for all tests."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

LOCK = Path("/run/auditsvc-live.lock")


def pytest_addoption(parser):
    """Add the one switch that writes golden data instead of comparing with it."""
    parser.addoption("--regenerate", action="store_true", help="write the golden data anew")


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
