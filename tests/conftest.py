"""Fixtures for all tests."""

from __future__ import annotations

import pytest
from fixtures.audit import RefusedError, alone


def pytest_addoption(parser):
    """Add the one switch that writes golden data instead of comparing with it."""
    parser.addoption("--regenerate", action="store_true", help="write the golden data anew")


@pytest.fixture
def audit_lock():
    """Have the kernel's audit alone and give a Control for it; skip where that is refused."""
    try:
        with alone() as control:
            yield control
    except RefusedError as reason:
        pytest.skip(f"live: {reason}")
