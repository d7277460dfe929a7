"""Fixtures for all tests."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from auditsvc.errors import KernelError
from auditsvc.kernel import Control

LOCK = Path("/run/auditsvc-live.lock")


def pytest_addoption(parser):
    """Add the one switch that writes golden data instead of comparing with it."""
    parser.addoption("--regenerate", action="store_true", help="write the golden data anew")


@pytest.fixture
def audit_lock():
    """Have the kernel's audit alone and give a Control for it.

    What rules, flag and limits the kernel has comes back afterwards. Skips, with
    the kernel's reason, where it refuses audit or another daemon has it.
    """
    try:
        file = LOCK.open("w")
    except OSError as error:
        pytest.skip(f"live: {LOCK} cannot be opened: {error.strerror}")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            control = Control()
            before = control.status()
        except KernelError as error:
            pytest.skip(f"live: {error}")
        # The kernel forgets a daemon that died only when it next has a record for it.
        alive = before.pid and Path(f"/proc/{before.pid}").exists()
        if before.enabled == 2 or alive:
            control.close()
            pytest.skip("live: audit is locked" if before.enabled == 2 else "live: it has a daemon")
        rules = control.raw_rules()
        with control:
            yield control
        with Control() as control:  # the test may have closed or spoilt its own
            _restore(control, before, rules)


def _restore(control, before, rules):
    if control.status().pid == os.getpid():
        control.unregister()
    control.set(enabled=before.enabled)
    if control.raw_rules() != rules:
        control.delete_rules()
        for rule in rules:
            control.add_rule(rule)
    control.set(
        failure=before.failure,
        rate_limit=before.rate_limit,
        backlog_limit=before.backlog_limit,
        backlog_wait_time=before.backlog_wait_time,
    )
